//! `GET /v1/members/me/entries`: a member's own list. Pages that are asked for at the same time are read by one query, and
//! shown for a second without another.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Serialize;
use shared_domain::Millis;
use shared_runtime::http::{Page, Params, Problem, Request, Response};
use shared_runtime::log::producer::Producer;
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::member_entries::{ListPage, ListPlace, ListedEntry};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::Edge;
use crate::entry_view::{EntryJson, of_past, of_row};
use crate::gather::Gathered;
use crate::snapshot::Snapshot;

/// So long a page is shown without asking the database: an entry that is decided shows up after at most this.
const FRESH: Duration = Duration::from_secs(1);
/// Pages in one query.
const BLOCK: usize = 100;
/// Pages remembered, in bytes: an entry has some 250.
const CAPACITY: u64 = 32 * 1024 * 1024;

/// A member's entries.
#[derive(Serialize, ToSchema)]
#[schema(as = Entries)]
pub(crate) struct EntriesJson {
    entries: Vec<EntryJson>,
    /// For the next page; null: there is none.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A page as JSON.
#[derive(Debug, Clone)]
struct Known {
    read_at: Instant,
    json: Bytes,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<ListPage, Known> for ByBytes {
    fn weight(&self, _: &ListPage, known: &Known) -> u64 {
        known.json.len() as u64 + 150
    }
}

/// The pages that somebody asked for lately, and those that are awaited.
#[derive(Debug)]
pub(crate) struct MyEntries {
    known: Cache<ListPage, Known, ByBytes>,
    asked: Gathered<ListPage, Bytes>,
}

impl Default for MyEntries {
    fn default() -> Self {
        Self { known: Cache::with_weighter(50_000, CAPACITY, ByBytes), asked: Gathered::new("entries") }
    }
}

/// The handler.
pub(crate) async fn list<P: Producer>(
    edge: Arc<Edge<P>>,
    request: Request,
    _: Params,
) -> Result<Response, Problem> {
    let member = edge.verifier.verify_member(request.bearer()).await?.member_id;
    request.only_query(&["limit", "cursor"])?;
    let page = Page::of(&request)?;
    let after = match &page.cursor {
        None => ListPlace::START,
        Some(text) => parse(text).ok_or_else(|| Problem::invalid("query:cursor", "is not one of ours"))?,
    };
    // It says which of the entries that lost may still move up.
    edge.snapshots.get()?;
    let page = ListPage { member, after, limit: page.limit.into() };
    let json = match edge.my_entries.known.get(&page).filter(|known| known.read_at.elapsed() < FRESH) {
        Some(known) => known.json,
        None => edge.my_entries.asked.ask(page).await?,
    };
    Ok(Response::bytes(StatusCode::OK, HeaderValue::from_static("application/json"), json))
}

/// Reads the pages that are awaited until `stop`.
pub(crate) async fn read_until<P: Producer>(
    edge: Arc<Edge<P>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut reader = edge.my_entries.asked.reader(BLOCK);
    while let Some(batch) = reader.next(&stop).await {
        let read_at = Instant::now();
        match read(&edge, batch.keys()).await {
            Ok(pages) => {
                for (page, json) in &pages {
                    edge.my_entries.known.insert(*page, Known { read_at, json: json.clone() });
                }
                batch.answer(|page| pages.get(page).cloned().unwrap_or_default());
            }
            Err(error) => {
                tracing::warn!(%error, "members' entries could not be read");
                batch.fail();
            }
        }
    }
    Ok(())
}

type Pages = std::collections::HashMap<ListPage, Bytes>;

async fn read<P: Producer>(edge: &Edge<P>, pages: Vec<ListPage>) -> Result<Pages, StoreError> {
    // One more than is shown tells whether there is a next page.
    let asked: Vec<ListPage> = pages.iter().map(|page| ListPage { limit: page.limit + 1, ..*page }).collect();
    let lists = edge.store.entry_pages(&asked).await?;
    let (snapshot, now) = (edge.snapshots.latest(), edge.clock.now_ms());
    let json = |(page, list): (ListPage, Vec<ListedEntry>)| {
        let json = serde_json::to_vec(&shown(list, page.limit, snapshot.as_deref(), now)?);
        Ok((page, json.map_err(|error| StoreError::fatal(error.to_string()))?.into()))
    };
    pages.into_iter().zip(lists).map(json).collect()
}

fn shown(
    mut list: Vec<ListedEntry>,
    limit: i64,
    snapshot: Option<&Snapshot>,
    now: Millis,
) -> Result<EntriesJson, StoreError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = list.len() > limit;
    list.truncate(limit);
    let next_cursor = list.last().filter(|_| more).map(|last| cursor(ListPlace::of(&last.row)));
    let entry = |ListedEntry { row, option }: &ListedEntry| {
        let event = snapshot.and_then(|snapshot| snapshot.event(row.event_id));
        let id = row.id()?;
        Ok(match event {
            Some(event) => of_row(event, id, row, now),
            None => of_past(id, row, option.as_deref()),
        })
    };
    Ok(EntriesJson { entries: list.iter().map(entry).collect::<Result<_, StoreError>>()?, next_cursor })
}

fn cursor(at: ListPlace) -> String {
    format!("{}.{}.{}.{}", at.accepted_at, at.event, at.lane, at.seq)
}

fn parse(text: &str) -> Option<ListPlace> {
    let mut parts = text.split('.');
    let place = ListPlace {
        accepted_at: parts.next()?.parse().ok()?,
        event: parts.next()?.parse().ok()?,
        lane: parts.next()?.parse().ok()?,
        seq: parts.next()?.parse().ok()?,
    };
    // Written as we write it: one place has one cursor.
    (parts.next().is_none() && cursor(place) == text).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let place = ListPlace { accepted_at: 1_700_000_000_123, event: 42, lane: 3, seq: 7 };
        assert_eq!(parse(&cursor(place)), Some(place));
        for wrong in
            ["", "1", "1.2.3", "1.2.3.4.5", "1.2.3.x", "+1.2.3.4", "01.2.3.4", "1.2.99999999999.4", "1.2..4"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
