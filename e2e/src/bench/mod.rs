//! What `make bench` measures: ratios in one run, ours beside the raw ceiling, interleaved.

pub mod activities;
pub mod capacity;
pub mod decide;
pub mod draw;
pub mod gateway;
pub mod http;
pub mod memory;
pub mod my_entries;
pub mod raffle;
pub mod replay;
mod service;
pub mod streams;
pub mod winners;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Kernel clock ticks a second in `/proc/PID/stat`: 100 on every Linux that this runs on (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// One measured run.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Items done.
    pub items: f64,
    /// Wall time.
    pub wall: Duration,
    /// CPU time of the process that is measured, user and system.
    pub cpu: Duration,
}

impl Sample {
    /// Items a second.
    pub fn rate(&self) -> f64 {
        self.items / self.wall.as_secs_f64()
    }

    /// Microseconds of CPU an item.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.items
    }
}

/// Measures a process while something runs.
pub struct Meter {
    pid: u32,
    since: Instant,
    cpu: Duration,
}

impl Meter {
    /// Starts now.
    pub fn start(pid: u32) -> Self {
        Self { pid, since: Instant::now(), cpu: cpu_time(pid) }
    }

    /// What it took until now.
    pub fn stop(&self, items: u64) -> Sample {
        let cpu = cpu_time(self.pid).saturating_sub(self.cpu);
        Sample { items: items as f64, wall: self.since.elapsed(), cpu }
    }
}

/// User and system time of a process with all its threads, dead ones too (proc(5), fields 14 and 15).
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    // The name in parentheses may hold blanks.
    let (_, rest) = stat.rsplit_once(')').expect("stat");
    let field = |n: usize| rest.split_whitespace().nth(n).and_then(|f| f.parse::<f64>().ok()).expect("ticks");
    Duration::from_secs_f64((field(11) + field(12)) / TICKS)
}

/// A line of `/proc/PID/status` in MiB (`VmRSS`, `VmHWM`).
pub fn memory_mib(pid: u32, key: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find(|l| l.starts_with(key)).expect("a key of status");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("KiB");
    kib / 1024.0
}

/// Numbers of several repetitions.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// One more.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    fn range(&self) -> (f64, f64) {
        self.0.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)))
    }

    /// This over other, repetition by repetition.
    pub fn relative_to(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    fn show(&self, digits: usize) -> String {
        let (low, high) = self.range();
        format!("{:.digits$} ({low:.digits$}-{high:.digits$})", self.median())
    }
}

/// Repetitions of one thing measured.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    /// Items a second.
    pub rate: Series,
    /// Microseconds of CPU an item.
    pub cpu_us: Series,
}

impl Runs {
    /// One more repetition.
    pub fn push(&mut self, sample: &Sample) {
        self.rate.push(sample.rate());
        self.cpu_us.push(sample.cpu_us());
    }
}

/// A bar to reach.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    /// At least.
    Least(f64),
    /// At most.
    Most(f64),
}

/// The table that is printed in the end.
#[derive(Debug, Default)]
pub struct Table {
    text: String,
    missed: usize,
}

impl Table {
    /// A heading.
    pub fn heading(&mut self, text: &str) {
        writeln!(self.text, "\n{text}").expect("memory");
    }

    /// A line as it is.
    pub fn line(&mut self, text: &str) {
        writeln!(self.text, "{text}").expect("memory");
    }

    /// What was measured: items a second and CPU an item, median (range).
    pub fn runs(&mut self, name: &str, runs: &Runs) {
        let (rate, cpu) = (runs.rate.show(0), runs.cpu_us.show(1));
        writeln!(self.text, "  {name:<44} {rate:>28}/s {cpu:>22} us CPU").expect("memory");
    }

    /// A ratio or figure with its bar.
    pub fn against(&mut self, name: &str, series: &Series, digits: usize, unit: &str, bar: Bar) {
        let (kept, bar) = match bar {
            Bar::Least(least) => (series.median() >= least, format!("bar >= {least}")),
            Bar::Most(most) => (series.median() <= most, format!("bar <= {most}")),
        };
        self.missed += usize::from(!kept);
        let word = if kept { "reached" } else { "MISSED" };
        writeln!(self.text, "  {name:<44} {:>28}{unit} {bar:>16}  {word}", series.show(digits))
            .expect("memory");
    }

    /// A figure without a bar.
    pub fn figure(&mut self, name: &str, series: &Series, digits: usize, unit: &str) {
        writeln!(self.text, "  {name:<44} {:>28}{unit}", series.show(digits)).expect("memory");
    }

    /// The whole table, and how many bars were missed.
    pub fn finish(self) -> (String, usize) {
        (self.text, self.missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_ranges_and_ratios() {
        let series = |values: &[f64]| Series(values.to_vec());
        assert_eq!(series(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(series(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(series(&[3.0, 1.0, 2.0]).show(1), "2.0 (1.0-3.0)");
        assert_eq!(series(&[4.0, 9.0]).relative_to(&series(&[2.0, 3.0])).0, [2.0, 3.0]);
    }

    #[test]
    fn a_missed_bar_is_counted() {
        let mut table = Table::default();
        let mut series = Series::default();
        series.push(0.7);
        table.against("ours / raw", &series, 2, "x", Bar::Least(0.8));
        table.against("ours / raw", &series, 2, "x", Bar::Most(0.8));
        let (text, missed) = table.finish();
        assert_eq!(missed, 1);
        assert!(text.contains("MISSED") && text.contains("reached"), "{text}");
    }
}
