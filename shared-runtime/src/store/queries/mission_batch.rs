//! A batch of activities in one transaction: fence, read, count, write progress, and what completed missions earn
//! (DESIGN sections 5 and 9).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use diesel::prelude::*;
use diesel::result::Error;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use shared_domain::{
    Count, Counted, EventDefinition, EventId, LatestValue, MarkKey, Measure, MemberId, Progress, ProgressKey,
    StampError, Undecidable, counts, sort_counts, tally,
};
use shared_proto::v1::{self, log_record::Kind};

use super::lane::LaneConn;
use super::{Conn, KEEP_LATEST_PROGRESS, KEEP_NEW_PROGRESS, mission};
use crate::store::error_class::StoreError;
use crate::store::lane_tx::LaneTx;
use crate::store::rows::{MissionMarkRow, MissionOutboxRow};
use crate::store::schema::{mission_mark as k, mission_outbox as o};
use crate::worker::apply::{Applied, ApplyError, definitions};
use crate::worker::batch::{LaneBatch, LaneMemory};

/// Ids a statement: fewer than MariaDB turns into a joined table.
const IDS: usize = 900;
/// Rows a statement: of progress as many as a batch may have, for they are text; of the others less, for their parameters.
const PROGRESS_ROWS: usize = 5_000;
const ROWS: usize = 2_000;
const INSERT: &str = "INSERT INTO member_mission (member_id, event_id, mission_index, current_value, latest_at, \
     is_completed, completed_at) VALUES ";

/// Counts a batch of activities. `replay`: what counts for an event that is not decided again is passed over.
pub async fn apply(
    conn: &mut Conn,
    batch: &LaneBatch,
    memory: &LaneMemory,
    now: i64,
    replay: bool,
) -> Result<Applied, ApplyError> {
    if !LaneConn(conn).advance(&batch.cursor_move(now)).await? {
        return Err(ApplyError::Fenced);
    }
    let activities: Vec<(i64, &v1::Activity)> = batch
        .records
        .iter()
        .filter_map(|record| match &record.entry.kind {
            Kind::Activity(activity) => Some((record.entry.offset, activity)),
            _ => None,
        })
        .collect();
    let stamps = activities.iter().flat_map(|(_, activity)| &activity.counts_for);
    let events: BTreeSet<EventId> = stamps.map(|stamp| stamp.event_id).collect();
    let definitions = definitions(&mut LaneConn(conn), memory, events.into_iter()).await?;
    let counts = count_all(&activities, &definitions, replay)?;
    let (all, counts) = (counts.len(), sort_counts(counts));
    put_latest(conn, &counts.latest).await?;
    let weighed = &counts.weighed;
    let counted = tally(weighed, &known_progress(conn, weighed).await?, &known_marks(conn, weighed).await?);
    write(conn, &counted).await?;
    earn(conn, &counted, &definitions, now).await?;
    Ok(Applied { counted: all as u64, completed: counted.completions.len() as u64, ..Applied::default() })
}

type Definitions = HashMap<EventId, Arc<EventDefinition>>;

fn count_all(
    activities: &[(i64, &v1::Activity)],
    definitions: &Definitions,
    replay: bool,
) -> Result<Vec<Count>, ApplyError> {
    let mut all = Vec::with_capacity(activities.len());
    for (offset, activity) in activities {
        let counted = match counts(activity, definitions) {
            Err(StampError::UnknownEvent(_)) if replay => {
                let mut decided = (*activity).clone();
                decided.counts_for.retain(|stamp| definitions.contains_key(&stamp.event_id));
                counts(&decided, definitions)
            }
            counted => counted,
        };
        all.extend(counted.map_err(|error| match error {
            // A restored database: its event lanes have to come so far first.
            StampError::UnknownEvent(_) => StoreError::transient(error.to_string()).into(),
            StampError::NoSuchMission { .. } => ApplyError::from(Undecidable {
                event_id: activity.member_id,
                offset: *offset,
                why: error.to_string(),
            }),
        })?);
    }
    Ok(all)
}

async fn known_progress(
    conn: &mut Conn,
    counts: &[Count],
) -> Result<HashMap<ProgressKey, Progress>, StoreError> {
    let members: BTreeSet<MemberId> = counts.iter().map(|count| count.key.0).collect();
    let events: BTreeSet<EventId> = counts.iter().map(|count| count.key.1).collect();
    let (members, events): (Vec<_>, Vec<_>) = (members.into_iter().collect(), events.into_iter().collect());
    let rows = mission::progress(conn, &members, &events).await?;
    rows.into_iter().map(|row| Ok((row.key()?, row.progress()))).collect()
}

async fn known_marks(conn: &mut Conn, counts: &[Count]) -> Result<HashSet<MarkKey>, StoreError> {
    let asked: BTreeSet<MarkKey> = counts
        .iter()
        .filter_map(|count| match count.measure {
            Measure::Mark(mark) => Some((count.key, mark)),
            Measure::Latest(_) => None,
        })
        .collect();
    let asked: Vec<MarkKey> = asked.into_iter().collect();
    let mut known = HashSet::new();
    for asked in asked.chunks(IDS) {
        let distinct = |of: fn(&MarkKey) -> i64| asked.iter().map(of).collect::<BTreeSet<i64>>();
        let rows: Vec<MissionMarkRow> = k::table
            .filter(k::member_id.eq_any(distinct(|((member, _, _), _)| *member)))
            .filter(k::event_id.eq_any(distinct(|((_, event, _), _)| *event)))
            .filter(k::mark.eq_any(distinct(|(_, mark)| *mark)))
            .select(MissionMarkRow::as_select())
            .load(conn)
            .await?;
        for row in rows {
            known.insert(row.key()?);
        }
    }
    Ok(known)
}

async fn write(conn: &mut Conn, counted: &Counted) -> Result<(), StoreError> {
    put_progress(conn, &counted.progress.iter().collect::<Vec<_>>()).await?;
    let marks: Vec<MissionMarkRow> = counted.marks.iter().map(MissionMarkRow::new).collect();
    insert_in_chunks!(conn, k::table, marks, ROWS)
}

/// Writes progress in the place of what is there, sorted by key.
pub async fn put_progress(conn: &mut Conn, rows: &[(&ProgressKey, &Progress)]) -> Result<(), StoreError> {
    let rows = rows.iter().map(|(key, progress)| (*key, **progress));
    execute(conn, upserts(rows, KEEP_NEW_PROGRESS)).await
}

/// Lets of what is there and what comes the latest value stand.
async fn put_latest(conn: &mut Conn, rows: &BTreeMap<ProgressKey, LatestValue>) -> Result<(), StoreError> {
    let rows = rows.iter().map(|(key, value)| (key, value.onto(Progress::default())));
    execute(conn, upserts(rows, KEEP_LATEST_PROGRESS)).await
}

async fn execute(
    conn: &mut Conn,
    statements: Result<Vec<String>, std::fmt::Error>,
) -> Result<(), StoreError> {
    for sql in statements.map_err(|e| Error::QueryBuilderError(e.into()))? {
        conn.batch_execute(&sql).await?;
    }
    Ok(())
}

/// INSERT text, for the reason given in `mysql/entry_insert.rs`. Every value is a number.
fn upserts<'a>(
    rows: impl ExactSizeIterator<Item = (&'a ProgressKey, Progress)>,
    keep: &str,
) -> Result<Vec<String>, std::fmt::Error> {
    let (mut all, mut left) = (Vec::new(), rows.len());
    for (n, ((member, event, mission), progress)) in rows.enumerate() {
        if n % PROGRESS_ROWS == 0 {
            all.push(String::with_capacity(512 + left.min(PROGRESS_ROWS) * 64));
            left = left.saturating_sub(PROGRESS_ROWS);
        }
        let Some(sql) = all.last_mut() else { continue };
        sql.push_str(if n % PROGRESS_ROWS == 0 { INSERT } else { "," });
        write!(sql, "({member},{event},{mission},{},", progress.current_value)?;
        match progress.latest_at {
            Some(at) => write!(sql, "{at},")?,
            None => sql.push_str("NULL,"),
        }
        match progress.completed_at {
            Some(at) => write!(sql, "1,{at})")?,
            None => sql.push_str("0,NULL)"),
        }
    }
    all.iter_mut().for_each(|sql| sql.push_str(keep));
    Ok(all)
}

/// One row of the outbox for each mission that was completed for the first time.
async fn earn(
    conn: &mut Conn,
    counted: &Counted,
    definitions: &Definitions,
    now: i64,
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(counted.completions.len());
    for completion in &counted.completions {
        let (member, event, mission) = completion.key;
        let Some(definition) = definitions.get(&event) else { continue };
        if let Some((lane, kind)) = definition.earned_by(mission, member, completion.accepted_at) {
            rows.push(MissionOutboxRow {
                event_id: event,
                mission_index: mission as i16,
                member_id: member,
                topic: definition.topic.clone(),
                lane,
                record: shared_proto::encode(event, kind),
                created_at: now,
                published_at: None,
            });
        }
    }
    insert_in_chunks!(conn, o::table, rows, ROWS)
}
