//! A plot: a panel for each workload, a bar for each contender, a line from its lowest to its highest round.

use std::fmt::Write as _;

use crate::metric::Metric;
use crate::report::{Row, Table};

/// Panels per row.
const COLUMNS: usize = 2;

/// Sizes in pixels: the width of a panel, of its names and of its bars, the height of a bar with its margin and of a
/// title.
const PANEL: usize = 560;
const NAMES: usize = 130;
const BARS: usize = 330;
const BAR: usize = 20;
const TITLE: usize = 44;

/// Colors of relays, of Zaichik and of others.
const RELAY: &str = "#a3a3a3";
const ZAICHIK: &str = "#c2410c";
const OTHER: &str = "#2563a8";

/// A plot of the first metric of each workload.
pub(crate) fn svg(tables: &[Table]) -> String {
    let (mut body, mut top) = (String::new(), 0);
    for line in tables.chunks(COLUMNS) {
        for (column, table) in line.iter().enumerate() {
            panel(&mut body, table, (column * PANEL, top));
        }
        top += line.iter().map(height).max().unwrap_or_default();
    }
    let width = PANEL * COLUMNS;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {top}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{top}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

fn height(table: &Table) -> usize {
    TITLE + BAR * table.rows.len() + BAR
}

fn panel(out: &mut String, table: &Table, (left, top): (usize, usize)) {
    let Some(metric) = table.metrics.first().copied() else { return };
    let better = if metric == Metric::Rate { "more is better" } else { "less is better" };
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" font-weight=\"bold\">{}: {}</text>\n\
         <text x=\"{}\" y=\"{}\" fill=\"#555555\">{}, {better}</text>",
        left + 10,
        top + 20,
        escape(table.workload),
        escape(table.about),
        left + 10,
        top + 35,
        metric.title(),
    );
    let values = |row: &Row| -> Vec<f64> {
        row.samples().iter().filter_map(|sample| sample.get(&metric).copied()).collect()
    };
    let max = table.rows.iter().flat_map(values).fold(f64::MIN_POSITIVE, f64::max);
    let scale = |value: f64| value.max(0.0) / max * BARS as f64;
    let (x, text_x) = (left + NAMES, left + NAMES - 6);
    for (number, row) in table.rows.iter().enumerate() {
        let y = top + TITLE + number * BAR;
        let text_y = y + 13;
        let _ = writeln!(
            out,
            "<text x=\"{text_x}\" y=\"{text_y}\" text-anchor=\"end\">{}</text>",
            escape(row.title)
        );
        let Some(value) = row.medians().get(&metric).copied() else {
            let _ = writeln!(out, "<text x=\"{x}\" y=\"{text_y}\" fill=\"#b91c1c\">failed</text>");
            continue;
        };
        let values = values(row);
        let low = scale(values.iter().copied().fold(f64::INFINITY, f64::min));
        let high = scale(values.iter().copied().fold(0.0, f64::max));
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{}\"/>\n\
             <path d=\"M{:.1} {mid}H{:.1}\" stroke=\"#222222\"/>\n\
             <text x=\"{:.1}\" y=\"{text_y}\">{}</text>",
            y + 2,
            scale(value),
            BAR - 4,
            color(row),
            x as f64 + low,
            x as f64 + high,
            x as f64 + high + 6.0,
            metric.show(value),
            mid = y + BAR / 2,
        );
    }
}

fn color(row: &Row) -> &'static str {
    if row.contender.starts_with("relay") {
        RELAY
    } else if row.contender.starts_with("zaichik") {
        ZAICHIK
    } else {
        OTHER
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Sample;
    use crate::report::Outcome;

    #[test]
    fn each_contender_has_a_bar_or_a_failure() {
        let row = |contender, outcome| Row { contender, title: contender, messages: None, outcome };
        let samples = vec![Sample::from([(Metric::Rate, 2.0)])];
        let rows = vec![
            row("zaichik", Outcome::Measured { samples }),
            row("nats", Outcome::Failed { failure: String::new() }),
        ];
        let about = "a < b & c";
        let table = Table { group: "fan", workload: "1to1", about, metrics: vec![Metric::Rate], rows };
        let svg = svg(&[table]);
        assert_eq!(svg.matches("<rect").count(), 2, "a background and a bar");
        assert_eq!(svg.matches(">failed<").count(), 1);
        assert!(svg.contains("a &lt; b &amp; c"));
    }
}
