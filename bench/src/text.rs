//! Results as text: in columns for a terminal, or as Markdown.

use std::fmt::Write as _;

use crate::metric::Metric;
use crate::report::{ContenderInfo, Outcome, Report, Row, Table};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Terminal,
    Markdown,
}

/// A workload's table; the first figures are compared with the relays.
pub(crate) fn table(table: &Table, style: Style) -> String {
    let [named, best] = table.relays();
    let relays = [("/ relay 256 KiB", named), ("/ best relay", best)];
    let against: Vec<_> = relays.into_iter().filter_map(|(name, row)| Some((name, row?))).collect();
    compared(table, &against, best.filter(|_| against.len() > 1), style)
}

/// A workload's table; the first figures are compared with those of the best other broker, if one took part.
pub(crate) fn beside_peers(table: &Table, style: Style) -> String {
    let against: Vec<_> = table.best_peer().map(|row| ("/ best other broker", row)).into_iter().collect();
    compared(table, &against, None, style)
}

/// A workload's table; the first figures are compared with those of the rows `against`, and `best` is marked.
pub(crate) fn compared(table: &Table, against: &[(&str, &Row)], best: Option<&Row>, style: Style) -> String {
    let (cells, notes) = cells(table, against, best);
    let mut out = match style {
        Style::Terminal => format!("{}: {}\n", table.workload, table.about),
        Style::Markdown => format!("**{}**: {}\n\n", table.workload, table.about),
    };
    out.push_str(&layout(&cells, style));
    for note in notes {
        let line = if style == Style::Markdown { format!("\n{note}\n") } else { format!("  {note}\n") };
        out.push_str(&line);
    }
    out.push('\n');
    out
}

/// A table of one figure, by its position among the metrics: workloads of a group as lines, contenders as columns.
///
/// `None` if no workload has such a figure.
pub(crate) fn matrix(tables: &[Table], figure: usize, style: Style) -> Option<String> {
    let metrics: Vec<Metric> = tables.iter().filter_map(|table| table.metrics.get(figure).copied()).collect();
    let first = *metrics.first()?;
    let mut titles: Vec<&str> = Vec::new();
    for row in tables.iter().flat_map(|table| &table.rows) {
        if !titles.contains(&row.title) {
            titles.push(row.title);
        }
    }
    let unit = if metrics.iter().all(|metric| *metric == first) { first.title() } else { "" };
    let mut cells = vec![[unit].into_iter().chain(titles.iter().copied()).map(str::to_owned).collect()];
    let mut notes = String::new();
    for table in tables {
        let Some(metric) = table.metrics.get(figure) else { continue };
        let cell = |title: &&str| match table.rows.iter().find(|row| row.title == *title) {
            None => "-".to_owned(),
            Some(row) => {
                row.medians().get(metric).map_or_else(|| "failed".to_owned(), |value| metric.show(*value))
            }
        };
        let label = format!("{} ({})", table.about, table.workload);
        cells.push([label].into_iter().chain(titles.iter().map(cell)).collect());
        for row in table.rows.iter().filter(|_| figure == 0) {
            if let Outcome::Failed { failure } = &row.outcome {
                let _ = writeln!(notes, "\n{}: {} failed, {failure}", table.workload, row.title);
            }
        }
    }
    Some(layout(&cells, style) + &notes + "\n")
}

/// The text in front of all tables: the machine and the contenders.
pub(crate) fn preamble(report: &Report, style: Style) -> String {
    let environment = &report.environment;
    let mut out = format!(
        "Linux {}, {}, {} cores, {} MiB, {}, load {} before; medians, rounds: {}.\n\n",
        environment.kernel,
        environment.processor,
        environment.cores,
        environment.memory_mib,
        environment.rustc,
        environment.load,
        environment.rounds
    );
    if environment.quick {
        out.push_str("A quick check: short runs, a tenth of the connections, topics and stored messages. The figures are meaningless.\n\n");
    }
    let settings = |info: &ContenderInfo| {
        let config = info.config.map(|config| config.trim_end().replace('\n', "; "));
        config.unwrap_or_else(|| info.arguments.clone())
    };
    match style {
        Style::Terminal => {
            for info in &report.contenders {
                let _ = writeln!(out, "  {}: {}\n    {}", info.title, info.version, settings(info));
            }
        }
        Style::Markdown => {
            let mut cells = vec![["contender", "version", "started with"].map(str::to_owned).to_vec()];
            cells.extend(report.contenders.iter().map(|info| {
                vec![info.title.to_owned(), info.version.clone(), format!("`{}`", settings(info))]
            }));
            out.push_str(&layout(&cells, style));
        }
    }
    for missing in &report.missing {
        let _ = writeln!(out, "\nmissing: {missing}");
    }
    out.push('\n');
    out
}

pub(crate) fn caveats(report: &Report) -> String {
    let mut out = "What to know before comparing:\n\n".to_owned();
    let mut shown: Vec<&str> = Vec::new();
    for info in &report.contenders {
        if shown.contains(&info.caveat) {
            continue;
        }
        shown.push(info.caveat);
        let name = info.title.split([',', ' ']).next().unwrap_or_default();
        let _ = writeln!(out, "- **{name}**: {}.", info.caveat);
    }
    out
}

/// Rows of cells, the titles first, and notes on failures.
fn cells(table: &Table, against: &[(&str, &Row)], best: Option<&Row>) -> (Vec<Vec<String>>, Vec<String>) {
    let mut head = vec!["contender".to_owned()];
    head.extend(table.metrics.iter().map(|metric| metric.title().to_owned()));
    head.extend(against.iter().map(|(name, _)| (*name).to_owned()));
    let mut notes = Vec::new();
    let mut cells = vec![head];
    for row in &table.rows {
        if let Outcome::Failed { failure } = &row.outcome {
            notes.push(format!("{} failed, {failure}", row.title));
        }
        let medians = row.medians();
        let is_best = best.is_some_and(|best| best.contender == row.contender);
        let mark = if is_best { " (best)" } else { "" };
        let mut line = vec![format!("{}{mark}", row.title)];
        line.extend(table.metrics.iter().map(|metric| {
            let failed = || if row.samples().is_empty() { "failed" } else { "-" }.to_owned();
            medians.get(metric).map_or_else(failed, |value| metric.show(*value))
        }));
        line.extend(
            against
                .iter()
                .map(|(_, relay)| table.ratio(row, relay).map_or_else(|| "-".to_owned(), show_ratio)),
        );
        cells.push(line);
    }
    (cells, notes)
}

pub(crate) fn show_ratio(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.3}") } else { format!("{ratio:.2}") }
}

/// Aligned lines of cells: text to the left, figures to the right.
pub(crate) fn layout(cells: &[Vec<String>], style: Style) -> String {
    let columns = cells.first().map_or(0, Vec::len);
    let width = |column: usize| {
        cells.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let is_text = |column: usize| {
        let figure = |cell: &String| cell.parse::<f64>().is_ok() || cell == "-" || cell == "failed";
        !cells.iter().skip(1).filter_map(|line| line.get(column)).all(figure)
    };
    let widths: Vec<(usize, bool)> = (0..columns).map(|column| (width(column), is_text(column))).collect();
    let mut out = String::new();
    for (number, line) in cells.iter().enumerate() {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(
                |(cell, (width, is_text))| {
                    if *is_text { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        match style {
            Style::Terminal => out.push_str(format!("  {}", padded.join("  ")).trim_end()),
            Style::Markdown => {
                let _ = write!(out, "| {} |", padded.join(" | "));
            }
        }
        out.push('\n');
        if number == 0 && style == Style::Markdown {
            for (width, is_text) in &widths {
                let _ = write!(out, "|{}{}", "-".repeat(width + 1), if *is_text { "-" } else { ":" });
            }
            out.push_str("|\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Sample;

    fn example() -> Table {
        let row = |contender, title, outcome| Row { contender, title, messages: None, outcome };
        let measured = |rate| Outcome::Measured { samples: vec![Sample::from([(Metric::Rate, rate)])] };
        let failed = Outcome::Failed { failure: "round 1: 7 of 9 messages are missing".to_owned() };
        let rows = vec![
            row("relay-256k", "relay 256 KiB", measured(10.0)),
            row("zaichik", "Zaichik, tokio", measured(4.0)),
            row("nats", "nats-server", failed),
        ];
        Table { group: "fan", workload: "1to1", about: "one to one", metrics: vec![Metric::Rate], rows }
    }

    #[test]
    fn markdown_aligns_figures_to_the_right() {
        let expected = "\
**1to1**: one to one

| contender            | M msg/s | / relay 256 KiB | / best relay |
|----------------------|--------:|----------------:|-------------:|
| relay 256 KiB (best) |   10.00 |            1.00 |         1.00 |
| Zaichik, tokio       |    4.00 |            0.40 |         0.40 |
| nats-server          |  failed |               - |            - |

nats-server failed, round 1: 7 of 9 messages are missing

";
        assert_eq!(table(&example(), Style::Markdown), expected);
    }

    #[test]
    fn the_terminal_format_has_columns() {
        let text = table(&example(), Style::Terminal);
        assert!(text.contains("  Zaichik, tokio           4.00             0.40          0.40\n"), "{text}");
    }
}
