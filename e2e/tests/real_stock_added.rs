//! Stock added while sold out, with undecided entries behind it, and members asking again through two gateways: nobody
//! who wins was ever told LOSE (DESIGN section 6, "Sold out"). On the real column.
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::time::Duration;

use e2e::cluster::{Cluster, Event};
use e2e::column::Column;
use e2e::crowd::{Crowd, Heard};
use e2e::process::Process;
use e2e::proxy::Proxy;
use e2e::rounds::{rounds, wait_until};
use e2e::stack::stack;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::task::JoinSet;

/// Additions a round; each meets the gateways in another state.
const ADDITIONS: i64 = 3;
const ASKERS: i64 = 60;

/// What holds one party up while the stock comes.
#[derive(Debug, Clone, Copy)]
enum Delay {
    /// The second gateway's database answers late: its snapshot ages.
    Database,
    /// The second gateway stands still.
    Gateway,
    /// MariaDB stands still for everybody.
    Server,
    /// Nothing.
    None,
}

async fn pause(random: &mut StdRng, up_to_ms: u64) {
    tokio::time::sleep(Duration::from_millis(random.random_range(0..up_to_ms))).await;
}

/// Sold out, and every gateway sure of it: a stranger hears LOSE there.
async fn sold_out(system: &Cluster, event: Event, crowd: &Crowd, stranger: i64) {
    for gateway in 0..crowd.gateways() {
        system.wait_for_status(event.id, gateway, "SOLD_OUT").await;
        wait_until("a stranger hears LOSE", async || crowd.press(stranger, gateway).await == Heard::Lose)
            .await;
    }
}

/// One member, who comes before or behind the new stock: presses at the first gateway until the entry is taken (or
/// long enough: it may be sold out again), and then asks both gateways in every way.
async fn ask_again_and_again(crowd: Crowd, member: i64, mut random: StdRng) {
    pause(&mut random, 4_000).await;
    for _ in 0..100 {
        if crowd.press(member, 0).await == Heard::Accepted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(10..60))).await;
    }
    for _ in 0..20 {
        let gateway = usize::from(random.random_range(0..4) > 0);
        match random.random_range(0..3) {
            0 => drop(crowd.press(member, gateway).await),
            way => drop(crowd.look(member, gateway, way == 1).await),
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(20..200))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_wins_new_stock_was_told_lose() {
    rounds("stock-added", async |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let column = Column::real("stock").await;
        let url = column.database_url.clone();
        let proxy = Proxy::start(&url).await;
        let worker = Process::apply_worker(&column, &url, "stock-worker");
        let system = Cluster::start("stock", column, &[&url, proxy.url()]).await;
        let mut granted = random.random_range(20..60);
        let event = system.open_event(granted).await;
        let crowd = system.crowd(event.id);
        let mut next = 1;
        for member in next..next + granted {
            crowd.enter(member, StdRng::seed_from_u64(random.random())).await;
        }
        next += granted;

        for addition in 0..ADDITIONS {
            sold_out(&system, event, &crowd, -1 - addition).await;
            worker.signal("STOP");
            let delay =
                [Delay::Database, Delay::Gateway, Delay::Server, Delay::None][random.random_range(0..4)];
            let mut askers = JoinSet::new();
            for member in next..next + ASKERS {
                let (crowd, random) = (crowd.clone(), StdRng::seed_from_u64(random.random()));
                askers.spawn(ask_again_and_again(crowd, member, random));
            }
            next += ASKERS;
            pause(&mut random, 300).await;
            match delay {
                Delay::Database => proxy.freeze(),
                Delay::Gateway => system.gateways[1].process.signal("STOP"),
                Delay::Server => stack("pause", "mariadb").await,
                Delay::None => {}
            }
            // Less than there are askers: some of those behind the new stock lose after all.
            let add = random.random_range(ASKERS / 4..ASKERS);
            let path = format!("/{}/stock", event.id);
            let body = json!({"option": "DEFAULT", "add": add});
            let adding = system.staff(&path, &body);
            let going_on = async {
                pause(&mut random, 4_000).await;
                match delay {
                    Delay::Database => proxy.thaw(),
                    Delay::Gateway => system.gateways[1].process.signal("CONT"),
                    Delay::Server => stack("resume", "mariadb").await,
                    Delay::None => {}
                }
                pause(&mut random, 2_500).await;
                worker.signal("CONT");
            };
            tokio::join!(adding, going_on);
            granted += add;
            while let Some(asked) = askers.join_next().await {
                asked.expect("no panic");
            }
            // The rest of it, so that the next addition finds the event sold out again.
            let acked = crowd.acked();
            for member in next..next + add {
                crowd.enter(member, StdRng::seed_from_u64(random.random())).await;
            }
            next += add;
            println!("  {delay:?}: {add} added, {acked} acknowledged so far");
        }
        let told = crowd.answered("409 LOSE") + crowd.answered("GET 200 LOSE");
        let figures = system.check(event, &crowd, granted, true).await;
        figures.with("granted", granted).with("told_lose", told).with("try_again", crowd.answered("429"))
    })
    .await;
}
