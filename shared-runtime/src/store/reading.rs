//! One moment of a database, read at length: what is compared is of one snapshot, while the system goes on.

use std::collections::HashMap;

use diesel_async::SimpleAsyncConnection;
use diesel_async::pooled_connection::deadpool::Object;
use shared_domain::draw::Entrant;
use shared_domain::{EntryId, EventId, MemberId, MissionType};

use super::draw::DrawLane;
use super::error_class::StoreError;
use super::pool::Pool;
use super::rows::{
    ApprovalRow, CommandAppliedRow, DrawResultRow, DrawRow, EntryRow, LaneRow, MissionTotal, ProgressRow,
    StockRow,
};
use super::{Store, mysql, sqlite};

/// Seconds that the server keeps a silent session: the log may be read in between.
const PATIENCE: u32 = 3_600;

/// A session inside a transaction that only reads. On MySQL it keeps the server from forgetting what is overwritten
/// meanwhile, as a dump does; on SQLite the write-ahead log grows until it ends. It ends when this is dropped.
pub struct Reading(Session);

enum Session {
    Mysql(Box<mysql::Conn>),
    Sqlite(Box<sqlite::Conn>),
}

/// How far a database is.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Every lane of every event.
    pub lanes: Vec<LaneRow>,
    /// Cursors.
    pub progress: Vec<ProgressRow>,
    /// What members did, mission by mission.
    pub missions: Vec<MissionTotal>,
    /// First record that waits, by event and lane, of events that are parked.
    pub parked: HashMap<(EventId, i32), i64>,
}

/// An event as comparing needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledEvent {
    /// Event.
    pub event_id: EventId,
    /// Bytes of its `Scheduled` record.
    pub scheduled: Vec<u8>,
    /// Whether its contacts may be there.
    pub is_deleted: bool,
}

/// A mission's progress beside what it was counted from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedMission {
    /// Member.
    pub member_id: MemberId,
    /// Event.
    pub event_id: EventId,
    /// Mission in it.
    pub mission_index: i16,
    /// `current_value`.
    pub value: i64,
    /// Rows of `mission_mark`.
    pub marks: i64,
}

macro_rules! on_session {
    ($reading:expr, |$q:ident, $conn:ident| $body:expr) => {
        match &mut $reading.0 {
            Session::Mysql(conn) => {
                #[allow(unused_imports)]
                use mysql as $q;
                let $conn = conn.as_mut();
                $body
            }
            Session::Sqlite(conn) => {
                #[allow(unused_imports)]
                use sqlite as $q;
                let $conn = conn.as_mut();
                $body
            }
        }
    };
}

impl Store {
    /// Begins to read one moment. The session is not given back to the pool.
    pub async fn reading(&self) -> Result<Reading, StoreError> {
        match &self.pool {
            Pool::Mysql(pool) => {
                let mut conn = Object::take(pool.get().await?);
                conn.batch_execute(&format!("SET SESSION wait_timeout = {PATIENCE}")).await?;
                mysql::repeatable_read(&mut conn).await?;
                conn.batch_execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
                Ok(Reading(Session::Mysql(Box::new(conn))))
            }
            Pool::Sqlite(pool) => {
                let mut conn = Object::take(pool.get().await?);
                // The moment is that of the first read.
                conn.batch_execute("BEGIN; SELECT 1 FROM partition_progress LIMIT 1").await?;
                Ok(Reading(Session::Sqlite(Box::new(conn))))
            }
        }
    }
}

impl Reading {
    /// How far the database is.
    pub async fn standing(&mut self) -> Result<Standing, StoreError> {
        on_session!(self, |q, conn| {
            Ok(Standing {
                lanes: q::entries::lanes(conn).await?,
                progress: q::progress::all(conn).await?,
                missions: q::mission::totals(conn).await?,
                parked: q::parked::first_offsets(conn).await?,
            })
        })
    }

    /// Every option of every event, by event, lane and option.
    pub async fn stock(&mut self) -> Result<Vec<StockRow>, StoreError> {
        on_session!(self, |q, conn| q::compare::stock(conn).await)
    }

    /// Every event that was scheduled.
    pub async fn scheduled_events(&mut self) -> Result<Vec<ScheduledEvent>, StoreError> {
        on_session!(self, |q, conn| q::compare::scheduled_events(conn).await)
    }

    /// Entries of a lane behind a place, in order.
    pub async fn entries_of_lane(
        &mut self,
        event: EventId,
        lane: i32,
        after_seq: i64,
        limit: i64,
    ) -> Result<Vec<EntryRow>, StoreError> {
        on_session!(self, |q, conn| q::entries::of_lane(conn, event, lane, None, after_seq, limit).await)
    }

    /// Those of these entries that have a row from a record before an offset: entry, and whether the log rejected it.
    pub async fn entries_before(
        &mut self,
        event: EventId,
        lane: i32,
        entries: &[EntryId],
        offset: i64,
    ) -> Result<Vec<(EntryId, bool)>, StoreError> {
        on_session!(self, |q, conn| q::compare::entries_before(conn, event, lane, entries, offset).await)
    }

    /// Entries that count, a member, from records before an offset.
    pub async fn member_entries_before(
        &mut self,
        event: EventId,
        lane: i32,
        members: &[MemberId],
        offset: i64,
    ) -> Result<HashMap<MemberId, u32>, StoreError> {
        on_session!(self, |q, conn| q::compare::member_entries_before(conn, event, lane, members, offset)
            .await)
    }

    /// What became of these commands in a lane.
    pub async fn commands(
        &mut self,
        lane: i32,
        ids: &[Vec<u8>],
    ) -> Result<Vec<CommandAppliedRow>, StoreError> {
        on_session!(self, |q, conn| q::compare::commands(conn, lane, ids).await)
    }

    /// Approvals of an event that changed in a lane, by the first place that they judge.
    pub async fn approvals(&mut self, event: EventId, lane: i32) -> Result<Vec<ApprovalRow>, StoreError> {
        on_session!(self, |q, conn| q::compare::approvals(conn, event, lane).await)
    }

    /// A raffle's draw.
    pub async fn draw(&mut self, event: EventId) -> Result<Option<DrawRow>, StoreError> {
        on_session!(self, |q, conn| q::draw::get(conn, event).await)
    }

    /// Winners and alternates behind a place, in order.
    pub async fn draw_results(
        &mut self,
        event: EventId,
        after_place: i64,
        limit: i64,
    ) -> Result<Vec<DrawResultRow>, StoreError> {
        on_session!(self, |q, conn| q::draw::results(conn, event, after_place, limit).await)
    }

    /// A raffle's lanes, in order.
    pub async fn draw_lanes(&mut self, event: EventId) -> Result<Vec<DrawLane>, StoreError> {
        on_session!(self, |q, conn| q::draw::lanes(conn, event).await)
    }

    /// Entrants of one lane behind a place and up to another, in order.
    pub async fn entrants_between(
        &mut self,
        event: EventId,
        lane: i32,
        from: i64,
        to: i64,
    ) -> Result<Vec<Entrant>, StoreError> {
        on_session!(self, |q, conn| q::draw::entrants(conn, event, lane, from, to).await)
    }

    /// Rows of these entries, by entry id (at most 1,000).
    pub async fn entries(&mut self, event: EventId, ids: &[Vec<u8>]) -> Result<Vec<EntryRow>, StoreError> {
        on_session!(self, |q, conn| q::compare::entries(conn, event, ids).await)
    }

    /// Entries of an event by status and reason.
    pub async fn entry_counts(&mut self, event: EventId) -> Result<Vec<(i16, Option<i16>, i64)>, StoreError> {
        on_session!(self, |q, conn| q::compare::entry_counts(conn, event).await)
    }

    /// Entries whose contact is kept although they are nobody's or cannot win (any more), at most `limit`.
    pub async fn stray_contacts(&mut self, event: EventId, limit: i64) -> Result<Vec<Vec<u8>>, StoreError> {
        on_session!(self, |q, conn| q::compare::stray_contacts(conn, event, limit).await)
    }

    /// The next missions behind a member whose value is the size of a set, member by member; with the last member read,
    /// `None` behind all.
    pub async fn counted_missions(
        &mut self,
        after: Option<MemberId>,
        sets: &HashMap<(EventId, i16), MissionType>,
    ) -> Result<(Vec<CountedMission>, Option<MemberId>), StoreError> {
        on_session!(self, |q, conn| q::compare::counted_missions(conn, after, sets).await)
    }

    /// The missions of all events: event, index, type.
    pub async fn mission_types(&mut self) -> Result<Vec<(EventId, i16, String)>, StoreError> {
        on_session!(self, |q, conn| q::compare::mission_types(conn).await)
    }

    /// What missions earned so far: event, index, rows of `mission_outbox`.
    pub async fn earned_counts(&mut self) -> Result<Vec<(EventId, i16, i64)>, StoreError> {
        on_session!(self, |q, conn| q::compare::earned_counts(conn).await)
    }
}
