//! Results as one page that needs nothing else: text, and plots as inline SVG.

mod plot;

use std::fmt::Write as _;

use super::Outcome;
use plot::{Axis, Line, plot};

/// The page.
pub fn page(outcomes: &[Outcome]) -> String {
    let title = outcomes.first().map_or_else(
        || "no result".to_owned(),
        |outcome| format!("{} of {}", outcome.scenario, outcome.target),
    );
    let mut body = format!("<h1>{}</h1>\n", escaped(&title));
    if outcomes.len() > 1 {
        body += "<h2>All steps</h2>\n";
        body += &percentiles(outcomes);
    }
    for outcome in outcomes {
        let _ = writeln!(body, "<h2>{}</h2>", escaped(&heading(outcome)));
        let _ = writeln!(body, "<pre>{}</pre>", escaped(&outcome.to_string()));
        body += &percentiles(std::slice::from_ref(outcome));
        body += &over_time(outcome);
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n{body}</html>\n",
        escaped(&title)
    )
}

fn heading(outcome: &Outcome) -> String {
    match outcome.rate {
        Some(rate) => format!("open loop, {} a second", super::number(rate)),
        None => format!("{} loop, {} connections", outcome.pace, outcome.connections),
    }
}

/// Latency by percentile, a line for each of `outcomes`; both axes in powers of ten.
fn percentiles(outcomes: &[Outcome]) -> String {
    let lines: Vec<Line> = outcomes
        .iter()
        .map(|outcome| Line {
            name: heading(outcome),
            points: outcome
                .quantiles
                .iter()
                .map(|[nines, us]| (*nines, us.max(1.0).log10()))
                .collect(),
        })
        .collect();
    let nines = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"];
    let x = Axis { name: "percentile", ticks: marks(&nines) };
    let times = ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"];
    let highest = lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).fold(1.0, f64::max);
    let ticks = marks(&times).into_iter().filter(|(at, _)| *at < highest + 1.0).collect();
    plot("Latency by percentile", &x, &Axis { name: "latency", ticks }, &lines)
}

/// Answers a second, and the 99th percentile, in the course of time.
fn over_time(outcome: &Outcome) -> String {
    let points = &outcome.points;
    let Some(last) = points.last() else { return String::new() };
    let x = Axis::even("seconds", last.at_s);
    let line = |name: &str, figure: fn(&crate::engine::Point) -> f64| Line {
        name: name.to_owned(),
        points: points.iter().map(|point| (point.at_s, figure(point))).collect(),
    };
    let rates = [line("answers a second", |point| point.per_second)];
    let latencies =
        [line("p50", |point| point.p50_us / 1e3), line("p99", |point| point.p99_us / 1e3)];
    let mut text = plot("Throughput", &x, &Axis::even("answers a second", top(&rates)), &rates);
    text += &plot(
        "Latency in the course of time",
        &x,
        &Axis::even("milliseconds", top(&latencies)),
        &latencies,
    );
    if outcome.body_bytes > 0 {
        let bytes = [line("MiB a second", |point| point.bytes_per_second / f64::from(1 << 20))];
        text += &plot("Bodies", &x, &Axis::even("MiB a second", top(&bytes)), &bytes);
    }
    text
}

fn marks(names: &[&str]) -> Vec<(f64, String)> {
    (0_u32..).map(f64::from).zip(names.iter().map(|name| (*name).to_owned())).collect()
}

fn top(lines: &[Line]) -> f64 {
    lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).fold(0.0, f64::max)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "
:root { color-scheme: light dark; --one: #1f6feb; --two: #d1680c; --three: #2a8a4a; --four: #9a3fd0; }
@media (prefers-color-scheme: dark) {
  :root { --one: #6cb0ff; --two: #ffa657; --three: #62d08a; --four: #cf9bff; }
}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid #8884; border-radius: 6px; }
svg { width: 100%; height: auto; margin: .5rem 0 1.5rem; }
svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
svg .name { font-size: 14px; font-weight: 600; }
svg .grid { stroke: currentColor; stroke-opacity: .15; }
svg polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escaped("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }
}
