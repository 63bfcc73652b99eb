//! The targets, and whether they are met.

use serde::Serialize;

use crate::metric::Metric;
use crate::report::{Row, Table};
use crate::text::{Style, layout, show_ratio};

/// A target and its figure.
#[derive(Debug, Serialize)]
pub(super) struct Target {
    about: String,
    /// `None` if it was not measured.
    figure: Option<f64>,
    limit: f64,
    is_minimum: bool,
}

impl Target {
    /// The targets of those workloads that were measured.
    pub(super) fn all(tables: &[Table]) -> Vec<Self> {
        tables.iter().flat_map(Self::of).collect()
    }

    fn of(table: &Table) -> Vec<Self> {
        let row = |name: &str| table.rows.iter().find(|row| row.contender == name);
        let ratio = |name: &str, to: Option<&Row>| table.ratio(row(name)?, to?);
        match table.workload {
            "durable" => {
                let best = best_peer(table);
                let name = best.map_or("none was measured", |row| row.title);
                vec![
                    Self {
                        about: "durable publishing, of a loop that writes and syncs the same commits"
                            .to_owned(),
                        figure: ratio("zaichik", row("loop")),
                        limit: 0.7,
                        is_minimum: true,
                    },
                    Self {
                        about: format!("durable publishing, of the best other server ({name})"),
                        figure: ratio("zaichik", best),
                        limit: 2.5,
                        is_minimum: true,
                    },
                ]
            }
            "consume" => vec![Self {
                about: "with consuming and commits, of publishing alone".to_owned(),
                figure: ratio("window-1024", row("alone")),
                limit: 0.8,
                is_minimum: true,
            }],
            "one" => vec![Self {
                about: "one message at a time: p50, of that of a sync and of a round trip to memory"
                    .to_owned(),
                figure: ratio("zaichik", row("sum")),
                limit: 1.3,
                is_minimum: false,
            }],
            "cold" => vec![Self {
                about: "reading what is only on disk, of reading the files; neither is cached".to_owned(),
                figure: ratio("cold", row("read-cold")),
                limit: 0.7,
                is_minimum: true,
            }],
            "beside" => vec![Self {
                about:
                    "publishing and consuming beside a reader of what is only on disk, of the same without"
                        .to_owned(),
                figure: ratio("beside", row("alone")),
                limit: 0.8,
                is_minimum: true,
            }],
            "reopen" => vec![Self {
                about: "seconds until a directory is open again".to_owned(),
                figure: row("killed")
                    .and_then(|row| row.medians().get(&Metric::Startup).map(|millis| millis / 1_000.0)),
                limit: 0.5,
                is_minimum: false,
            }],
            _ => Vec::new(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let is_met = self
            .figure
            .map(|figure| if self.is_minimum { figure >= self.limit } else { figure <= self.limit });
        let bound = if self.is_minimum { "at least" } else { "at most" };
        let verdict = match is_met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "not measured",
        };
        let figure = self.figure.map_or_else(|| "-".to_owned(), show_ratio);
        vec![self.about.clone(), format!("{bound} {}", self.limit), figure, verdict.to_owned()]
    }
}

/// The best of the other servers in the first column.
pub(super) fn best_peer(table: &Table) -> Option<&Row> {
    let metric = table.metrics.first()?;
    let of = |row: &Row| row.medians().get(metric).copied().unwrap_or_default();
    let is_peer = |row: &&Row| {
        let peers = ["redis", "postgres", "jetstream"];
        !row.samples().is_empty() && peers.iter().any(|name| row.contender.starts_with(name))
    };
    let peers = table.rows.iter().filter(is_peer);
    if *metric == Metric::Rate {
        peers.max_by(|a, b| of(a).total_cmp(&of(b)))
    } else {
        peers.min_by(|a, b| of(a).total_cmp(&of(b)))
    }
}

/// All targets as a table.
pub(super) fn show(targets: &[Target], style: Style) -> String {
    let mut cells = vec![["target", "", "figure", ""].map(str::to_owned).to_vec()];
    cells.extend(targets.iter().map(Target::cells));
    layout(&cells, style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Sample;
    use crate::report::Outcome;

    #[test]
    fn a_figure_is_compared_with_the_best_peer_of_the_same_run() {
        let row = |contender, rate| {
            let outcome = Outcome::Measured { samples: vec![Sample::from([(Metric::Rate, rate)])] };
            Row { contender, title: contender, messages: None, outcome }
        };
        let rows = vec![row("zaichik", 9.0), row("loop", 10.0), row("redis", 2.0), row("postgres-4", 6.0)];
        let metrics = vec![Metric::Rate];
        let table = Table { group: "storage", workload: "durable", about: "", metrics, rows };
        let targets = Target::all(&[table]);
        let shown: Vec<_> = targets.iter().map(|target| target.cells()[1..].join(" ")).collect();
        assert_eq!(shown, ["at least 0.7 0.90 met", "at least 2.5 1.50 missed"]);
        assert!(targets[1].about.contains("postgres-4"));
    }
}
