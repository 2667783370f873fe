//! Rounds of the fault campaign: seeds, one scenario at a time, and one line of figures for each.

use std::fmt;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

/// How long anything may take before a test gives up. Not a promise about speed.
pub const BUDGET: Duration = Duration::from_secs(60);

static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What a round counted, in the order of counting.
#[derive(Debug, Default)]
pub struct Figures(Vec<(&'static str, i64)>);

impl Figures {
    /// Notes one figure.
    pub fn count(&mut self, name: &'static str, value: i64) {
        self.0.push((name, value));
    }

    /// With one figure more.
    pub fn with(mut self, name: &'static str, value: i64) -> Self {
        self.count(name, value);
        self
    }

    /// With all of another's behind these.
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

/// Runs a scenario `CRASH_ROUNDS` times (default 1), one at a time in this process. The printed seed decides its
/// timing; `CRASH_SEED` repeats one.
pub async fn rounds(name: &str, scenario: impl AsyncFn(u64) -> Figures) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let var = |key: &str| std::env::var(key).ok().map(|v| v.parse::<u64>().expect("a number"));
    for round in 0..var("CRASH_ROUNDS").unwrap_or(1) {
        let seed = var("CRASH_SEED").unwrap_or_else(rand::random);
        println!("{name}: round {round}, CRASH_SEED={seed}");
        let started = Instant::now();
        let figures = scenario(seed).await;
        let seconds = started.elapsed().as_secs_f64();
        println!("SUMMARY {name} round={round} seed={seed} seconds={seconds:.1}{figures}");
    }
}

/// Waits up to half a second, which the seed decides: when a fault strikes, not how long something may take.
pub async fn strike(random: &mut StdRng) {
    tokio::time::sleep(Duration::from_millis(random.random_range(0..500))).await;
}

/// Waits until a condition holds.
pub async fn wait_until(what: &str, done: impl AsyncFn() -> bool) {
    let until = Instant::now() + BUDGET;
    while !done().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
