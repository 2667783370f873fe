//! Missions and members' progress.

use std::collections::BTreeMap;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use shared_domain::{EventId, MemberId, Mission, MissionWeights};

use super::Conn;
use crate::store::error_class::StoreError;
use crate::store::rows::{MemberMissionRow, MissionRow, MissionTotal};
use crate::store::schema::{member_mission as p, mission as m};

/// Ids a list.
const IDS: usize = 900;
/// Rows of one page of all progress.
const PAGE: i64 = 20_000;

/// The missions of an event that is being scheduled.
pub async fn insert(conn: &mut Conn, event: EventId, missions: &[Mission]) -> Result<(), StoreError> {
    let rows: Vec<MissionRow> =
        missions.iter().zip(0i16..).map(|(mission, index)| MissionRow::new(event, index, mission)).collect();
    if !rows.is_empty() {
        insert_rows!(conn, m::table, rows)?;
    }
    Ok(())
}

/// What missions add to the chances of an event's entries.
pub async fn weights(conn: &mut Conn, event: EventId) -> Result<MissionWeights, StoreError> {
    let rows: Vec<(i16, i16)> = m::table
        .filter(m::event_id.eq(event))
        .filter(m::weight.is_not_null())
        .select((m::mission_index, m::weight.assume_not_null()))
        .load(conn)
        .await?;
    let number = |n: i16| u16::try_from(n).map_err(|_| StoreError::fatal("mission: bad weight"));
    let weights = rows.into_iter().map(|(index, weight)| Ok((number(index)?, number(weight)?)));
    Ok(MissionWeights::new(weights.collect::<Result<_, StoreError>>()?))
}

/// Whether an event has missions.
pub async fn has_missions(conn: &mut Conn, event: EventId) -> Result<bool, StoreError> {
    let missions: i64 = m::table.filter(m::event_id.eq(event)).count().get_result(conn).await?;
    Ok(missions > 0)
}

/// How far these members are in these events, in one statement: text, since thousands of parameters cost more to prepare than
/// the rows to find. Every value is a number.
pub async fn progress(
    conn: &mut Conn,
    members: &[MemberId],
    events: &[EventId],
) -> Result<Vec<MemberMissionRow>, StoreError> {
    if members.is_empty() || events.is_empty() {
        return Ok(Vec::new());
    }
    let mut asked = String::with_capacity(64 + members.len() * 12);
    asked.push('(');
    push_any(&mut asked, "member_id", members);
    asked.push_str(") AND (");
    push_any(&mut asked, "event_id", events);
    asked.push(')');
    Ok(p::table.filter(sql::<Bool>(&asked)).select(MemberMissionRow::as_select()).load(conn).await?)
}

/// `column IN (...) OR column IN (...)`: a longer list MariaDB would turn into a joined table.
fn push_any(sql: &mut String, column: &str, ids: &[i64]) {
    for (n, ids) in ids.chunks(IDS).enumerate() {
        let texts: Vec<String> = ids.iter().map(i64::to_string).collect();
        sql.push_str(if n == 0 { "" } else { " OR " });
        sql.push_str(column);
        sql.push_str(" IN (");
        sql.push_str(&texts.join(","));
        sql.push(')');
    }
}

/// Every member's progress, one line a mission, in one pass in the order of the members: for comparing two databases.
pub async fn totals(conn: &mut Conn) -> Result<Vec<MissionTotal>, StoreError> {
    let mut totals: BTreeMap<(EventId, i16), MissionTotal> = BTreeMap::new();
    let (mut after, mut limit) = (None, PAGE);
    loop {
        let mut page =
            p::table.order((p::member_id, p::event_id, p::mission_index)).limit(limit).into_boxed();
        if let Some(after) = after {
            page = page.filter(p::member_id.gt(after));
        }
        let mut rows: Vec<MemberMissionRow> = page.select(MemberMissionRow::as_select()).load(conn).await?;
        let whole = (rows.len() as i64) < limit;
        if !whole {
            // The last member may have more than this page holds.
            let last = rows.last().map(|row| row.member_id);
            rows.retain(|row| Some(row.member_id) != last);
            if rows.is_empty() {
                limit *= 2;
                continue;
            }
        }
        for row in &rows {
            let total = totals.entry((row.event_id, row.mission_index)).or_default();
            total.add(row);
        }
        after = rows.last().map(|row| row.member_id).or(after);
        if whole {
            return Ok(totals.into_values().collect());
        }
    }
}
