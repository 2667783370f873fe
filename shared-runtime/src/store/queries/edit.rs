//! PATCH of an event, under its lock row.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Map, Value};
use shared_domain::{EventDraft, Lifecycle, patch_draft, patch_text, patches_text_only};

use super::{Conn, scheduling};
use crate::store::commands::CommandError;
use crate::store::error_class::StoreError;
use crate::store::rows::EventRow;
use crate::store::schema::{event_reward, events};

/// Applies the patch. `if_match`: versions of which one must be the row's.
pub async fn run(
    conn: &mut Conn,
    row: &EventRow,
    patch: &Map<String, Value>,
    if_match: Option<&[i64]>,
    now: i64,
) -> Result<(), CommandError> {
    if if_match.is_some_and(|versions| !versions.contains(&row.version)) {
        return Err(CommandError::Changed);
    }
    if row.lifecycle == Lifecycle::Draft.code() {
        return draft(conn, row, patch, now).await;
    }
    if !patches_text_only(patch) {
        return Err(CommandError::Conflict(
            "NOT_EDITABLE",
            "once scheduled only title and content may change",
        ));
    }
    let (title, content) = patch_text(&row.title, &row.content, patch).map_err(CommandError::Invalid)?;
    diesel::update(events::table.filter(events::event_id.eq(row.event_id)))
        .set((
            events::title.eq(title),
            events::content.eq(content),
            events::version.eq(events::version + 1),
            events::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

async fn draft(
    conn: &mut Conn,
    row: &EventRow,
    patch: &Map<String, Value>,
    now: i64,
) -> Result<(), CommandError> {
    let text = row.draft.as_deref().unwrap_or_default();
    let draft: EventDraft = serde_json::from_str(text)
        .map_err(|error| StoreError::fatal(format!("event {}: bad draft: {error}", row.event_id)))?;
    let (draft, definition) = patch_draft(&draft, patch).map_err(CommandError::Invalid)?;
    let text = serde_json::to_string(&draft)
        .map_err(|error| StoreError::fatal(format!("event {}: {error}", row.event_id)))?;
    // Limits that were set since by their own route stand, unless this names them.
    let limits = match patch.contains_key("limits") {
        true => {
            let limits = draft.limits.unwrap_or_default();
            (limits.per_second, limits.raffle_per_second, limits.per_member_per_second)
        }
        false => (row.limit_per_second, row.raffle_limit_per_second, row.member_limit_per_second),
    };
    diesel::update(events::table.filter(events::event_id.eq(row.event_id)))
        .set((
            events::title.eq(&definition.title),
            events::content.eq(&definition.content),
            events::event_type.eq(definition.event_type as i16),
            events::starts_at.eq(definition.period.starts_at()),
            events::ends_at.eq(definition.period.ends_at()),
            events::draft.eq(Some(text)),
            events::limit_per_second.eq(limits.0),
            events::raffle_limit_per_second.eq(limits.1),
            events::member_limit_per_second.eq(limits.2),
            events::version.eq(events::version + 1),
            events::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    let reward = event_reward::table.filter(event_reward::event_id.eq(row.event_id));
    diesel::delete(reward).execute(conn).await?;
    Ok(scheduling::insert_reward(conn, row.event_id, definition.reward).await?)
}
