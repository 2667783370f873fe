//! Draws: selection, standing, beacons, the record's form, and what a verification finds.

mod support;

use proptest::prelude::*;
use serde_json::json;
use shared_domain::draw::{
    BeaconError, BeaconRound, Chains, ChainsError, CheckName, Disqualified, DrawKey, DrawMethod, DrawPhase,
    DrawRecord, Entrant, ListDigest, ListError, Selection, Standing, Trust, Verifier, needed, trust,
};
use shared_domain::{EntryId, Hex32};
use support::{Draw, QUICKNET, ROUND, SIGNATURE, bytes, entrants, entry, round, time, verify};

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// One pass with a heap of W + A finds what sorting all tickets finds.
    #[test]
    fn one_pass_finds_what_sorting_finds(
        weights in proptest::collection::vec(1..6u16, 0..120),
        winners in 0..40u64,
        alternates in 0..20u32,
        secret in any::<[u8; 32]>(),
    ) {
        let key = DrawKey::new(secret);
        let list = entrants(weights);
        let mut selection = Selection::random(key.clone(), winners, alternates);
        list.iter().for_each(|e| selection.push(e));
        let selected = selection.finish();
        let mut sorted: Vec<_> = list.iter().map(|e| (key.ticket(e), *e.entry_id())).collect();
        sorted.sort_unstable();
        let ids: Vec<EntryId> = sorted.into_iter().map(|(_, id)| id).collect();
        let (w, a) = (winners as usize, alternates as usize);
        prop_assert_eq!(&selected.winners[..], &ids[..w.min(ids.len())]);
        prop_assert_eq!(&selected.alternates[..], &ids[w.min(ids.len())..(w + a).min(ids.len())]);
        prop_assert_eq!(selected.entrants, list.len() as u64);
    }

    /// A list in parts, wherever it is cut, gives what it gives as a whole.
    #[test]
    fn parts_joined_find_what_one_pass_finds(
        weights in proptest::collection::vec(1..4u16, 0..80),
        part in 1..40usize,
        winners in 0..20u64,
        alternates in 0..10u32,
        secret in any::<[u8; 32]>(),
    ) {
        let list = entrants(weights);
        for new in [Selection::random(DrawKey::new(secret), winners, alternates), Selection::arrival(winners, alternates)] {
            let found = |list: &[Entrant]| {
                let mut selection = new.clone();
                list.iter().for_each(|e| selection.push(e));
                selection
            };
            let joined = list.chunks(part).map(found).fold(new.clone(), Selection::join);
            prop_assert_eq!(joined.finish(), found(&list).finish());
        }
    }

    /// Whatever is drawn and whoever is taken out, an honest record verifies.
    #[test]
    fn honest_records_verify(
        weights in proptest::collection::vec(1..4u16, 0..40),
        max_winners in 0..30i64,
        max_alternates in 0..8u32,
        out in proptest::collection::hash_set(1..41i64, 0..12),
        arrival in any::<bool>(),
        beacon in any::<bool>(),
    ) {
        let n = weights.len() as i64;
        let mut draw = Draw::new(max_winners, max_alternates, entrants(weights));
        draw.disqualify = out.into_iter().filter(|i| *i <= n).map(entry).collect();
        draw.method = if arrival { DrawMethod::Arrival } else { DrawMethod::Random };
        draw.beacon = beacon && !arrival;
        let report = verify(&draw.record(), &draw.list);
        prop_assert_eq!(report.failed().count() + report.not_checked().count(), 0, "{:?}", report);
    }
}

#[test]
fn arrival_takes_the_first() {
    let mut draw = Draw::new(2, 1, entrants([1; 5]));
    draw.method = DrawMethod::Arrival;
    let record = draw.record();
    assert_eq!(record.winners, [Some(entry(1)), Some(entry(2))]);
    assert_eq!(record.alternates, [entry(3)]);
}

#[test]
fn fewer_entrants_than_winners_all_win_and_none_wanted_none_win() {
    let record = Draw::new(10, 3, entrants([1; 4])).record();
    assert_eq!((record.winners.len(), record.alternates.len()), (4, 0));
    let record = Draw::new(0, 0, entrants([1; 4])).record();
    assert_eq!((record.winners.len(), record.alternates.len()), (0, 0));
    assert!(Draw::new(5, 5, vec![]).record().winners.is_empty());
}

#[test]
fn a_draw_repeated_needs_nobody() {
    assert_eq!(
        [needed(30, 0), needed(30, 29), needed(30, 30), needed(30, 31), needed(0, 0)],
        [30, 1, 0, 0, 0]
    );
}

#[test]
fn a_list_of_another_length_has_no_digest() {
    let mut digest = ListDigest::new(1, 2);
    digest.push(&entrants([1])[0]);
    assert_eq!(digest.finish(), Err(ListError { expected: 2, seen: 1 }));
}

#[test]
fn lines_of_the_list_are_exact() {
    let line = format!("{},7", entry(1));
    let entrant = Entrant::parse(&line).expect("a line");
    assert_eq!((entrant.to_string(), entrant.weight()), (line, 7));
    for wrong in ["", "x,1", &format!("{}", entry(1)), &format!("{},", entry(1)), &format!("{},+1", entry(1))]
    {
        assert!(Entrant::parse(wrong).is_err(), "{wrong}");
    }
    for weight in ["0", "1001", "99999999"] {
        assert!(Entrant::parse(&format!("{},{weight}", entry(1))).is_err(), "{weight}");
    }
}

#[test]
fn the_next_alternate_moves_up_until_none_is_left() {
    let draw = Draw::new(2, 2, entrants([1; 6]));
    let record = draw.record();
    let (first, second) = (record.winners[0].expect("winner"), record.winners[1].expect("winner"));
    let [a, b] = record.alternates[..] else { panic!("two alternates") };
    let mut standing =
        Standing { winners: record.winners.clone(), alternates: record.alternates.clone().into() };
    assert_eq!(standing.disqualify(&b), Disqualified::Alternate);
    assert_eq!(standing.disqualify(&first), Disqualified::Winner { rank: 1, replaced_by: Some(a) });
    assert_eq!(standing.disqualify(&a), Disqualified::Winner { rank: 1, replaced_by: None });
    assert_eq!(standing.disqualify(&second), Disqualified::Winner { rank: 2, replaced_by: None });
    assert_eq!(standing.winners, [None, None]);
    assert_eq!(standing.disqualify(&first), Disqualified::Neither);
}

#[test]
fn quicknet_is_built_in_and_rounds_are_checked() {
    let chains = Chains::default();
    let signature = hex::decode(SIGNATURE).expect("hex");
    let randomness = chains.verify(&round(), &signature).expect("the chain's signature");
    assert_eq!(randomness.0, <[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(&signature)));
    let other = BeaconRound { round: ROUND + 1, ..round() };
    assert_eq!(chains.verify(&other, &signature), Err(BeaconError::BadSignature(ROUND + 1)));
    assert_eq!(chains.verify(&round(), &[0; 48]), Err(BeaconError::BadSignature(ROUND)));
    assert_eq!(chains.verify(&round(), &[]), Err(BeaconError::BadSignature(ROUND)));
    let zero = BeaconRound { round: 0, ..round() };
    assert_eq!(chains.verify(&zero, &signature), Err(BeaconError::NoSuchRound(0)));
    let unknown = BeaconRound { chain_hash: Hex32([1; 32]), round: 1 };
    assert_eq!(chains.verify(&unknown, &signature), Err(BeaconError::UnknownChain(Hex32([1; 32]))));
    let made = chains.get(&round().chain_hash).expect("quicknet").round_time(ROUND).expect("a round");
    assert_eq!(made, time("2023-08-23T15:15:33Z").timestamp_millis());
}

#[test]
fn chains_files_must_hash_to_their_name() {
    // Another unchained network, as its nodes describe it.
    let info = |period: u32| {
        json!([{
            "public_key": "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a",
            "period": period, "genesis_time": 1692803367, "chain_hash": QUICKNET, "beacon_id": "quicknet",
            "genesis_seed": "f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e",
            "scheme": "bls-unchained-g1-rfc9380"
        }])
        .to_string()
    };
    assert!(Chains::with(&info(3)).is_ok(), "the form of drand's version 2 is read too");
    assert!(matches!(Chains::with(&info(30)), Err(ChainsError::Hash(_))));
    assert!(matches!(Chains::with("{}"), Err(ChainsError::Form(_))));
    let chained = info(3).replace("bls-unchained-g1-rfc9380", "pedersen-bls-chained");
    assert!(matches!(Chains::with(&chained), Err(ChainsError::Scheme(..))));
}

#[test]
fn a_beacon_counts_when_the_list_was_frozen_30_s_before_it() {
    let chains = Chains::default();
    let at = |text| trust(&chains, Some(&round()), Some(time(text))).expect("known chain");
    assert_eq!(at("2023-08-23T15:15:03Z"), Trust::Beacon);
    assert_eq!(at("2023-08-23T15:15:03.001Z"), Trust::Operator);
    assert_eq!(trust(&chains, Some(&round()), None), Ok(Trust::Beacon));
    assert_eq!(trust(&chains, None, None), Ok(Trust::Operator));
    let ends = |text| chains.check_round(&round(), time(text).timestamp_millis()).map_err(|v| v.pointer);
    assert_eq!(ends("2023-08-23T15:15:02Z"), Ok(()));
    assert_eq!(ends("2023-08-23T15:15:03Z"), Err("/draw/beacon/round".to_owned()));
    let unknown = BeaconRound { chain_hash: Hex32([1; 32]), round: 1 };
    assert_eq!(
        chains.check_round(&unknown, 0).map_err(|v| v.pointer),
        Err("/draw/beacon/chain_hash".to_owned())
    );
}

/// Everything there is in one draw.
fn full() -> Draw {
    let mut draw = Draw::new(4, 3, entrants([1, 2, 3, 1, 1, 5, 1, 1, 1, 1, 2, 1]));
    draw.beacon = true;
    let record = draw.record();
    draw.disqualify = vec![record.winners[1].expect("winner"), record.alternates[1]];
    draw
}

#[test]
fn the_json_is_the_contracts() {
    let json = serde_json::to_value(full().record()).expect("json");
    let fields: Vec<_> = json.as_object().expect("object").keys().map(String::as_str).collect();
    let mut contract = vec![
        "event_id",
        "draw_id",
        "phase",
        "rules_version",
        "method",
        "commitment",
        "seed",
        "beacon",
        "trust",
        "entrants",
        "list_digest",
        "max_winners",
        "max_alternates",
        "winners",
        "alternates",
        "disqualified",
        "frozen_at",
        "published_at",
    ];
    contract.sort_unstable();
    let mut sorted = fields.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, contract);
    assert_eq!(
        (&json["phase"], &json["method"], &json["trust"]),
        (&json!("PUBLISHED"), &json!("RANDOM"), &json!("beacon"))
    );
    assert_eq!(json["frozen_at"], json!("2023-08-23T15:13:33Z"));
    assert_eq!(json["beacon"]["signature"], json!(SIGNATURE));
    assert_eq!(json["winners"][0], json!(full().record().winners[0].expect("winner").to_string()));
    assert_eq!(serde_json::from_value::<DrawRecord>(json).expect("reads"), full().record());
    let mut early = full().record();
    early.phase = DrawPhase::Scheduled;
    (early.seed, early.beacon, early.entrants, early.list_digest) = (None, None, None, None);
    let json = serde_json::to_value(early).expect("json");
    assert!(json["seed"].is_null() && json["beacon"].is_null() && json["entrants"].is_null());
    let upper = json!(QUICKNET.to_uppercase());
    assert!(serde_json::from_value::<Hex32>(upper).is_err(), "bytes are lower-case hex");
}

/// The checks that fail for a changed record or list.
fn failing(change: impl FnOnce(&mut DrawRecord, &mut Vec<Entrant>)) -> Vec<CheckName> {
    let draw = full();
    let (mut record, mut list) = (draw.record(), draw.list.clone());
    change(&mut record, &mut list);
    verify(&record, &list).failed().map(|c| c.name).collect()
}

#[test]
fn what_was_tampered_with_is_named() {
    use CheckName::{
        Alternates, Beacon, Commitment, Disqualified, List, Record, Rules, Trust as TrustCheck, Winners,
    };
    assert_eq!(failing(|_, _| {}), []);
    // The list: order, weight, somebody left out, somebody added, somebody twice.
    assert_eq!(failing(|_, list| list.swap(2, 7)), [List]);
    assert_eq!(failing(|_, list| list[3] = Entrant::new(entry(4), 9).expect("weight")), [List]);
    assert_eq!(
        failing(|_, list| {
            let _ = list.pop();
        }),
        [List]
    );
    assert_eq!(failing(|_, list| list.push(Entrant::new(entry(99), 1).expect("weight"))), [List]);
    assert_eq!(failing(|_, list| list[1] = list[0]), [List]);
    assert_eq!(failing(|r, _| r.entrants = Some(11)), [List]);
    assert_eq!(failing(|r, _| r.list_digest = Some(Hex32([1; 32]))), [List]);
    // The seed, its commitment, or the event they are for.
    assert_eq!(failing(|r, _| r.seed = Some(Hex32(bytes("another")))), [Commitment]);
    assert_eq!(failing(|r, _| r.commitment = Hex32([1; 32])), [Commitment]);
    assert_eq!(failing(|r, _| r.event_id += 1), [Commitment, List]);
    // Winners: somebody else, another order, fewer, one more.
    assert_eq!(failing(|r, _| r.winners[3] = Some(entry(99))), [Winners]);
    assert_eq!(failing(|r, _| r.winners.swap(0, 2)), [Winners]);
    assert_eq!(
        failing(|r, _| {
            let _ = r.winners.pop();
        }),
        [Winners]
    );
    assert_eq!(failing(|r, _| r.winners[0] = None), [Winners]);
    assert_eq!(failing(|r, _| r.max_winners = 3), [Disqualified, Winners, Alternates]);
    // Alternates: another order, one dropped, one promoted.
    let mut draw = full();
    draw.disqualify.clear();
    let mut record = draw.record();
    record.alternates.swap(0, 1);
    let names: Vec<_> = verify(&record, &draw.list).failed().map(|c| c.name).collect();
    assert_eq!(names, [Alternates]);
    assert_eq!(
        failing(|r, _| {
            let _ = r.alternates.pop();
        }),
        [Alternates]
    );
    // The history: who moved up, an item dropped, one made up, one twice, somebody unknown.
    assert_eq!(failing(|r, _| r.disqualified[0].replaced_by = None), [Disqualified]);
    assert_eq!(failing(|r, _| drop(r.disqualified.remove(0))), [Winners, Alternates]);
    assert_eq!(failing(|r, _| drop(r.disqualified.remove(1))), [Alternates]);
    assert_eq!(
        failing(|r, _| {
            let again = r.disqualified[0].clone();
            r.disqualified.push(again);
        }),
        [Disqualified]
    );
    assert_eq!(failing(|r, _| r.disqualified[1].entry_id = entry(99)), [Disqualified, Alternates]);
    assert_eq!(failing(|r, _| r.disqualified.swap(0, 1)), []);
    // The beacon: signature, randomness, round, chain; and a claim of trust that it does not carry.
    assert_eq!(failing(|r, _| r.beacon.as_mut().expect("beacon").round += 1), [Beacon]);
    assert_eq!(
        failing(|r, _| r.beacon.as_mut().expect("beacon").randomness = Some(Hex32([1; 32]))),
        [Beacon]
    );
    assert_eq!(
        failing(|r, _| r.beacon.as_mut().expect("beacon").signature.as_mut().expect("there").0[5] ^= 1),
        [Beacon]
    );
    assert_eq!(failing(|r, _| r.beacon.as_mut().expect("beacon").signature = None), [Beacon]);
    assert_eq!(
        failing(|r, _| r.beacon.as_mut().expect("beacon").chain_hash = Hex32([1; 32])),
        [TrustCheck, Beacon]
    );
    assert_eq!(failing(|r, _| r.trust = Trust::Operator), [TrustCheck]);
    assert_eq!(failing(|r, _| r.frozen_at = Some(time("2023-08-23T15:15:10Z"))), [TrustCheck]);
    assert_eq!(failing(|r, _| r.beacon = None), [TrustCheck]);
    // What a record must not be.
    assert_eq!(failing(|r, _| r.method = DrawMethod::Arrival), [Disqualified, Winners, Alternates]);
    assert_eq!(failing(|r, _| r.rules_version = 2), [Rules]);
    assert_eq!(failing(|r, _| r.phase = DrawPhase::Decided), [Record]);
    assert_eq!(failing(|r, _| r.published_at = Some(time("2023-01-01T00:00:00Z"))), [Record]);
    assert_eq!(failing(|r, _| r.winners[3] = r.winners[0]), [Record, Winners]);
    let out = full().disqualify[0];
    assert_eq!(failing(|r, _| r.winners[1] = Some(out)), [Record, Winners]);
}

#[test]
fn a_beacon_named_but_frozen_too_late_counts_for_nothing() {
    let mut draw = full();
    draw.frozen_at = "2023-08-23T15:15:10Z";
    draw.disqualify.clear();
    let mut record = draw.record();
    assert_eq!((record.trust, record.beacon_value()), (Trust::Operator, Some([0; 32])));
    assert_eq!(verify(&record, &draw.list).failed().count(), 0);
    let beacon = record.beacon.as_mut().expect("named");
    (beacon.randomness, beacon.signature) = (None, None);
    assert_eq!(verify(&record, &draw.list).failed().count(), 0, "nobody has to post it");
}

#[test]
fn before_publishing_only_what_is_there_is_checked() {
    let draw = full();
    let mut record = draw.record();
    record.phase = DrawPhase::Frozen;
    (record.seed, record.published_at) = (None, None);
    (record.winners, record.alternates, record.disqualified) = (vec![], vec![], vec![]);
    let beacon = record.beacon.as_mut().expect("named");
    (beacon.randomness, beacon.signature) = (None, None);
    let report = verify(&record, &draw.list);
    assert_eq!(report.failed().count(), 0, "{report:?}");
    let open: Vec<_> = report.not_checked().map(|c| c.name).collect();
    use CheckName::{Alternates, Beacon, Commitment, Disqualified, Winners};
    assert_eq!(open, [Commitment, Beacon, Disqualified, Winners, Alternates]);
    let without = Verifier::new(&draw.record(), &Chains::default()).without_list();
    assert_eq!((without.failed().count(), without.not_checked().count()), (0, 4));
}
