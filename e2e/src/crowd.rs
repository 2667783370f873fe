//! Members at the gateways' HTTP listeners: who was told what, and by whose answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use shared_runtime::auth::DevKey;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3_600);

/// One member's memory.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// Entry ids of 202 answers: one, if all is well.
    pub entry_ids: BTreeSet<String>,
    /// Receipts of 202 answers.
    pub receipts: BTreeSet<String>,
    /// LOSE answers to requests that were sent after a 202 had been heard.
    pub lost_after_ack: Vec<String>,
    /// LOSE answers to requests that were sent before any.
    pub lost_unentered: u64,
    /// Statuses heard of the entry itself.
    pub statuses: BTreeSet<String>,
}

/// What one request heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// 202.
    Accepted,
    /// 200, with this status.
    Known(String),
    /// 409 LOSE.
    Lose,
    /// 404 to a question about an entry.
    NotFound,
    /// 429, 503, or no answer at all.
    Nothing,
}

/// The members of one event and what they heard. Clones share it.
#[derive(Clone)]
pub struct Crowd(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    gateways: Vec<SocketAddr>,
    event: i64,
    key: DevKey,
    members: Mutex<HashMap<i64, Member>>,
    answers: Mutex<BTreeMap<String, i64>>,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(gateways: Vec<SocketAddr>, event: i64, key: DevKey) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(8)).build().expect("client");
        let (members, answers) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { http, gateways, event, key, members, answers }))
    }

    /// Gateways that are asked.
    pub fn gateways(&self) -> usize {
        self.0.gateways.len()
    }

    /// Everybody's memory.
    pub fn members(&self) -> HashMap<i64, Member> {
        self.lock().clone()
    }

    /// Members who heard 202.
    pub fn acked(&self) -> i64 {
        self.lock().values().filter(|m| !m.entry_ids.is_empty()).count() as i64
    }

    /// Answers by status and code.
    pub fn answers(&self) -> BTreeMap<String, i64> {
        self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often one of these answers was heard.
    pub fn answered(&self, what: &str) -> i64 {
        self.answers().iter().filter(|(answer, _)| answer.contains(what)).map(|(_, n)| n).sum()
    }

    /// Presses the button once.
    pub async fn press(&self, member: i64, gateway: usize) -> Heard {
        let entered = self.entered(member);
        let url = format!("http://{}/v1/events/{}/entries", self.0.gateways[gateway], self.0.event);
        let answer = self.ask("POST", self.0.http.post(url).bearer_auth(self.token(member))).await;
        let Some((status, body)) = answer else { return Heard::Nothing };
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let mut members = self.lock();
        let known = members.entry(member).or_default();
        match (status, text("code").as_str()) {
            (202, "APPLIED" | "APPLIED_RAFFLE") | (201, "APPLIED_RAFFLE") => {
                known.entry_ids.insert(text("entry_id"));
                known.receipts.insert(text("receipt"));
                Heard::Accepted
            }
            (200, "ALREADY_APPLIED") => {
                note(known, entered, &text("status"), "ALREADY_APPLIED");
                Heard::Known(text("status"))
            }
            (409, "LOSE") => {
                note(known, entered, "LOSE", "409");
                Heard::Lose
            }
            (429, "TRY_AGAIN") | (503, "OUTCOME_UNKNOWN" | "UNAVAILABLE") => Heard::Nothing,
            _ => panic!("member {member} heard {status} {body}"),
        }
    }

    /// Asks for the entry by receipt, or by the member's token.
    pub async fn look(&self, member: i64, gateway: usize, by_receipt: bool) -> Heard {
        let Some(known) = self.lock().get(&member).cloned() else { return Heard::NotFound };
        let (Some(id), Some(receipt)) = (known.entry_ids.first(), known.receipts.first()) else {
            return Heard::NotFound;
        };
        let get = self.0.http.get(format!("http://{}/v1/entries/{id}", self.0.gateways[gateway]));
        let get = match by_receipt {
            true => get.header("X-Entry-Receipt", receipt),
            false => get.bearer_auth(self.token(member)),
        };
        let Some((status, body)) = self.ask("GET", get).await else { return Heard::Nothing };
        match status {
            200 => {
                let told = body["status"].as_str().unwrap_or_default().to_owned();
                note(self.lock().entry(member).or_default(), true, &told, "GET");
                Heard::Known(told)
            }
            404 => Heard::NotFound,
            429 | 503 => Heard::Nothing,
            _ => panic!("member {member} heard {status} {body}"),
        }
    }

    /// Presses at one gateway or another until something final is heard.
    pub async fn enter(&self, member: i64, mut random: StdRng) -> Heard {
        loop {
            match self.press(member, random.random_range(0..self.gateways())).await {
                Heard::Nothing => {
                    tokio::time::sleep(Duration::from_millis(random.random_range(50..250))).await
                }
                heard => return heard,
            }
        }
    }

    /// Asks until the entry is decided, or unknown.
    pub async fn outcome(&self, member: i64, gateway: usize, by_receipt: bool) -> Heard {
        loop {
            match self.look(member, gateway, by_receipt).await {
                Heard::Known(status) if status == "QUEUED" => {}
                Heard::Nothing => {}
                heard => return heard,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A steady stream of new members from `first` on; one in ten clicks twice at once.
    pub fn stream(&self, seed: u64, first: i64, per_second: u64) -> Stream {
        const TICK: Duration = Duration::from_millis(20);
        let (crowd, stop) = (self.clone(), CancellationToken::new());
        let token = stop.clone();
        let task = tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            let mut tick = tokio::time::interval(TICK);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            let (mut presses, mut next, mut owed) = (JoinSet::new(), first, 0);
            while token.run_until_cancelled(tick.tick()).await.is_some() {
                while let Some(done) = presses.try_join_next() {
                    done.expect("no panic");
                }
                owed += per_second;
                while owed >= 50 {
                    owed -= 50;
                    let clicks = if random.random_range(0..10) == 0 { 2 } else { 1 };
                    for _ in 0..clicks {
                        let (crowd, random) = (crowd.clone(), StdRng::seed_from_u64(random.random()));
                        presses.spawn(async move { drop(crowd.enter(next, random).await) });
                    }
                    next += 1;
                }
            }
            while let Some(done) = presses.join_next().await {
                done.expect("no panic");
            }
            next
        });
        Stream { stop, task }
    }

    async fn ask(&self, method: &str, request: reqwest::RequestBuilder) -> Option<(u16, Value)> {
        let answer = async {
            let answer = request.send().await?;
            let status = answer.status().as_u16();
            let retry_after =
                answer.headers().get("Retry-After").and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
            assert!(!matches!(status, 429 | 503) || retry_after.is_some(), "{status} without Retry-After");
            reqwest::Result::Ok((status, answer.json::<Value>().await?))
        };
        let answer = answer.await.ok();
        let what = answer.as_ref().map_or_else(
            || "no answer".to_owned(),
            |(status, body)| {
                let told = body["code"].as_str().or(body["status"].as_str()).unwrap_or_default();
                format!("{method} {status} {told}")
            },
        );
        *self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
        answer
    }

    fn entered(&self, member: i64) -> bool {
        self.lock().get(&member).is_some_and(|m| !m.entry_ids.is_empty())
    }

    fn token(&self, member: i64) -> String {
        self.0.key.issue_member(member, HOUR).expect("token")
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Member>> {
        self.0.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(member: &mut Member, entered: bool, status: &str, by: &str) {
    match (status, entered) {
        ("LOSE", true) => member.lost_after_ack.push(by.to_owned()),
        // A lost entry that another gateway knows is the member's own, too.
        ("LOSE", false) if by != "409" => member.lost_after_ack.push(by.to_owned()),
        ("LOSE", false) => member.lost_unentered += 1,
        _ => {}
    }
    if by != "409" {
        member.statuses.insert(status.to_owned());
    }
}

/// A running stream of members.
pub struct Stream {
    stop: CancellationToken,
    task: JoinHandle<i64>,
}

impl Stream {
    /// Sends nobody more, and waits until all have heard something final; gives the number behind the last member.
    pub async fn stop(self) -> i64 {
        self.stop.cancel();
        self.task.await.expect("no panic")
    }
}
