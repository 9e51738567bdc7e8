//! The timeline of a pool as an SVG image.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Snapshot;
use super::slices::Doing;
use super::text::{escaped, name_of, share, time};

/// The size of the parts of the image in pixels.
const WIDTH: f64 = 1200.0;
const LABEL: f64 = 150.0;
const RIGHT: f64 = 24.0;
const LANE: f64 = 26.0;
const HEAD: f64 = 74.0;
const AXIS: f64 = 34.0;
const LEGEND: f64 = 22.0;

/// The number of functions that have a colour of their own.
const COLORS: usize = 7;

/// Colours that people with a colour deficiency can tell apart too, on light and on dark ground.
const STYLE: &str = "\
svg{color-scheme:light dark;font:12px system-ui,sans-serif}\
.ground{fill:#fff}.text{fill:#1f2430}.faint{fill:#5b6170}.lane{fill:#f0f2f6}.line{stroke:#d5d9e2}\
.c0{fill:#0072b2}.c1{fill:#e69f00}.c2{fill:#009e73}.c3{fill:#cc79a7}.c4{fill:#56b4e9}.c5{fill:#8a6d00}.c6{fill:#7a5fb0}\
.c7{fill:#7d8493}.start{fill:#b9c0cd}.lost{fill:#d22f27}\
@media(prefers-color-scheme:dark){.ground{fill:#14171d}.text{fill:#e8eaf0}.faint{fill:#a3aab8}.lane{fill:#20242d}\
.line{stroke:#39404d}.c0{fill:#3d9bd8}.c5{fill:#c7a53a}.c6{fill:#a58ddb}.start{fill:#5a6271}.lost{fill:#ff6f61}}";

/// Returns a number for an attribute.
fn px(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Returns the class of the colour of each function; those with the most time come first.
fn colors(snapshot: &Snapshot) -> BTreeMap<u32, usize> {
    let mut tasks: Vec<_> = snapshot.collector.tasks.iter().collect();
    tasks.sort_by_key(|(_, record)| std::cmp::Reverse(record.run));
    tasks.iter().enumerate().map(|(at, (task, _))| (**task, at.min(COLORS))).collect()
}

/// A rectangle in a lane.
struct LaneBar {
    class: String,
    from: f64,
    to: f64,
    title: String,
}

pub(super) fn of(snapshot: &Snapshot) -> String {
    let collector = &snapshot.collector;
    let begin = collector.slices.iter().map(|slice| slice.begun).min().unwrap_or(collector.begun);
    let end =
        collector.slices.iter().map(|slice| slice.ended).max().unwrap_or(begin).max(begin + 1);
    let scale = (WIDTH - LABEL - RIGHT) / (end - begin) as f64;
    let x = |at: u64| LABEL + at.saturating_sub(begin) as f64 * scale;
    let colors = colors(snapshot);
    let lanes = collector.workers.len();
    let legend = legend(snapshot, &colors);
    let axis_at = HEAD + lanes as f64 * LANE;
    let height = axis_at + AXIS + legend.len() as f64 * LEGEND + 12.0;

    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-labelledby=\"t d\"><title id=\"t\">Timeline of pool {}</title><desc id=\"d\">{lanes} workers \
         over {}</desc><style>{STYLE}</style><rect class=\"ground\" width=\"100%\" height=\"100%\"/>",
        escaped(&snapshot.pool),
        time(end - begin),
    );
    let run: u64 = snapshot.workers.iter().map(|worker| worker.run).sum();
    let whole = collector.activity.active().saturating_mul(lanes as u64);
    let _ = write!(
        svg,
        "<text class=\"text\" x=\"16\" y=\"30\" font-size=\"17\" font-weight=\"600\">Pool {}</text>\
         <text class=\"faint\" x=\"16\" y=\"52\">{lanes} workers ({}), {}, ran tasks for {} of the time of the calls{}</text>",
        escaped(&snapshot.pool),
        snapshot.method,
        time(end - begin),
        share(run.min(whole), whole),
        match collector.slices.dropped() {
            0 => String::new(),
            dropped => format!("; the first {dropped} slices are not kept"),
        },
    );
    for (slot, worker) in collector.workers.iter().enumerate() {
        let y = HEAD + slot as f64 * LANE;
        let _ = write!(
            svg,
            "<rect class=\"lane\" x=\"{LABEL}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"3\"/>\
             <text class=\"text\" x=\"{}\" y=\"{}\" text-anchor=\"end\">worker {slot} · {}</text>",
            px(y + 2.0),
            px(WIDTH - LABEL - RIGHT),
            px(LANE - 4.0),
            px(LABEL - 10.0),
            px(y + LANE / 2.0 + 4.0),
            worker.pid,
        );
        for LaneBar { class, from, to, title } in bars(snapshot, slot, &colors, &x) {
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}</title></rect>",
                px(from),
                px(y + 4.0),
                px((to - from).max(0.6)),
                px(LANE - 8.0),
                escaped(&title),
            );
        }
    }
    axis(&mut svg, axis_at, end - begin, |at| x(begin + at));
    for (at, (class, text)) in legend.iter().enumerate() {
        let y = axis_at + AXIS + at as f64 * LEGEND;
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{LABEL}\" y=\"{}\" width=\"14\" height=\"14\" rx=\"3\"/>\
             <text class=\"text\" x=\"{}\" y=\"{}\">{}</text>",
            px(y),
            px(LABEL + 22.0),
            px(y + 11.5),
            escaped(text),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Returns the bars of a lane. Those of one colour that touch each other on the screen are one bar.
fn bars(
    snapshot: &Snapshot,
    slot: usize,
    colors: &BTreeMap<u32, usize>,
    x: &impl Fn(u64) -> f64,
) -> Vec<LaneBar> {
    let mut bars: Vec<(LaneBar, u64)> = Vec::new();
    for slice in snapshot.collector.slices.iter().filter(|slice| slice.slot == slot) {
        let (class, name) = match slice.doing {
            Doing::Start => ("start".to_owned(), "start"),
            Doing::Initialize => ("start".to_owned(), "initialize"),
            Doing::Run(task) => {
                (format!("c{}", colors.get(&task).unwrap_or(&COLORS)), name_of(task))
            }
            Doing::Lost(task) => ("lost".to_owned(), name_of(task)),
        };
        let (from, to) = (x(slice.begun), x(slice.ended));
        if let Some((last, inputs)) = bars.last_mut()
            && last.class == class
            && (to - last.from < 1.0 || from - last.to < 0.15 && to - from < 0.8)
        {
            last.to = last.to.max(to);
            *inputs += slice.inputs;
            last.title = format!("{name}: {inputs} inputs");
            continue;
        }
        let took = time(slice.ended.saturating_sub(slice.begun));
        let title = match slice.doing {
            Doing::Start | Doing::Initialize => format!("{name}: {took}"),
            Doing::Run(_) if slice.inputs == 1 => {
                format!("{name}, call {}, index {}: {took}", slice.call, slice.first)
            }
            Doing::Run(_) => format!("{name}: {} inputs in {took}", slice.inputs),
            Doing::Lost(_) => format!("{name}: the worker died after {took}"),
        };
        bars.push((LaneBar { class, from, to, title }, slice.inputs));
    }
    bars.into_iter().map(|(bar, _)| bar).collect()
}

fn axis(svg: &mut String, y: f64, span: u64, x: impl Fn(u64) -> f64) {
    let step = step(span);
    let mut at = 0;
    while at <= span {
        let _ = write!(
            svg,
            "<line class=\"line\" x1=\"{0}\" x2=\"{0}\" y1=\"{1}\" y2=\"{2}\"/>\
             <text class=\"faint\" x=\"{0}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>",
            px(x(at)),
            px(HEAD - 4.0),
            px(y + 4.0),
            px(y + 19.0),
            label(at, step),
        );
        at += step;
    }
}

/// Returns the distance of two marks, of which there are about eight: 1, 2 or 5 times a power of ten.
fn step(span: u64) -> u64 {
    let raw = (span / 8).max(1);
    let power = 10_u64.pow(raw.ilog10());
    [1, 2, 5, 10].map(|of| of * power).into_iter().find(|step| *step >= raw).unwrap_or(raw)
}

fn label(at: u64, step: u64) -> String {
    let (unit, name) = match step {
        s if s >= 1_000_000_000 => (1e9, "s"),
        s if s >= 1_000_000 => (1e6, "ms"),
        _ => (1e3, "us"),
    };
    format!("{} {name}", px(at as f64 / unit))
}

fn legend(snapshot: &Snapshot, colors: &BTreeMap<u32, usize>) -> Vec<(String, String)> {
    let mut lines = vec![("start".to_owned(), "start and initializers".to_owned())];
    let mut tasks: Vec<_> = colors.iter().collect();
    tasks.sort_by_key(|(_, color)| **color);
    for (task, color) in tasks.iter().filter(|(_, color)| **color < COLORS) {
        let record = &snapshot.collector.tasks[task];
        let text = format!("{}: {} inputs, {}", name_of(**task), record.inputs, time(record.run));
        lines.push((format!("c{color}"), text));
    }
    if tasks.len() > COLORS {
        lines.push((format!("c{COLORS}"), format!("{} other functions", tasks.len() - COLORS)));
    }
    let lost = |slice: &super::slices::WorkSlice| matches!(slice.doing, Doing::Lost(_));
    if snapshot.collector.slices.iter().any(lost) {
        lines.push(("lost".to_owned(), "a task whose worker died".to_owned()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        let spans = [1, 9, 1_000, 123_456, 10_000_000_000, 3_600_000_000_000];
        for span in spans {
            let step = step(span);
            assert!(span / step <= 10, "{span} in steps of {step}");
        }
        assert_eq!(step(1_000_000_000), 200_000_000);
        assert_eq!(label(400_000_000, 200_000_000), "400 ms");
        assert_eq!(label(1_500_000_000, 1_000_000_000), "1.5 s");
        assert_eq!([px(1.0), px(0.25), px(100.0)], ["1", "0.25", "100"]);
    }
}
