//! A draw that waits for a drand round.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use shared_domain::Hex32;
use shared_domain::draw::{Chains, Entrant, Verifier};

use super::Raffle;
use crate::system::System;

/// A chain whose round 123, of which the signature is known, is made when the test wants it: a drand signature depends on
/// the round's number, not on its time.
pub struct TestChain {
    /// For `DRAND_CHAINS_FILE`.
    pub json: String,
    /// Its hash.
    pub hash: String,
    /// Of round 123.
    pub signature: &'static str,
}

impl TestChain {
    /// Round 123 is made in `seconds` from now.
    pub fn with_round_in(seconds: u64) -> Self {
        use sha2::{Digest, Sha256};
        let key = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let genesis = i64::try_from(now + seconds).expect("fits") - 122 * 3;
        let bytes: Vec<u8> = (0..key.len() / 2)
            .map(|i| u8::from_str_radix(&key[2 * i..2 * i + 2], 16).expect("hex"))
            .collect();
        let hash = Sha256::new()
            .chain_update(3_u32.to_be_bytes())
            .chain_update(genesis.to_be_bytes())
            .chain_update(&bytes)
            .chain_update([7; 32])
            .chain_update("test")
            .finalize();
        let hash = Hex32(hash.into()).to_string();
        let group: String = "07".repeat(32);
        let json = json!([{"public_key": key, "period": 3, "genesis_time": genesis, "hash": hash,
            "groupHash": group, "schemeID": "bls-unchained-g1-rfc9380", "metadata": {"beaconID": "test"}}]);
        Self {
            json: json.to_string(),
            hash,
            signature: "b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482e26cd02df835d3546d23c4b13e0dfc92",
        }
    }
}

/// The list is frozen for the named round by itself; the draw waits for the round, and takes no other.
pub async fn waits_for_its_beacon(system: &System, chain: &TestChain) {
    let ends_at = SystemTime::now() + Duration::from_secs(25);
    let beacon = json!({"chain_hash": chain.hash, "round": 123});
    let parts = json!({
        "ends_at": humantime::format_rfc3339_seconds(ends_at).to_string(), "draw": {"beacon": beacon, "alternates": 1},
    });
    let raffle = Raffle::open(system, 2, parts).await;
    raffle.enter(1..=9).await;
    system.close(raffle.event).await;
    let record = raffle.until_phase("FROZEN").await;
    assert_eq!(record.entrants, Some(9));
    raffle.draw(true).await.is(409, "BEACON_PENDING");
    let path = raffle.path("/draw/beacon");
    let shown = system.ask_admin("GET", &raffle.path("/draw"), Value::Null).await.json();
    assert_eq!(shown["progress"]["waiting_for"], json!(["beacon round 123"]), "{shown}");
    let put = async |round: u64, signature: &str| {
        system.ask_admin("PUT", &path, json!({"round": round, "signature": signature})).await
    };
    put(124, chain.signature).await.is(422, "INVALID_REQUEST");
    put(123, &chain.signature.replace("b7", "b6")).await.is(422, "INVALID_REQUEST");
    raffle.draw(true).await.is(409, "BEACON_PENDING");
    for _ in 0..2 {
        assert_eq!(put(123, chain.signature).await.status, 200);
    }
    assert_eq!(raffle.draw(true).await.status, 202);
    let record = raffle.until_phase("PUBLISHED").await;
    let list = raffle.list().await;
    let chains = Chains::with(&chain.json).expect("chains");
    let mut verifier = Verifier::new(&record, &chains);
    list.lines().skip(1).for_each(|line| verifier.push(&Entrant::parse(line).expect(line)));
    let report = verifier.finish();
    assert_eq!((report.failed().count(), report.not_checked().count()), (0, 0), "{report:?}");
    assert_eq!(record.trust, shared_domain::draw::Trust::Beacon);
    assert!(record.beacon.is_some_and(|beacon| beacon.randomness.is_some()));
    system.is_sound().await;
}
