//! Results as text.

use std::fmt::{self, Display, Formatter, Write as _};

use super::{Cost, Latency, Outcome};

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { scenario, target, pace, connections, pipeline, seconds, .. } = self;
        let rate =
            self.rate.map_or_else(String::new, |rate| format!(", {} a second", number(rate)));
        let pipeline = match pipeline {
            1 => String::new(),
            more => format!(", {more} requests at once on each"),
        };
        let closing = if self.keep_alive { "" } else { ", one for each request" };
        writeln!(f, "{scenario} of {target}: {pace} loop{rate}")?;
        writeln!(f, "  {connections} connections{closing}{pipeline}; {seconds:.1} s")?;
        writeln!(
            f,
            "  {} good answers, {} a second, {} of bodies",
            self.answers,
            number(self.per_second),
            bytes(self.body_bytes as f64)
        )?;
        for (fault, count) in &self.faults {
            writeln!(f, "  FAULT: {count} × {fault}")?;
        }
        writeln!(f, "  latency     {}", self.latency)?;
        if let Some(jobs) = &self.jobs {
            writeln!(f, "  {} jobs, {} failed", jobs.count, jobs.failed)?;
            writeln!(f, "  per job     {}", jobs.latency)?;
        }
        writeln!(f, "  own CPU     {:.0} % of one", self.own_cpu_percent)?;
        if let Some(cost) = &self.cost {
            writeln!(f, "  target CPU  {cost}")?;
        }
        if let Some(held) = &self.held {
            let each = held.resident_bytes.map_or_else(
                || "the target's memory is not known".to_owned(),
                |each| format!("{} bytes of the target's memory each", number(each)),
            );
            writeln!(f, "  held open   {} connections, {each}", held.connections)?;
        }
        for remark in &self.remarks {
            writeln!(f, "  note: {remark}")?;
        }
        Ok(())
    }
}

impl Display for Latency {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, value) in [
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("p99.9", self.p99_9),
            ("p99.99", self.p99_99),
            ("max", self.max),
        ] {
            write!(f, "{name} {}  ", time(value))?;
        }
        write!(f, "mean {}", time(self.mean))
    }
}

impl Display for Cost {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { cpu_us, user_us, system_us, cpu_percent, switches, helpers: _, memory } = self;
        write!(
            f,
            "{cpu_percent:.0} % of one, {cpu_us:.2} µs per answer (user {user_us:.2}, system \
             {system_us:.2}), {switches:.3} switches; {} resident, peak {}",
            bytes(memory.resident as f64),
            bytes(memory.peak as f64),
        )
    }
}

/// Microseconds, in the unit that reads best.
fn time(us: f64) -> String {
    match us {
        _ if us < 1e3 => format!("{us:.0} µs"),
        _ if us < 1e6 => format!("{:.2} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

/// In the unit that reads best.
pub fn bytes(count: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut count, mut unit) = (count, 0);
    while count >= 1024.0 && unit + 1 < units.len() {
        count /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{count:.digits$} {}", units[unit])
}

/// With as many digits as say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A table in Markdown that reads as text too: the first row is the heading.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if index == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_carry_their_unit() {
        assert_eq!([time(12.3), time(1234.0), time(2e6)], ["12 µs", "1.23 ms", "2.00 s"]);
        assert_eq!(
            [bytes(5.0), bytes(1536.0), bytes(2.0 * 1024.0 * 1024.0)],
            ["5 B", "1.5 KiB", "2.0 MiB"]
        );
        assert_eq!(
            [number(12345.6), number(12.34), number(0.456), number(3.0)],
            ["12346", "12.3", "0.46", "3"]
        );
    }

    #[test]
    fn columns_stand_in_line() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let rows = [row(["a", "µs"]), row(["long", "1"])];
        assert_eq!(table(&rows), "| a    | µs |\n|------|----|\n| long | 1  |\n");
    }
}
