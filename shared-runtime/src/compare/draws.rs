//! A raffle's draw against its entries.

use shared_domain::draw::{DrawPhase, ListDigest};
use shared_domain::{EntryStatus, EventId, Reason};

use super::BLOCK;
use super::difference::{Difference, Witness, hex};
use super::lane::TOLD;
use crate::store::error_class::StoreError;
use crate::store::reading::Reading;
use crate::store::rows::{DrawResultRow, DrawRow, EntryRow};

/// Places that are compared at once.
const PLACES: i64 = 1_000;

/// What of a draw its entries do not bear out: nobody has an outcome before it is decided; from FROZEN on the list is the
/// one whose digest stands there; once PUBLISHED each place has its entry, and nobody else won.
pub async fn check_draw(live: &mut Reading, event: EventId) -> Result<Vec<Difference>, StoreError> {
    let Some(draw) = live.draw(event).await? else { return Ok(Vec::new()) };
    let mut differences = Vec::new();
    let phase = draw.phase()?;
    if phase >= DrawPhase::Frozen {
        check_list(live, &draw, &mut differences).await?;
    }
    let mut of = [0i64; 4];
    let mut taken_out = 0;
    for (status, reason, entries) in live.entry_counts(event).await? {
        if let Some(status) = EntryStatus::from_code(status) {
            of[usize::from(status.code())] += entries;
        }
        if reason == Some(i16::from(Reason::Disqualified.code())) {
            taken_out += entries;
        }
    }
    let [pending, won, lost, _] = of;
    let places = match phase {
        DrawPhase::Published => check_places(live, &draw, &mut differences).await?,
        _ => Places::default(),
    };
    let mut total = |what: &str, found: i64, expected: i64| {
        if found != expected {
            let (found, expected) = (found.to_string(), expected.to_string());
            differences.push(Difference::of_event(event, what, found, expected, Witness::Draw));
        }
    };
    match phase {
        DrawPhase::Scheduled | DrawPhase::Frozen => {
            total("event_entry with WIN or LOSE", won + lost, 0);
        }
        // Outcomes are on their way into the rows.
        DrawPhase::Decided => {}
        DrawPhase::Published => {
            total("event_entry with PENDING", pending, 0);
            total("event_entry with WIN", won, places.standing);
            total("event_entry with LOSE", lost, draw.entrants.unwrap_or(0) - places.standing - taken_out);
            total("draw.winners", draw.winners, places.standing);
            total("draw.paid", draw.paid, places.paid);
        }
    }
    Ok(differences)
}

/// The list as the entries give it now: what a draw or staff made of them since keeps them in it.
async fn check_list(
    live: &mut Reading,
    draw: &DrawRow,
    differences: &mut Vec<Difference>,
) -> Result<(), StoreError> {
    let event = draw.event_id;
    let entrants = u64::try_from(draw.entrants.unwrap_or(0)).unwrap_or(0);
    let mut digest = ListDigest::new(event, entrants);
    let mut listed = 0u64;
    for lane in live.draw_lanes(event).await? {
        let mut from = 0;
        while from < lane.last_seq {
            let to = (from + BLOCK).min(lane.last_seq);
            for entrant in live.entrants_between(event, lane.lane, from, to).await? {
                listed += 1;
                if listed <= entrants {
                    digest.push(&entrant);
                }
            }
            from = to;
        }
    }
    let mut differ = |what: &str, found: String, expected: String| {
        if found != expected {
            differences.push(Difference::of_event(event, what, found, expected, Witness::Rows));
        }
    };
    differ("draw.entrants", entrants.to_string(), listed.to_string());
    if let Ok(list) = digest.finish() {
        let frozen = draw.list_digest.as_deref().unwrap_or_default();
        differ("draw.list_digest", hex(frozen), hex(&list));
    }
    Ok(())
}

#[derive(Default)]
struct Places {
    /// Winners who were not taken out.
    standing: i64,
    paid: i64,
}

async fn check_places(
    live: &mut Reading,
    draw: &DrawRow,
    differences: &mut Vec<Difference>,
) -> Result<Places, StoreError> {
    let event = draw.event_id;
    let (mut places, mut after) = (Places::default(), 0);
    loop {
        let block = live.draw_results(event, after, PLACES).await?;
        let Some(last) = block.last() else { return Ok(places) };
        after = last.place;
        let ids: Vec<Vec<u8>> = block.iter().map(|row| row.entry_id.clone()).collect();
        let entries = live.entries(event, &ids).await?;
        for place in &block {
            if !place.disqualified && place.entry_rank.is_some() {
                places.standing += 1;
                places.paid = places.paid.saturating_add(place.reward_amount);
            }
            let entry = entries.iter().find(|row| row.entry_id == place.entry_id);
            let what = format!("the entry at place {}", place.place);
            let difference = match entry {
                None => {
                    let there = format!("there, {}", hex(&place.entry_id));
                    Difference::of_event(event, &what, "missing".to_owned(), there, Witness::Draw)
                }
                Some(row) => {
                    let (found, expected) = (outcome(row), drawn(place));
                    if found == expected {
                        continue;
                    }
                    Difference::of_entry(row, &what, found, expected, Witness::Draw)
                }
            };
            if differences.len() < TOLD {
                differences.push(difference);
            }
        }
    }
}

fn outcome(row: &EntryRow) -> String {
    text(EntryStatus::from_code(row.status), row.entry_rank, row.reward_amount)
}

/// What the entry of a place must say.
fn drawn(place: &DrawResultRow) -> String {
    if place.disqualified {
        text(Some(EntryStatus::Rejected), None, 0)
    } else if place.entry_rank.is_some() {
        text(Some(EntryStatus::Win), place.entry_rank, place.reward_amount)
    } else {
        text(Some(EntryStatus::Lose), place.alternate, 0)
    }
}

fn text(status: Option<EntryStatus>, rank: Option<i64>, amount: i64) -> String {
    let status = status.map_or_else(|| "?".to_owned(), |status| format!("{status:?}").to_uppercase());
    let rank = rank.map_or_else(|| "none".to_owned(), |rank| rank.to_string());
    format!("{status}, rank {rank}, amount {amount}")
}
