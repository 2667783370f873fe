//! What the demo prints.

use std::time::Duration;

use shared_domain::{EntryStatus, HexBytes};

use super::DemoArgs;
use super::check::Facts;
use super::member::Crowd;

/// The table at the end.
pub fn table(args: &DemoArgs, crowd: &Crowd, facts: &Facts, pressed: Duration, decided: Duration) {
    let heard = crowd.heard();
    let count =
        |status: EntryStatus| facts.rows.iter().filter(|r| r.status == i16::from(status.code())).count();
    let [double, dropped, garbage] = heard.behaviours;
    let answers: u64 = heard.answers.values().sum();
    let (seconds, decided) = (pressed.as_secs_f64(), decided.as_secs_f64());
    println!(
        "\nmembers     {} ({double} double clicks, {dropped} dropped connections, {garbage} sent garbage)",
        args.members
    );
    println!("answers     {answers} in {seconds:.1} s, {:.0}/s", answers as f64 / seconds);
    for ((status, code), n) in &heard.answers {
        println!("  {status} {code:<18} {n}");
    }
    println!("accepted    {}", heard.accepted.len());
    println!("decided     {} by both readers within {decided:.1} s of the first press", facts.rows.len());
    println!("won         {}", count(EntryStatus::Win));
    println!("lost        {}", count(EntryStatus::Lose));
    println!("rejected    {}", count(EntryStatus::Rejected));
    let latencies = crowd.latencies();
    let ms = |q: f64| latencies.value_at_quantile(q) as f64 / 1_000.0;
    println!("latency ms  p50 {:.1}  p95 {:.1}  p99 {:.1}  max {:.1}", ms(0.5), ms(0.95), ms(0.99), ms(1.0));
    println!("digest      {}", HexBytes(facts.lane.digest.clone()));
}

/// Each promise, kept or broken.
pub fn promises(kept: &[(String, Option<String>)]) {
    println!();
    for (promise, broken) in kept {
        match broken {
            None => println!("kept    {promise}"),
            Some(how) => println!("BROKEN  {promise}: {how}"),
        }
    }
}
