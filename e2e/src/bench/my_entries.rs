//! (g) Members' lists of entries from a warm cache, beside a bare warp route.

use std::sync::Arc;
use std::time::Duration;

use shared_runtime::auth::DevKey;

use super::http::{BareRoute, run};
use super::{Bar, Runs, Table, gateway, service};
use crate::column::Column;
use crate::log::{append, append_entries, scheduled};
use crate::process::Process;
use crate::promises::wait_for_entries;

const EVENTS: i64 = 5;
/// Each is read again every second, when the cache's life ends.
const MEMBERS: i64 = 200;
const LANE: i32 = 0;
const DAY: Duration = Duration::from_secs(86_400);

/// Some events with an entry of each member, in a database that no worker changes any more.
async fn decided() -> Column {
    let column = Column::real("bench_lists").await;
    let mut worker = Process::apply_worker(&column, &column.database_url, "bench");
    for event in 1..=EVENTS {
        append(&column, LANE, event, scheduled(&column, event, MEMBERS / 2, LANE)).await;
        append_entries(&column, LANE, event, (1..=MEMBERS).collect()).await;
        wait_for_entries(&column.store, event, LANE, MEMBERS, Duration::from_secs(60)).await;
    }
    worker.signal("TERM");
    worker.ended(Duration::from_secs(30)).await;
    column
}

fn list_request(token: &str) -> Vec<u8> {
    format!("GET /v1/members/me/entries HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n")
        .into_bytes()
}

/// Measures, and adds to the table.
pub async fn bench(table: &mut Table, repetitions: usize, requests: i64) {
    let column = decided().await;
    let folder = tempfile::tempdir().expect("folder");
    let key_file = folder.path().join("dev.key");
    let key = DevKey::create(&key_file).expect("a key");
    let auth = [("AUTH_DEV_KEY_FILE", key_file.to_str().expect("UTF-8"))];
    let (process, addr) = service::gateway(&column, &auth).await;
    let known: Vec<Vec<u8>> =
        (1..=MEMBERS).map(|member| list_request(&key.issue_member(member, DAY).expect("a token"))).collect();
    let answer = gateway::answer_of(addr, &known[0], 200).await;
    assert_eq!(answer.windows(10).filter(|part| part == b"\"entry_id\"").count(), EVENTS as usize);
    let (mut bare, bare_addr, _kept) = service::bare_warp(&answer, BareRoute::List).await;

    for connections in [64, 256] {
        let (mut ours, mut ours_bare) = (Runs::default(), Runs::default());
        // Tokens are verified, pages are known.
        run(addr, connections, Arc::new(known.clone()), 200).await;
        for n in 1..=repetitions {
            let again: Vec<Vec<u8>> = known.iter().cycle().take(requests as usize).cloned().collect();
            let (sample, _) = gateway::measure(process.pid(), addr, connections, again.clone(), 200).await;
            let (sample_bare, _) = gateway::measure(bare.id(), bare_addr, connections, again, 200).await;
            println!(
                "  {connections} connections {n}/{repetitions}: lists {:.0}/s {:.1} us, bare {:.0}/s {:.1} us",
                sample.rate(),
                sample.cpu_us(),
                sample_bare.rate(),
                sample_bare.cpu_us(),
            );
            ours.push(&sample);
            ours_bare.push(&sample_bare);
        }
        table.heading(&format!(
            "(g) members/me/entries, {connections} connections, {requests} requests a run of {MEMBERS} members"
        ));
        table.runs("a member's list, warm cache", &ours);
        table.runs("bare warp route, the same bytes", &ours_bare);
        let ratio = ours.cpu_us.relative_to(&ours_bare.cpu_us);
        table.against("CPU of a list / bare", &ratio, 2, "x", Bar::Most(2.0));
    }
    bare.kill().expect("kill");
    bare.wait().expect("wait");
}
