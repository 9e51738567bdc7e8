//! The plot: horizontal bars on logarithmic scales, readable on light and dark pages.

use std::fmt::Write;

use crate::compare::Figure;
use crate::measure::time;
use crate::report::Report;

const PANELS: [(Figure, &str); 7] = [
    (Figure::FirstStart, "Start of a pool of 2 until its first result"),
    (Figure::Map, "Map of u64 to u64, time a task"),
    (Figure::Single, "Map without chunks, time a task"),
    (Figure::Handles, "Many calls submitted before the first wait, time a call"),
    (Figure::Median, "One call at a time, median"),
    (Figure::Bytes, "8 MiB of bytes there and back, time"),
    (Figure::OneWay, "64 MiB of f64 that a worker reads, time"),
];

/// The titles of the workloads.
const WORKLOADS: [&str; 3] = [
    "Filters of an image of 25 million pixels",
    "Words of 200 documents, counted",
    "Predictions of a model",
];

const WIDTH: f64 = 800.0;
const LABELS: f64 = 240.0;
const VALUES: f64 = 90.0;
const ROW: f64 = 20.0;
const TITLE: f64 = 34.0;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:13px}\
.own{fill:#d9480f}.other{fill:#8c959f}.grid{stroke:#d0d7de;stroke-width:1}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.own{fill:#ff8a4c}.other{fill:#6e7681}.grid{stroke:#30363d}}";

/// One bar: whose, and how long it takes.
struct Bar<'a> {
    name: &'a str,
    value: String,
    seconds: f64,
}

pub(crate) fn draw(report: &Report) -> String {
    let mut body = String::new();
    let mut top = 8.0;
    for (figure, title) in PANELS {
        let names = report.comparison.names.iter().enumerate();
        let bars = names.map(|(at, name)| Bar {
            name,
            value: report.value(figure, at),
            seconds: report.comparison.seconds(figure, at),
        });
        let bars: Vec<Bar<'_>> = bars.filter(|bar| bar.seconds.is_finite()).collect();
        top += panel(&mut body, top, title, bars);
    }
    for (workload, title) in WORKLOADS.into_iter().enumerate() {
        let names = report.workloads.names.iter().enumerate();
        let bars = names.map(|(at, name)| {
            let seconds = report.workloads.seconds(workload, at);
            Bar { name, value: time(seconds), seconds }
        });
        let bars: Vec<Bar<'_>> = bars.filter(|bar| bar.seconds.is_finite()).collect();
        top += panel(&mut body, top, title, bars);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" width=\"{WIDTH}\" role=\"img\">\n\
         <title>Times of process pools, logarithmic; shorter is better</title>\n\
         <style>{STYLE}</style>\n{body}</svg>\n"
    )
}

/// Draws one figure, the fastest first, and tells how high it is.
fn panel(body: &mut String, top: f64, title: &str, mut bars: Vec<Bar<'_>>) -> f64 {
    bars.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let (Some(least), Some(most)) = (bars.first(), bars.last()) else {
        return 0.0;
    };
    // From the power of ten below the least, so that no bar is empty.
    let first = (least.seconds.log10() - 0.05).floor();
    let last = most.seconds.log10().max(first + 1.0);
    let along = |log: f64| LABELS + (log - first) / (last - first) * (WIDTH - LABELS - VALUES);
    let bottom = top + TITLE + ROW * bars.len() as f64;
    line(
        body,
        &format!(
            "<text class=\"title\" x=\"8\" y=\"{}\">{title} (log scale; shorter is better)</text>",
            top + 18.0
        ),
    );
    let mut power = first;
    while power <= last {
        let x = along(power);
        line(
            body,
            &format!(
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{bottom}\"/>",
                top + 26.0
            ),
        );
        power += 1.0;
    }
    for (at, bar) in bars.iter().enumerate() {
        let y = top + TITLE + ROW * at as f64;
        let class = if bar.name.starts_with("procession") { "own" } else { "other" };
        let end = along(bar.seconds.log10());
        let text = y + 12.0;
        line(
            body,
            &format!(
                "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>",
                LABELS - 8.0,
                bar.name
            ),
        );
        line(
            body,
            &format!(
                "<rect class=\"{class}\" x=\"{LABELS}\" y=\"{}\" width=\"{:.1}\" height=\"14\" rx=\"2\"/>",
                y + 1.0,
                end - LABELS
            ),
        );
        line(body, &format!("<text x=\"{:.1}\" y=\"{text}\">{}</text>", end + 6.0, bar.value));
    }
    TITLE + ROW * bars.len() as f64 + 12.0
}

fn line(body: &mut String, text: &str) {
    writeln!(body, "{text}").expect("a string takes everything");
}
