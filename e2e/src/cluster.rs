//! The whole system as real processes on a real column: gateways, admin API, workers, driven over HTTP.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use shared_runtime::auth::DevKey;
use tokio::task::JoinSet;

use crate::column::Column;
use crate::crowd::{Crowd, Heard};
use crate::log::read_entries;
use crate::process::{Process, free_port, on_column};
use crate::promises::{entries, first_come_first_served, replay, wait_for_entries};
use crate::rounds::{BUDGET, Figures};
use crate::sql::number;
use crate::stack::redis;

const SCOPES: &str = "events:read events:write ops:write";

/// A system; its processes die with it.
pub struct Cluster {
    /// Its stores.
    pub column: Column,
    /// `REDIS_URL`.
    pub redis_url: String,
    /// Gateways.
    pub gateways: Vec<Gateway>,
    /// Staff's edge and relay.
    pub admin: Process,
    name: String,
    admin_addr: SocketAddr,
    http: reqwest::Client,
    key: DevKey,
    folder: tempfile::TempDir,
}

/// A gateway that keeps its address over restarts.
pub struct Gateway {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The process that runs now.
    pub process: Process,
    database_url: String,
}

/// A scheduled event.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Id.
    pub id: i64,
    /// Its only lane.
    pub lane: i32,
}

impl Cluster {
    /// Starts admin API and one gateway for each database address (a proxy's, or the column's own). No worker.
    pub async fn start(name: &str, column: Column, gateways: &[&str]) -> Self {
        let redis_url = std::env::var("REDIS_URL").expect("REDIS_URL is not set; run `make test`");
        // Limits and counts of an earlier test's event of the same number.
        redis(&redis_url, "FLUSHALL").await;
        let folder = tempfile::tempdir().expect("folder");
        let key = DevKey::read_or_create(&folder.path().join("dev.key")).expect("key");
        let admin_addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = on_column("admin-api", &column, &column.database_url);
        command.env("REDIS_URL", &redis_url).env("AUTH_DEV_KEY_FILE", folder.path().join("dev.key"));
        command.env("ADMIN_ADDR", admin_addr.to_string());
        let admin = Process::spawn(command, &format!("{name}-admin"));
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("client");
        let (name, none) = (name.to_owned(), Vec::new());
        let mut system =
            Self { column, redis_url, gateways: none, admin, name, admin_addr, http, key, folder };
        for database_url in gateways {
            let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let process = system.gateway_process(addr, database_url);
            system.gateways.push(Gateway { addr, process, database_url: (*database_url).to_owned() });
        }
        system.ready().await;
        system
    }

    fn gateway_process(&self, addr: SocketAddr, database_url: &str) -> Process {
        let mut command = on_column("api-gateway", &self.column, database_url);
        command.env("REDIS_URL", &self.redis_url).env("PUBLIC_ADDR", addr.to_string());
        command.env("AUTH_DEV_KEY_FILE", self.folder.path().join("dev.key"));
        Process::spawn(command, &format!("{}-gateway", self.name))
    }

    /// Starts a gateway that is gone again, at its old address.
    pub fn restart_gateway(&mut self, index: usize) {
        let (addr, url) = (self.gateways[index].addr, self.gateways[index].database_url.clone());
        self.gateways[index].process = self.gateway_process(addr, &url);
    }

    async fn ready(&self) {
        let until = Instant::now() + BUDGET;
        let token = self.key.issue_staff("tester", SCOPES, Duration::from_secs(3_600)).expect("token");
        let addresses = self.gateways.iter().map(|g| format!("http://{}/v1/events", g.addr));
        for url in addresses.chain([format!("http://{}/admin/v1/events", self.admin_addr)]) {
            // With a token: admin-api refuses strangers before it is ready for anybody else.
            while !self.http.get(&url).bearer_auth(&token).send().await.is_ok_and(|a| a.status() == 200) {
                assert!(Instant::now() < until, "{url}; the logs: {}", self.logs());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    fn logs(&self) -> String {
        let gateways = self.gateways.iter().map(|g| g.process.log());
        gateways.chain([self.admin.log()]).collect::<Vec<_>>().join("\n----\n")
    }

    /// One change by staff; gives the answer's body.
    pub async fn staff(&self, path: &str, body: &Value) -> Value {
        let token = self.key.issue_staff("tester", SCOPES, Duration::from_secs(3_600)).expect("token");
        let url = format!("http://{}/admin/v1/events{path}", self.admin_addr);
        let answer = self.http.post(url).bearer_auth(token).json(body).send().await.expect("an answer");
        let status = answer.status();
        let body: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    /// Makes an event with one option, schedules it, and waits until every gateway has it open. A worker must run.
    pub async fn open_event(&self, stock: i64) -> Event {
        // Not for ever: the log must outlive it.
        let ends_at = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(86_400));
        let draft = json!({
            "title": self.name, "content": "", "type": "FIRST_COME", "time_zone": "Asia/Seoul",
            "starts_at": "2026-01-01T00:00:00Z", "ends_at": ends_at.to_string(),
            "compliance": {"review_number": "T-1", "approved_from": "2026-01-01T00:00:00Z",
                           "approved_until": "2099-01-01T00:00:00Z"},
            "stock": [{"option": "DEFAULT", "count": stock}],
            "limits": {"per_second": 50_000, "per_member_per_second": 1_000},
        });
        let made = self.staff("", &draft).await;
        let id = made["event_id"].as_i64().expect("event_id");
        self.staff(&format!("/{id}/schedule"), &json!({})).await;
        for gateway in 0..self.gateways.len() {
            self.wait_for_status(id, gateway, "OPEN").await;
        }
        let rows = self.column.store.lane_rows().await.expect("lanes");
        Event { id, lane: rows.iter().find(|r| r.event_id == id).expect("a lane").lane }
    }

    /// Waits until a gateway shows an event so.
    pub async fn wait_for_status(&self, event: i64, gateway: usize, status: &str) {
        let url = format!("http://{}/v1/events/{event}", self.gateways[gateway].addr);
        let until = Instant::now() + BUDGET;
        loop {
            let seen = match self.http.get(&url).send().await {
                Ok(answer) => answer.json::<Value>().await.unwrap_or_default(),
                Err(error) => json!({"status": error.to_string()}),
            };
            if seen["status"] == status {
                return;
            }
            assert!(Instant::now() < until, "{status} is awaited: {seen}; the logs: {}", self.logs());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Members at all gateways.
    pub fn crowd(&self, event: i64) -> Crowd {
        let key = DevKey::read(&self.folder.path().join("dev.key")).expect("key");
        Crowd::new(self.gateways.iter().map(|g| g.addr).collect(), event, key)
    }

    /// [`check`], and `event-system replay` ends with the same digest.
    pub async fn check(&self, event: Event, crowd: &Crowd, granted: i64, added: bool) -> Figures {
        let figures = check(&self.column, event, crowd, granted, added, usize::MAX).await;
        self.replay().await;
        figures
    }

    /// `event-system replay` into an empty database must agree.
    pub async fn replay(&self) {
        agrees_with_replay(&self.column).await;
    }
}

/// `event-system replay` of a column's whole log into an empty database must agree.
pub async fn agrees_with_replay(column: &Column) {
    let (code, text, _) = replay(column, &[]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" lanes equal, 0 different, 0 parked, 0 not compared"), "{text}");
}

/// What must hold of an event at the end, however it came there; `added`: stock granted later.
///
/// Everybody acknowledged has exactly one outcome, the log's order decided, nobody who won was told LOSE, and receipts (of
/// `asked` members at most) tell the row's outcome at every gateway.
pub async fn check(
    column: &Column,
    event: Event,
    crowd: &Crowd,
    granted: i64,
    added: bool,
    asked: usize,
) -> Figures {
    let log = read_entries(column, event.lane).await;
    let distinct: HashSet<i64> = log.iter().map(|(_, member)| *member).collect();
    let store = &column.store;
    wait_for_entries(store, event.id, event.lane, distinct.len() as i64, BUDGET).await;
    let rows = entries(store, event.id, event.lane).await;
    if added {
        let mut seen = HashSet::new();
        let order: Vec<i64> = log.iter().map(|(_, m)| *m).filter(|m| seen.insert(*m)).collect();
        assert!(rows.iter().map(|r| r.member_id).eq(order), "outcomes stand in the order of the log");
    } else {
        first_come_first_served(&rows, &log, usize::try_from(granted).expect("stock"));
    }
    let won = rows.iter().filter(|r| r.status == 1).count() as i64;
    let left = format!("SELECT stock_count AS n FROM event_stock WHERE event_id = {}", event.id);
    assert_eq!(won + number(&column.database_url, &left).await, granted, "wins + stock = granted");

    let by_member: HashMap<i64, _> = rows.iter().map(|r| (r.member_id, r)).collect();
    assert_eq!(by_member.len(), rows.len(), "one outcome a member");
    let members = crowd.members();
    let (mut acked, mut misled) = (0, Vec::new());
    for (member, heard) in &members {
        let row = by_member.get(member);
        if !heard.entry_ids.is_empty() {
            acked += 1;
            let row = row.unwrap_or_else(|| panic!("member {member} was acknowledged and is lost"));
            let id = row.id().expect("id").to_string();
            assert!(heard.entry_ids.iter().eq([&id]), "one entry a member: {heard:?}");
        }
        if row.is_some_and(|r| r.status == 1) {
            // Where no stock was added, whoever hears LOSE before entering cannot win later either.
            let unentered = if added { 0 } else { heard.lost_unentered };
            if !heard.lost_after_ack.is_empty() || heard.statuses.contains("LOSE") || unentered > 0 {
                misled.push((*member, heard.clone()));
            }
        } else {
            assert!(!heard.statuses.contains("WIN"), "member {member} was told WIN: {heard:?}");
        }
    }
    assert!(misled.is_empty(), "{} winners were told LOSE: {misled:?}", misled.len());

    let mut asking = JoinSet::new();
    for (n, member) in
        members.iter().filter(|(_, m)| !m.receipts.is_empty()).map(|(id, _)| *id).take(asked).enumerate()
    {
        let expected = if by_member[&member].status == 1 { "WIN" } else { "LOSE" };
        let (crowd, gateway) = (crowd.clone(), n % crowd.gateways());
        if asking.len() >= 64 {
            asking.join_next().await.expect("one").expect("no panic");
        }
        asking.spawn(async move {
            let told = tokio::time::timeout(BUDGET, crowd.outcome(member, gateway, n % 3 > 0)).await;
            assert_eq!(told.expect("decided"), Heard::Known(expected.to_owned()), "member {member}");
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked.expect("no panic");
    }
    Figures::default()
        .with("acked", acked)
        .with("in_log", log.len() as i64)
        .with("decided", rows.len() as i64)
        .with("won", won)
        .with("no_answer", crowd.answered("no answer"))
        .with("unavailable", crowd.answered("503"))
}
