//! A plot of lines, as SVG.

use std::fmt::Write as _;

use super::escaped;
use crate::report::number;

/// A line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// An axis: from the first tick, at 0, to the last.
pub(super) struct Axis {
    pub(super) name: &'static str,
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// With round ticks up to `top` or a little above.
    pub(super) fn even(name: &'static str, top: f64) -> Self {
        let rough = (top / 5.0).max(1e-6);
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(power * 10.0);
        let ticks = (0_u32..=10).map(|index| f64::from(index) * step);
        let mut ticks: Vec<(f64, String)> = ticks.map(|at| (at, number(at))).collect();
        let end = ticks.iter().position(|(at, _)| *at >= top).unwrap_or(ticks.len() - 1);
        ticks.truncate(end.max(1) + 1);
        Self { name, ticks }
    }

    fn part(&self, at: f64) -> f64 {
        let last = self.ticks.last().map_or(1.0, |(at, _)| *at);
        (at / last).clamp(0.0, 1.0)
    }
}

/// The plot, with its lines' names beneath.
pub(super) fn plot(name: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\">\n\
         <text class=\"name\" x=\"{LEFT}\" y=\"18\">{0} ({1})</text>\n",
        escaped(name),
        escaped(y.name),
    );
    let across = |at: f64| LEFT + x.part(at) * (WIDTH - LEFT - RIGHT);
    let up = |at: f64| HEIGHT - BOTTOM - y.part(at) * (HEIGHT - TOP - BOTTOM);
    for (at, words) in &x.ticks {
        let at = across(*at);
        let (top, bottom, words) = (TOP, HEIGHT - BOTTOM, escaped(words));
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{words}</text>",
            bottom + 16.0,
        );
    }
    for (at, words) in &y.ticks {
        let at = up(*at);
        let (right, words) = (WIDTH - RIGHT, escaped(words));
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{words}</text>",
            LEFT - 8.0,
            at + 4.0,
        );
    }
    let mut key = LEFT;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<String> =
            line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y))).collect();
        let (below, words) = (HEIGHT - 8.0, escaped(&line.name));
        let _ = writeln!(
            svg,
            "<polyline style=\"stroke: var(--{colour})\" points=\"{}\"/>\
             <rect x=\"{key:.1}\" y=\"{:.1}\" width=\"12\" height=\"3\" style=\"fill: var(--{colour})\"/>\
             <text x=\"{:.1}\" y=\"{below}\">{words}</text>",
            points.join(" "),
            below - 5.0,
            key + 18.0,
        );
        key += 40.0 + 7.0 * line.name.chars().count() as f64;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n</svg>",
        WIDTH - RIGHT,
        HEIGHT - 8.0,
        escaped(x.name),
    );
    svg
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 32.0;
const BOTTOM: f64 = 48.0;
const COLOURS: [&str; 4] = ["one", "two", "three", "four"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        for (top, last) in [(7.3, 8.0), (10.0, 10.0), (38_211.0, 40_000.0), (0.0, 1e-6)] {
            let axis = Axis::even("x", top);
            let found = axis.ticks.last().map(|(at, _)| *at).unwrap();
            assert!((found - last).abs() <= last * 1e-6 || top == 0.0, "{top}: {found}");
            assert!(axis.ticks.len() >= 2);
        }
    }

    #[test]
    fn lines_go_from_corner_to_corner() {
        let line = Line { name: "a<b".into(), points: vec![(0.0, 0.0), (10.0, 5.0)] };
        let svg = plot("p", &Axis::even("x", 10.0), &Axis::even("y", 5.0), &[line]);
        assert!(svg.contains("points=\"80.0,252.0 876.0,32.0\""), "{svg}");
        assert!(svg.contains("a&lt;b"));
    }
}
