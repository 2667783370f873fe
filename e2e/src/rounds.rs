//! Rounds of a seeded scenario.

use std::time::Instant;

static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs a scenario `CRASH_ROUNDS` times (default 1), one scenario of a test program at a time. The printed seed decides
/// its timing, and `CRASH_SEED` repeats one.
pub async fn rounds(name: &str, scenario: impl AsyncFn(u64)) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let var = |key: &str| std::env::var(key).ok().map(|v| v.parse::<u64>().expect("a number"));
    for round in 0..var("CRASH_ROUNDS").unwrap_or(1) {
        let seed = var("CRASH_SEED").unwrap_or_else(rand::random);
        println!("{name}: round {round}, CRASH_SEED={seed}");
        let started = Instant::now();
        scenario(seed).await;
        println!("{name}: round {round} passed in {:.1} s", started.elapsed().as_secs_f64());
    }
}
