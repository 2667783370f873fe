//! (j) A lane decided again by `event-system replay`, beside its first application by the worker.

use std::time::{Duration, Instant};

use super::decide::{decided, first_application, preloaded};
use super::{Bar, Runs, Sample, Series, Table};
use crate::column::Column;
use crate::process::{Process, on_column};

/// Decides the topic again into an empty database, beside the one that `live_url` names. Gives the deciding, measured as the
/// worker's is, and the seconds of the whole command: it reads the log once beforehand, and compares in the end.
async fn again(column: &Column, live_url: &str, entries: i64) -> (Sample, f64) {
    let (url, store) = column.second_database().await;
    let mut command = on_column("event-system", column, live_url);
    command.args(["replay", "--into", &url]);
    let begun = Instant::now();
    let mut process = Process::spawn(command, "bench-replay");
    let sample = decided(&process, &store, entries).await;
    assert_eq!(process.ended(Duration::from_secs(300)).await, Some(0), "{}", process.log());
    (sample, begun.elapsed().as_secs_f64())
}

/// Measures, and adds to the table.
pub async fn bench(table: &mut Table, repetitions: usize, entries: i64) {
    let column = preloaded("bench_replay", entries, entries * 10).await;
    let [mut first, mut replayed] = [(); 2].map(|()| Runs::default());
    let mut whole = Series::default();
    for n in 1..=repetitions {
        let (url, store) = column.second_database().await;
        first.push(&first_application(&column, (&url, &store), entries).await);
        let (sample, seconds) = again(&column, &url, entries).await;
        replayed.push(&sample);
        whole.push(entries as f64 / seconds);
        println!("  {n}/{repetitions}: {:.0}/s", sample.rate());
    }
    table.heading(&format!("(j) replay of a lane, {entries} entries of one event"));
    table.runs("worker, first application", &first);
    table.runs("event-system replay, deciding", &replayed);
    table.figure("the whole command, reading ahead to comparing", &whole, 0, "/s");
    let ratio = replayed.rate.relative_to(&first.rate);
    table.against("replay / first application", &ratio, 2, "x", Bar::Least(1.0));
}
