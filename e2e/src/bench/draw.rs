//! (d) A draw's selection: 10,000 of 1,000,000 in one pass, beside computing every ticket once and doing nothing with it.

use std::hint::black_box;

use shared_domain::EntryId;
use shared_domain::draw::{DrawKey, Entrant, ListDigest, Selection};

use super::{Bar, Meter, Runs, Table};

const WINNERS: u64 = 10_000;
const ALTERNATES: u32 = 100;

/// Entrants with ids as evenly spread as real ones.
fn entrants(n: u64) -> Vec<Entrant> {
    let entrant = |i: u64| {
        let id = (u128::from(i) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        Entrant::new(EntryId::from_bytes(id.to_be_bytes()), 1).expect("a weight")
    };
    (0..n).map(entrant).collect()
}

/// Measures `repetitions` times over `n` entrants, interleaved. Needs no stores.
pub fn bench(table: &mut Table, repetitions: usize, n: u64) {
    let list = entrants(n);
    let key = DrawKey::new([7; 32]);
    let (mut hashing, mut selecting, mut listing) = (Runs::default(), Runs::default(), Runs::default());
    for _ in 0..repetitions {
        let meter = Meter::start(std::process::id());
        list.iter().for_each(|e| {
            black_box(key.ticket(black_box(e)));
        });
        hashing.push(&meter.stop(n));

        let meter = Meter::start(std::process::id());
        let mut selection = Selection::random(key.clone(), WINNERS, ALTERNATES);
        list.iter().for_each(|e| selection.push(black_box(e)));
        assert_eq!(black_box(selection.finish()).winners.len() as u64, WINNERS.min(n));
        selecting.push(&meter.stop(n));

        let meter = Meter::start(std::process::id());
        let mut digest = ListDigest::new(1, n);
        list.iter().for_each(|e| digest.push(black_box(e)));
        black_box(digest.finish()).expect("n entrants");
        listing.push(&meter.stop(n));
    }
    table.heading(&format!("(d) draw: {WINNERS} winners and {ALTERNATES} alternates of {n} entrants"));
    table.runs("tickets only (one HMAC-SHA256 an id)", &hashing);
    table.runs("selection", &selecting);
    table.runs("list digest", &listing);
    let ratio = hashing.rate.relative_to(&selecting.rate);
    table.against("time of selection / time of tickets", &ratio, 2, "x", Bar::Most(1.3));
}
