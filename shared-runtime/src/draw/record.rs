//! The public record of a draw (API "Draw record"), from its rows.

use chrono::{DateTime, Utc};
use shared_domain::draw::{BeaconRecord, DisqualifiedRecord, DrawRecord};
use shared_domain::{EntryId, HexBytes};
use uuid::Uuid;

use crate::store::draw::DrawParts;
use crate::store::error_class::StoreError;

/// What everybody may see now. Errors: rows that are not ours.
pub fn public_record(parts: &DrawParts) -> Result<DrawRecord, StoreError> {
    let row = &parts.row;
    let bad = |what: &str| StoreError::fatal(format!("draw of event {}: bad {what}", row.event_id));
    let entry = |bytes: &[u8]| EntryId::from_slice(bytes).ok_or_else(|| bad("entry id"));
    let hex = |bytes: &Option<Vec<u8>>, what: &str| bytes.as_deref().map(|b| row.hex(b, what)).transpose();
    let places = parts.results.iter().filter(|result| result.alternate.is_none()).count();
    let mut winners = vec![None; places];
    for result in parts.results.iter().filter(|result| !result.disqualified) {
        if let Some(rank) = result.entry_rank {
            let place = usize::try_from(rank - 1).ok().and_then(|index| winners.get_mut(index));
            *place.ok_or_else(|| bad("rank"))? = Some(result.id()?);
        }
    }
    let waiting = parts.results.iter().filter(|result| result.is_waiting());
    let disqualified = parts.disqualified.iter().map(|line| {
        Ok(DisqualifiedRecord {
            entry_id: entry(&line.entry_id)?,
            replaced_by: line.replaced_by.as_deref().map(entry).transpose()?,
            reason: line.reason.clone(),
            at: time(line.at),
        })
    });
    Ok(DrawRecord {
        event_id: row.event_id,
        draw_id: Uuid::from_slice(&row.draw_id).map_err(|_| bad("id"))?,
        phase: row.phase()?,
        rules_version: u32::try_from(row.rules_version).map_err(|_| bad("rules version"))?,
        method: row.method(),
        commitment: row.hex(&row.commitment, "commitment")?,
        seed: hex(&row.seed, "seed")?,
        beacon: match row.beacon()? {
            None => None,
            Some(round) => Some(BeaconRecord {
                chain_hash: round.chain_hash,
                round: round.round,
                randomness: hex(&row.beacon_randomness, "randomness")?,
                signature: row.beacon_signature.clone().map(HexBytes),
            }),
        },
        trust: row.trust(),
        entrants: row.entrants.map(u64::try_from).transpose().map_err(|_| bad("number of entrants"))?,
        list_digest: hex(&row.list_digest, "list digest")?,
        max_winners: row.max_winners,
        max_alternates: row.alternates(),
        winners,
        alternates: waiting.map(|result| result.id()).collect::<Result<_, _>>()?,
        disqualified: disqualified.collect::<Result<_, StoreError>>()?,
        frozen_at: row.frozen_at.map(time),
        published_at: row.published_at.map(time),
    })
}

fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}
