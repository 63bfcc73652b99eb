//! The results as data: the content of the JSON file.

use serde::Serialize;

use crate::contender::{self, Contender, Programs};
use crate::environment::Environment;
use crate::metric::{Metric, Sample, median, medians};

/// The results of all workloads.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) environment: Environment,
    pub(crate) contenders: Vec<ContenderInfo>,
    /// The contenders that are not installed, and how to install them.
    pub(crate) missing: Vec<String>,
    pub(crate) tables: Vec<Table>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ContenderInfo {
    pub(crate) contender: &'static str,
    pub(crate) title: &'static str,
    pub(crate) version: String,
    pub(crate) arguments: String,
    pub(crate) config: Option<&'static str>,
    /// Notes for comparing its figures.
    pub(crate) caveat: &'static str,
}

impl ContenderInfo {
    /// Describes an installed contender.
    pub(crate) fn new(contender: Contender, programs: &Programs) -> anyhow::Result<Self> {
        Ok(Self {
            contender: contender.name(),
            title: contender.title(),
            version: programs.version(contender)?,
            arguments: quoted(&contender::settings(contender)),
            config: contender::config(contender),
            caveat: contender.caveat(),
        })
    }
}

/// Quotes arguments for a shell.
fn quoted(arguments: &[&str]) -> String {
    let quote = |argument: &&str| {
        if argument.is_empty() || argument.contains(' ') {
            format!("'{argument}'")
        } else {
            (*argument).to_owned()
        }
    };
    arguments.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) group: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) about: &'static str,
    /// The columns; the first one is compared with the relays.
    pub(crate) metrics: Vec<Metric>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) contender: &'static str,
    pub(crate) title: &'static str,
    /// Messages of each publisher in a run, where runs are calibrated.
    pub(crate) messages: Option<u64>,
    /// The figures, or the failure.
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// The figures of a contender, or its failure.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    /// The figures of each round.
    Measured { samples: Vec<Sample> },
    /// A run failed; there are no figures.
    Failed {
        /// The round, and the reason.
        failure: String,
    },
}

impl Row {
    /// The figures of each round; empty after a failure.
    pub(crate) fn samples(&self) -> &[Sample] {
        match &self.outcome {
            Outcome::Measured { samples } => samples,
            Outcome::Failed { .. } => &[],
        }
    }

    /// The medians of all figures.
    pub(crate) fn medians(&self) -> Sample {
        medians(self.samples())
    }
}

impl Table {
    /// The relay with 256 KiB buffers, and the best relay, if they took part.
    pub(crate) fn relays(&self) -> [Option<&Row>; 2] {
        let named = self.rows.iter().find(|row| row.contender == Contender::Relay256.name());
        let is_relay = |row: &&Row| row.contender.starts_with("relay") && !row.samples().is_empty();
        let Some(metric) = self.metrics.first().copied() else { return [None, None] };
        let of = |row: &Row| row.medians().get(&metric).copied().unwrap_or_default();
        let relays = self.rows.iter().filter(is_relay);
        let best = if metric == Metric::Rate {
            relays.max_by(|a, b| of(a).total_cmp(&of(b)))
        } else {
            relays.min_by(|a, b| of(a).total_cmp(&of(b)))
        };
        [named.filter(|row| !row.samples().is_empty()), best]
    }

    /// The other broker with the highest median in the first column, if one took part.
    pub(crate) fn best_peer(&self) -> Option<&Row> {
        let metric = self.metrics.first()?;
        let of = |row: &Row| row.medians().get(metric).copied().unwrap_or_default();
        let is_other = |row: &&Row| {
            !row.contender.starts_with("zaichik")
                && !row.contender.starts_with("relay")
                && !row.samples().is_empty()
        };
        self.rows.iter().filter(is_other).max_by(|a, b| of(a).total_cmp(&of(b)))
    }

    /// The median over all rounds of the ratio of two rows in the first column.
    pub(crate) fn ratio(&self, row: &Row, to: &Row) -> Option<f64> {
        let metric = self.metrics.first()?;
        let pairs = row.samples().iter().zip(to.samples());
        median(pairs.filter_map(|(a, b)| Some(a.get(metric)? / b.get(metric)?)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(contender: Contender, rates: &[f64]) -> Row {
        let samples = rates.iter().map(|rate| Sample::from([(Metric::Rate, *rate)])).collect();
        let outcome = Outcome::Measured { samples };
        Row { contender: contender.name(), title: contender.title(), messages: None, outcome }
    }

    #[test]
    fn arguments_with_spaces_are_quoted() {
        assert_eq!(quoted(&["--save", "", "--limit", "pubsub 0 0 0"]), "--save '' --limit 'pubsub 0 0 0'");
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rows = vec![
            row(Contender::Relay256, &[10.0, 1.0, 4.0]),
            row(Contender::Relay1024, &[8.0, 8.0, 8.0]),
            row(Contender::Zaichik, &[5.0, 0.5, 2.0]),
        ];
        let table = Table { group: "fan", workload: "1to1", about: "", metrics: vec![Metric::Rate], rows };
        let [named, best] = table.relays();
        let (named, best) = (named.unwrap(), best.unwrap());
        assert_eq!((named.contender, best.contender), ("relay-256k", "relay-1m"));
        assert_eq!(table.ratio(&table.rows[2], named), Some(0.5));
        assert_eq!(table.ratio(&table.rows[2], best), Some(0.25));
    }
}
