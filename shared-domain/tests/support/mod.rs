//! Whole draws, as a store would run them.
#![allow(dead_code)] // each test uses its part

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use shared_domain::draw::{
    BeaconRecord, BeaconRound, Chains, DisqualifiedRecord, DrawMethod, DrawPhase, DrawRecord, Entrant,
    ListDigest, Report, Seed, Selection, Standing, Verifier, needed, trust,
};
use shared_domain::{EntryId, EventKeys, Hex32, HexBytes, Rules};
use uuid::Uuid;

/// quicknet's round 123, as drand serves it.
pub const ROUND: u64 = 123;
pub const SIGNATURE: &str =
    "b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482e26cd02df835d3546d23c4b13e0dfc92";
pub const QUICKNET: &str = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971";

pub fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

/// Bytes that are the same in each run.
pub fn bytes(label: &str) -> [u8; 32] {
    Sha256::digest(label).into()
}

pub fn entry(n: i64) -> EntryId {
    EventKeys::new(&bytes("salt")).entry_id(n, None)
}

pub fn entrants(weights: impl IntoIterator<Item = u16>) -> Vec<Entrant> {
    weights.into_iter().zip(1..).map(|(w, n)| Entrant::new(entry(n), w).expect("weight")).collect()
}

pub fn round() -> BeaconRound {
    BeaconRound { chain_hash: QUICKNET.parse().expect("hash"), round: ROUND }
}

/// What a draw is made of.
#[derive(Clone)]
pub struct Draw {
    pub event: i64,
    pub seed: [u8; 32],
    pub method: DrawMethod,
    pub max_winners: i64,
    pub max_alternates: u32,
    pub list: Vec<Entrant>,
    pub beacon: bool,
    pub frozen_at: &'static str,
    /// Who is taken out, in order.
    pub disqualify: Vec<EntryId>,
}

impl Draw {
    pub fn new(max_winners: i64, max_alternates: u32, list: Vec<Entrant>) -> Self {
        Self {
            event: 42,
            seed: bytes("seed"),
            method: DrawMethod::Random,
            max_winners,
            max_alternates,
            list,
            beacon: false,
            // Two minutes before round 123.
            frozen_at: "2023-08-23T15:13:33Z",
            disqualify: vec![],
        }
    }

    pub fn digest(&self) -> [u8; 32] {
        let mut digest = ListDigest::new(self.event, self.list.len() as u64);
        self.list.iter().for_each(|e| digest.push(e));
        digest.finish().expect("n entrants")
    }

    pub fn selection(&self, beacon: &[u8; 32]) -> Selection {
        let winners = needed(self.max_winners, 0);
        match self.method {
            DrawMethod::Random => {
                let key = Seed::new(self.seed).draw_key(self.event, &self.digest(), beacon);
                Selection::random(key, winners, self.max_alternates)
            }
            DrawMethod::Arrival => Selection::arrival(winners, self.max_alternates),
        }
    }

    /// The record behind PUBLISHED.
    pub fn record(&self) -> DrawRecord {
        let chains = Chains::default();
        let seed = Seed::new(self.seed);
        let frozen_at = time(self.frozen_at);
        let named = self.beacon.then(round);
        let beacon = named.map(|round| {
            let signature: HexBytes = SIGNATURE.parse().expect("hex");
            let randomness = chains.verify(&round, &signature.0).expect("quicknet's signature");
            BeaconRecord {
                chain_hash: round.chain_hash,
                round: round.round,
                randomness: Some(randomness),
                signature: Some(signature),
            }
        });
        let mut record = DrawRecord {
            event_id: self.event,
            draw_id: Uuid::from_bytes([7; 16]),
            phase: DrawPhase::Published,
            rules_version: Rules::NEWEST.version(),
            method: self.method,
            commitment: Hex32(seed.commitment(self.event)),
            seed: Some(Hex32(self.seed)),
            beacon,
            trust: trust(&chains, named.as_ref(), Some(frozen_at)).expect("known chain"),
            entrants: Some(self.list.len() as u64),
            list_digest: Some(Hex32(self.digest())),
            max_winners: self.max_winners,
            max_alternates: self.max_alternates,
            winners: vec![],
            alternates: vec![],
            disqualified: vec![],
            frozen_at: Some(frozen_at),
            published_at: Some(time("2023-08-23T15:20:00Z")),
        };
        let mut selection = self.selection(&record.beacon_value().expect("value"));
        self.list.iter().for_each(|e| selection.push(e));
        let mut standing = Standing::from(selection.finish());
        for (id, minute) in self.disqualify.iter().zip(0..) {
            record.disqualified.push(DisqualifiedRecord {
                entry_id: *id,
                replaced_by: standing.disqualify(id).replaced_by(),
                reason: "two accounts".to_owned(),
                at: time("2023-08-24T09:00:00Z") + chrono::TimeDelta::minutes(minute),
            });
        }
        record.winners = standing.winners;
        record.alternates = standing.alternates.into();
        record
    }
}

pub fn verify(record: &DrawRecord, list: &[Entrant]) -> Report {
    let mut verifier = Verifier::new(record, &Chains::default());
    list.iter().for_each(|e| verifier.push(e));
    verifier.finish()
}
