//! Collects the rows of a table, round by round.

use anyhow::Result;

use crate::metric::{Metric, Sample};
use crate::report::{Outcome, Row, Table};

/// The rows of a table, in the order in which they were first added.
#[derive(Debug, Default)]
pub(super) struct Series(Vec<Line>);

#[derive(Debug)]
struct Line {
    name: &'static str,
    title: &'static str,
    samples: Vec<Sample>,
    failure: Option<String>,
}

impl Series {
    /// Adds a round of a row. After a failure a row has no figures.
    pub(super) fn add(
        &mut self,
        (name, title): (&'static str, &'static str),
        round: u32,
        sample: Result<Sample>,
    ) {
        let at = self.0.iter().position(|line| line.name == name).unwrap_or_else(|| {
            self.0.push(Line { name, title, samples: Vec::new(), failure: None });
            self.0.len() - 1
        });
        match sample {
            Ok(sample) => self.0[at].samples.push(sample),
            Err(error) => self.0[at].failure = Some(format!("round {round}: {error:#}")),
        }
    }

    pub(super) fn has_failed(&self, name: &str) -> bool {
        self.0.iter().any(|line| line.name == name && line.failure.is_some())
    }

    pub(super) fn table(self, workload: &'static str, about: &'static str, metrics: &[Metric]) -> Table {
        let row = |line: Line| {
            let outcome = match line.failure {
                Some(failure) => Outcome::Failed { failure },
                None => Outcome::Measured { samples: line.samples },
            };
            Row { contender: line.name, title: line.title, messages: None, outcome }
        };
        let rows = self.0.into_iter().map(row).collect();
        Table { group: "storage", workload, about, metrics: metrics.to_vec(), rows }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_row_that_failed_once_has_no_figures() {
        let mut series = Series::default();
        for round in 1..3 {
            series.add(("a", "A"), round, Ok(Sample::from([(Metric::Rate, 1.0)])));
            let second = if round == 1 { Ok(Sample::new()) } else { Err(anyhow!("no")) };
            series.add(("b", "B"), round, second);
        }
        assert!(series.has_failed("b") && !series.has_failed("a"));
        let table = series.table("durable", "", &[Metric::Rate]);
        let counts: Vec<_> = table.rows.iter().map(|row| (row.contender, row.samples().len())).collect();
        assert_eq!(counts, [("a", 2), ("b", 0)]);
    }
}
