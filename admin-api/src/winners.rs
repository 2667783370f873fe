//! Winners: pages of JSON, or the whole list as CSV, streamed in blocks so that memory stays flat. With scope
//! `contacts:read` their contacts are opened, block by block; one that does not open is said to be so in its row.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;
use shared_domain::{Contact, EntryId, EventId, MemberId};
use shared_runtime::auth::Staff;
use shared_runtime::contact::ContactSecretKey;
use shared_runtime::http::{Page, Params, Problem, Request, Response, StreamError};
use shared_runtime::store::Store;
use shared_runtime::store::desk::{Place, WinnerRow};
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::{AuditLine, EventRow};
use tokio::task::JoinHandle;
use utoipa::ToSchema;
use uuid::Uuid;
use warp::http::{HeaderValue, header};

use crate::routes::{Answer, CONTACTS, READ};
use crate::{Admin, cursor, problem, view};

/// Rows a query. Two blocks are in memory: one that is sent, one that is read meanwhile.
const BLOCK: i64 = 2_000;
pub(crate) const COLUMNS: [&str; 9] = [
    "entry_id",
    "member_id",
    "rank",
    "option",
    "reward_amount",
    "decided_at",
    "phone_number",
    "email",
    "address",
];

/// In the place of a contact that does not open: it was sealed for another entry, or changed.
const UNREADABLE: &str = "UNREADABLE";

/// A page of winners, by lane and place.
#[derive(Serialize, ToSchema)]
#[schema(as = Winners)]
pub(crate) struct WinnersJson {
    winners: Vec<WinnerJson>,
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A winner.
#[derive(Serialize, ToSchema)]
#[schema(as = Winner)]
struct WinnerJson {
    #[schema(required)]
    entry_id: Option<Uuid>,
    #[schema(value_type = i64)]
    member_id: MemberId,
    /// Among the winners, 1..N; null in events of several lanes.
    #[schema(required)]
    rank: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    option: Option<String>,
    reward_amount: i64,
    #[schema(format = DateTime)]
    decided_at: String,
    /// Only for scope `contacts:read`, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    contact: Option<Contact>,
    /// `UNREADABLE`: there is one that does not open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    contact_error: Option<&'static str>,
}

pub(crate) async fn get(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, READ).await?;
    let id = params.id("event_id").ok_or_else(Problem::event_not_found)?;
    let event = admin.ask(move |store| async move { store.event(id).await }).await?;
    let event = event.ok_or_else(Problem::event_not_found)?;
    let request_id = request.request_id().to_owned();
    if wants_csv(request.header("accept").unwrap_or_default()) {
        request.only_query(&[])?;
        let key = contact_key(&admin, &staff, id).await?;
        noted(&admin, request_id, &staff, &event, "csv").await?;
        return Ok(csv(&admin, &event, key));
    }
    request.only_query(&["limit", "cursor"])?;
    let page = Page::of(&request)?;
    let after = cursor::parse(page.cursor.as_deref(), |[lane, seq, found]| {
        Some(Walk { place: Place { lane: i32::try_from(lane).ok()?, seq }, found })
    })?;
    let key = contact_key(&admin, &staff, id).await?;
    noted(&admin, request_id, &staff, &event, "json").await?;
    let limit = page.limit as usize;
    let (rows, next) =
        admin.ask(move |store| async move { page_of(&store, id, after, limit, key).await }).await?;
    let options = options(&event);
    let winners = rows.iter().map(|row| winner(row, &options)).collect();
    Ok(Response::ok(&WinnersJson { winners, next_cursor: next }))
}

/// What opens the event's contacts, for those who may read them; none where it has no key, or none any more.
async fn contact_key(
    admin: &Admin,
    staff: &Staff,
    event: EventId,
) -> Result<Option<Arc<ContactSecretKey>>, Problem> {
    if !staff.has_scope(CONTACTS) {
        return Ok(None);
    }
    let parts = Arc::clone(&admin.parts);
    match tokio::spawn(async move { parts.keys.secret_key(event, &parts.wrapping).await }).await {
        Ok(Ok(key)) => Ok(key.map(Arc::new)),
        Ok(Err(error)) => Err(problem::of_key_store(&error)),
        Err(died) => {
            tracing::error!(%died, "a query died");
            Err(Problem::internal())
        }
    }
}

/// A winner, with the contact where there is one to be shown.
struct Winner {
    row: WinnerRow,
    contact: Option<Result<Contact, Unreadable>>,
}

#[derive(Debug, Clone, Copy)]
struct Unreadable;

/// Opens the contacts of a block, beside the threads that requests wait for: X25519 takes its time.
async fn opened(
    store: &Store,
    event: EventId,
    rows: Vec<WinnerRow>,
    key: Option<Arc<ContactSecretKey>>,
) -> Result<Vec<Winner>, StoreError> {
    let Some(key) = key else {
        return Ok(rows.into_iter().map(|row| Winner { row, contact: None }).collect());
    };
    let ids: Vec<Vec<u8>> = rows.iter().map(|row| row.entry_id.clone()).collect();
    let sealed: HashMap<Vec<u8>, Vec<u8>> = store.contacts_of(event, &ids).await?.into_iter().collect();
    let open = move |row: &WinnerRow| {
        let sealed = sealed.get(&row.entry_id)?;
        let entry = EntryId::from_slice(&row.entry_id)?;
        Some(key.open(event, entry, sealed).map_err(|error| {
            tracing::error!(event_id = event, %entry, %error, "a winner's contact");
            metrics::counter!("event_contacts_unreadable_total").increment(1);
            Unreadable
        }))
    };
    let all = move || {
        let open = |row: WinnerRow| {
            let contact = open(&row);
            Winner { row, contact }
        };
        rows.into_iter().map(open).collect()
    };
    let opening = tokio::task::spawn_blocking(all).await;
    opening.map_err(|died| StoreError::fatal(format!("event {event}: contacts were not opened: {died}")))
}

/// Where a walk through the winners stands.
#[derive(Debug, Clone, Copy)]
struct Walk {
    place: Place,
    /// Winners met in this lane: behind the last one there are only others, and nobody looks through those.
    found: i64,
}

impl Walk {
    fn at(lane: i32) -> Self {
        Self { place: Place { lane, seq: 0 }, found: 0 }
    }

    /// The next winners, at most `limit`, and where to go on; `None` behind the last lane.
    async fn step(
        self,
        store: &Store,
        event: EventId,
        lanes: &[(i32, i64)],
        limit: i64,
    ) -> Result<(Vec<WinnerRow>, Option<Self>), StoreError> {
        let lane = self.place.lane;
        let behind = || lanes.iter().map(|(lane, _)| *lane).find(|l| *l > lane).map(Self::at);
        let wins = lanes.iter().find(|(l, _)| *l == lane).map_or(0, |(_, wins)| *wins);
        let rows = store.winners_behind(event, self.place, limit).await?;
        let found = self.found + rows.len() as i64;
        // Counted for the lane when the walk began; without a count (a draw's results) the lane is walked to its end.
        let all = wins > 0 && found >= wins;
        let next = match rows.last() {
            Some(last) if rows.len() as i64 == limit && !all => {
                Some(Self { place: Place { lane, seq: last.seq }, found })
            }
            _ => behind(),
        };
        Ok((rows, next))
    }
}

async fn page_of(
    store: &Store,
    event: EventId,
    after: Option<Walk>,
    limit: usize,
    key: Option<Arc<ContactSecretKey>>,
) -> Result<(Vec<Winner>, Option<String>), StoreError> {
    let lanes = store.winning_lanes(event).await?;
    let mut at = after.or_else(|| lanes.first().map(|(lane, _)| Walk::at(*lane)));
    let mut rows = Vec::with_capacity(limit);
    while let (Some(walk), true) = (at, rows.len() < limit) {
        let (more, next) = walk.step(store, event, &lanes, (limit - rows.len()) as i64).await?;
        rows.extend(more);
        at = next;
    }
    let winners = opened(store, event, rows, key).await?;
    Ok((winners, at.map(|w| cursor::of([i64::from(w.place.lane), w.place.seq, w.found]))))
}

/// Before the first byte: who took the list.
async fn noted(
    admin: &Admin,
    request_id: String,
    staff: &Staff,
    event: &EventRow,
    format: &str,
) -> Result<(), Problem> {
    let line = AuditLine {
        at: admin.parts.clock.now_ms(),
        actor: staff.name.clone(),
        action: "WINNERS_EXPORTED".to_owned(),
        event_id: Some(event.event_id),
        request_id,
        outcome: "ACCEPTED".to_owned(),
        detail: json!({"format": format, "contacts": staff.has_scope(CONTACTS)}).to_string(),
    };
    admin.ask(move |store| async move { store.audit(&line).await }).await
}

fn options(event: &EventRow) -> Vec<String> {
    let named = |d: shared_domain::EventDefinition| {
        d.options.iter().map(|(name, _)| name.as_str().to_owned()).collect()
    };
    view::definition(event).map(named).unwrap_or_default()
}

fn option<'o>(row: &WinnerRow, options: &'o [String]) -> Option<&'o str> {
    options.get(usize::try_from(row.option_index?).ok()?).map(String::as_str)
}

fn winner(Winner { row, contact }: &Winner, options: &[String]) -> WinnerJson {
    WinnerJson {
        entry_id: Uuid::from_slice(&row.entry_id).ok(),
        member_id: row.member_id,
        rank: row.entry_rank,
        option: option(row, options).map(ToOwned::to_owned),
        reward_amount: row.reward_amount,
        decided_at: view::time(row.decided_at),
        contact: contact.as_ref().and_then(|contact| contact.as_ref().ok()).cloned(),
        contact_error: matches!(contact, Some(Err(Unreadable))).then_some(UNREADABLE),
    }
}

fn csv(admin: &Admin, event: &EventRow, key: Option<Arc<ContactSecretKey>>) -> Response {
    let (store, id, options) = (admin.parts.store.clone(), event.event_id, options(event));
    let body = async_stream::try_stream! {
        yield lines([COLUMNS.map(ToOwned::to_owned)])?;
        // A task of its own: a client that hangs up must not cancel a query.
        let counting = store.clone();
        let lanes = tokio::spawn(async move { counting.winning_lanes(id).await }).await??;
        let lanes: Arc<[(i32, i64)]> = lanes.into();
        let mut reading = lanes.first().map(|(lane, _)| read(&store, id, &lanes, Walk::at(*lane), key.clone()));
        while let Some(block) = reading {
            let (rows, next) = block.await??;
            reading = next.map(|walk| read(&store, id, &lanes, walk, key.clone()));
            if !rows.is_empty() {
                yield lines(rows.iter().map(|row| cells(row, &options)))?;
            }
        }
    };
    let body = futures::StreamExt::map(body, move |block: Result<Bytes, StreamError>| {
        block.inspect_err(|error| tracing::error!(event_id = id, %error, "an export broke off"))
    });
    let name = format!("attachment; filename=\"winners-{}.csv\"", event.event_id);
    let response =
        Response::stream(HeaderValue::from_static("text/csv; charset=utf-8; header=present"), body);
    match HeaderValue::from_str(&name) {
        Ok(name) => response.with_header(header::CONTENT_DISPOSITION, name),
        Err(_) => response,
    }
}

type Block = Result<(Vec<Winner>, Option<Walk>), StoreError>;

fn read(
    store: &Store,
    event: EventId,
    lanes: &Arc<[(i32, i64)]>,
    walk: Walk,
    key: Option<Arc<ContactSecretKey>>,
) -> JoinHandle<Block> {
    let (store, lanes) = (store.clone(), Arc::clone(lanes));
    tokio::spawn(async move {
        let (rows, next) = walk.step(&store, event, &lanes, BLOCK).await?;
        Ok((opened(&store, event, rows, key).await?, next))
    })
}

fn cells(Winner { row, contact }: &Winner, options: &[String]) -> [String; COLUMNS.len()] {
    let [phone_number, email, address] = match contact {
        None => [const { String::new() }; 3],
        Some(Err(Unreadable)) => [UNREADABLE; 3].map(ToOwned::to_owned),
        Some(Ok(contact)) => [&contact.phone_number, &contact.email, &contact.address]
            .map(|part| escaped(part.as_deref().unwrap_or_default())),
    };
    [
        Uuid::from_slice(&row.entry_id).map(|id| id.to_string()).unwrap_or_default(),
        row.member_id.to_string(),
        row.entry_rank.map(|rank| rank.to_string()).unwrap_or_default(),
        escaped(option(row, options).unwrap_or_default()),
        row.reward_amount.to_string(),
        view::time(row.decided_at),
        phone_number,
        email,
        address,
    ]
}

/// Text that a spreadsheet would take for a formula begins with an apostrophe (OWASP, "CSV Injection"). Numbers are
/// left alone: -1 is no formula.
fn escaped(text: &str) -> String {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') => format!("'{text}"),
        _ => text.to_owned(),
    }
}

/// Lines as RFC 4180 wants them.
fn lines(rows: impl IntoIterator<Item = [String; COLUMNS.len()]>) -> Result<Bytes, StreamError> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        writer.write_record(&row)?;
    }
    Ok(writer.into_inner()?.into())
}

/// Whether `Accept` (RFC 9110, 12.5.1) prefers CSV to JSON.
fn wants_csv(accept: &str) -> bool {
    let weight = |wanted: &str| {
        let of = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next()?.eq_ignore_ascii_case(wanted);
            let q = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
            named.then(|| q.map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0)))
        };
        accept.split(',').find_map(of)
    };
    weight("text/csv").is_some_and(|csv| csv > weight("application/json").unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_text() {
        for (text, safe) in [
            ("=1+1", "'=1+1"),
            ("+82", "'+82"),
            ("-x", "'-x"),
            ("@SUM", "'@SUM"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("A=1", "A=1"),
            ("", ""),
        ] {
            assert_eq!(escaped(text), safe);
        }
    }

    #[test]
    fn csv_is_asked_for_by_accept() {
        for csv in ["text/csv", "Text/CSV; q=0.5", "application/json;q=0.1, text/csv", "text/csv, */*"] {
            assert!(wants_csv(csv), "{csv}");
        }
        for json in
            ["", "*/*", "application/json", "text/csv;q=0", "text/csv;q=0.5, application/json", "text/csvx"]
        {
            assert!(!wants_csv(json), "{json}");
        }
    }
}
