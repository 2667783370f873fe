//! The support desk's and the auditor's lists.

use std::sync::Arc;

use chrono::DateTime;
use serde::Serialize;
use shared_domain::{MemberId, Millis};
use shared_runtime::http::{Page, Params, Problem, Request, Response};
use shared_runtime::store::desk::{AuditFilter, Place};
use utoipa::ToSchema;

use crate::routes::{Answer, READ};
use crate::{Admin, cursor, view};

/// A page of a member's entries, the newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = MemberEntries)]
pub(crate) struct MemberEntriesJson {
    entries: Vec<view::MemberEntryJson>,
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A page of the audit log, the newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditLines)]
pub(crate) struct AuditLinesJson {
    audit: Vec<view::AuditJson>,
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Why did this member lose? Every decided entry, with its place and the review number that judged it.
pub(crate) async fn member_entries(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    admin.staff(&request, READ).await?;
    let member = member_of(&params)?;
    request.only_query(&["limit", "cursor"])?;
    let page = Page::of(&request)?;
    let before = cursor::parse(page.cursor.as_deref(), |[event, lane, seq]| {
        Some((event, Place { lane: i32::try_from(lane).ok()?, seq }))
    })?;
    let limit = i64::from(page.limit);
    let rows =
        admin.ask(move |store| async move { store.entries_of_member(member, before, limit).await }).await?;
    let full = rows.len() == page.limit as usize;
    let next = rows
        .last()
        .filter(|_| full)
        .map(|row| cursor::of([row.entry.event_id, i64::from(row.entry.lane), row.entry.seq]));
    let entries = rows.iter().map(view::member_entry).collect();
    Ok(Response::ok(&MemberEntriesJson { entries, next_cursor: next }))
}

/// The member in the path. One id has one spelling. Errors: 404.
pub(crate) fn member_of(params: &Params) -> Result<MemberId, Problem> {
    let text = params.get("member_id");
    let member = text.parse::<MemberId>().ok().filter(|id| id.to_string() == text);
    member.ok_or_else(|| Problem::missing("MEMBER_NOT_FOUND", "this is no member id"))
}

/// Filters: `event_id`, `actor`, `action`, `from`, `until`. Newest first.
pub(crate) async fn audit(admin: Arc<Admin>, request: Request, _: Params) -> Answer {
    admin.staff(&request, READ).await?;
    request.only_query(&["limit", "cursor", "event_id", "actor", "action", "from", "until"])?;
    let page = Page::of(&request)?;
    let before = cursor::parse(page.cursor.as_deref(), |[id]| Some(id))?.unwrap_or(i64::MAX);
    let filter = AuditFilter {
        event: match request.query_param("event_id") {
            None => None,
            Some(text) => {
                Some(text.parse().map_err(|_| Problem::invalid("query:event_id", "must be an integer"))?)
            }
        },
        actor: request.query_param("actor"),
        action: request.query_param("action"),
        from: moment(&request, "from")?,
        until: moment(&request, "until")?,
    };
    let limit = i64::from(page.limit);
    let rows = admin.ask(move |store| async move { store.audit_lines(&filter, before, limit).await }).await?;
    let full = rows.len() == page.limit as usize;
    let next = rows.last().filter(|_| full).map(|(id, _)| cursor::of([*id]));
    let audit = rows.iter().map(|(_, line)| view::audit(line)).collect();
    Ok(Response::ok(&AuditLinesJson { audit, next_cursor: next }))
}

fn moment(request: &Request, name: &str) -> Result<Option<Millis>, Problem> {
    let Some(text) = request.query_param(name) else { return Ok(None) };
    let at = DateTime::parse_from_rfc3339(&text);
    let wrong = |_| Problem::invalid(format!("query:{name}"), "must be a time (RFC 3339)");
    at.map(|at| Some(at.timestamp_millis())).map_err(wrong)
}
