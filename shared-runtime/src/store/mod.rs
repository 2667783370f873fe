//! The store: each query is written once in Diesel's DSL (`queries/`) and expanded for MySQL/MariaDB and SQLite by
//! loading the same files under both `mysql` and `sqlite`, where `Conn` is the connection (DESIGN section 3).

pub mod commands;
pub mod desk;
pub mod draw;
mod erasures;
pub mod error_class;
mod key_store;
pub mod lane_tx;
pub mod member_entries;
mod migrate;
mod missions;
#[allow(clippy::duplicate_mod)]
mod mysql;
mod oversight;
mod pool;
mod ranking;
pub mod reading;
pub mod rows;
pub mod schema;
#[allow(clippy::duplicate_mod)]
mod sqlite;

use shared_domain::{EntryId, EntryStatus, EventId, MemberId};
use shared_proto::Lane;

pub use erasures::{Claimed, DeletionState, UnfinishedDeletion};
pub use key_store::{KeyStore, KeyStoreArgs, KeyStoreError};
pub use migrate::{MigrateError, Migration, migrate, migrate_key_store};
pub use mysql::insert_entry_rows;
pub use mysql::mission_batch::put_progress;
pub use mysql::outbox::CLOSED;
pub use mysql::server::DatabaseTlsArgs;
pub use mysql::snapshot::STOCK_ADDED;
pub use pool::DatabaseArgs;
use pool::Pool;

use self::error_class::StoreError;
use self::lane_tx::CursorMove;
use self::reading::Standing;
use self::rows::{AuditLine, EntryRow, EventRow, LaneRow, ParkedEvent, ProgressRow, SnapshotRows};
use crate::worker::apply::{Applied, ApplyError, Unparked, apply_batch, unpark_block};
use crate::worker::batch::{LaneBatch, LaneMemory};

/// Runs a block with `$q` bound to the queries of the database at hand and `$conn` to a connection.
macro_rules! on_connection {
    ($store:expr, |$q:ident, $conn:ident| $body:expr) => {
        match &$store.pool {
            $crate::store::pool::Pool::Mysql(pool) => {
                #[allow(unused_imports)]
                use $crate::store::mysql as $q;
                let mut guard = pool.get().await.map_err($crate::store::error_class::StoreError::from)?;
                let $conn = &mut *guard;
                $body
            }
            $crate::store::pool::Pool::Sqlite(pool) => {
                #[allow(unused_imports)]
                use $crate::store::sqlite as $q;
                let mut guard = pool.get().await.map_err($crate::store::error_class::StoreError::from)?;
                let $conn = &mut *guard;
                $body
            }
        }
    };
}

/// The same in a write transaction (`BEGIN IMMEDIATE` on SQLite); an error rolls back.
macro_rules! in_transaction {
    ($store:expr, |$q:ident, $tx:ident| $body:expr) => {
        match &$store.pool {
            $crate::store::pool::Pool::Mysql(pool) => {
                #[allow(unused_imports)]
                use $crate::store::mysql as $q;
                let mut guard = pool.get().await.map_err($crate::store::error_class::StoreError::from)?;
                diesel_async::AsyncConnection::transaction(&mut *guard, async |$tx| $body).await
            }
            $crate::store::pool::Pool::Sqlite(pool) => {
                #[allow(unused_imports)]
                use $crate::store::sqlite as $q;
                let mut guard = pool.get().await.map_err($crate::store::error_class::StoreError::from)?;
                guard.immediate_transaction(async |$tx| $body).await
            }
        }
    };
}
pub(crate) use in_transaction;
pub(crate) use on_connection;

/// A pool of connections to one database. Cheap to clone.
///
/// Never cancel a future of this type: a dropped MySQL query leaves its answer on the connection, and a dropped
/// transaction its locks. Spawn it and await the handle.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
}

impl Store {
    /// Opens `mysql://` or `sqlite://`. Connections are made when they are needed.
    pub fn open(args: &DatabaseArgs, url: &str) -> Result<Self, crate::config::ConfigError> {
        Ok(Self { pool: Pool::open("DATABASE_URL", args, url)? })
    }

    /// Opens the database of the settings. Errors: there is none.
    pub fn of(args: &DatabaseArgs) -> Result<Self, crate::config::ConfigError> {
        let required = || crate::config::ConfigError::required("DATABASE_URL");
        let url = args.database_url.as_deref().ok_or_else(required)?;
        if let Some(setting) = args.tls.given().filter(|_| url.starts_with("sqlite://")) {
            return Err(crate::config::ConfigError::new(
                setting,
                "is for mysql://, and DATABASE_URL is a file",
            ));
        }
        Self::open(args, url)
    }

    /// The database's name in OpenTelemetry's conventions; MariaDB is asked as a MySQL.
    pub fn system(&self) -> &'static str {
        match self.pool {
            Pool::Mysql(_) => "mysql",
            Pool::Sqlite(_) => "sqlite",
        }
    }

    /// Asks the database for an answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.progress_rows().await.map(|_| ())
    }

    /// All cursors.
    pub async fn progress_rows(&self) -> Result<Vec<ProgressRow>, StoreError> {
        on_connection!(self, |q, conn| q::progress::all(conn).await)
    }

    /// Cursors of one lane, whatever the log.
    pub async fn progress_of(&self, lane: &Lane) -> Result<Vec<ProgressRow>, StoreError> {
        on_connection!(self, |q, conn| q::progress::of_lane(conn, lane).await)
    }

    /// Makes a cursor.
    pub async fn insert_progress(&self, row: &ProgressRow) -> Result<(), StoreError> {
        on_connection!(self, |q, conn| q::progress::insert(conn, row).await)
    }

    /// An operator's move of a cursor: adopts an unknown log, or resets a known one; audited in the same transaction.
    /// Commands that were published and are not applied go out again: the log that took them may be gone, and a command
    /// that is met twice changes nothing. False, and nothing done, where the log is known already, or not at all.
    pub async fn move_cursor(
        &self,
        row: &ProgressRow,
        adopt: bool,
        audit: &AuditLine,
    ) -> Result<bool, StoreError> {
        let lane = Lane::new(row.topic.clone(), row.partition_id);
        in_transaction!(self, |q, tx| {
            let known = q::progress::of_lane(tx, &lane).await?.iter().any(|r| r.log_id == row.log_id);
            if known == adopt {
                return Ok::<_, StoreError>(false);
            }
            if adopt {
                q::progress::insert(tx, row).await?;
            } else {
                q::progress::reset(tx, &row.log_id, &lane, row.next_offset, row.updated_at).await?;
            }
            q::outbox::publish_again(tx, &lane).await?;
            q::mission_outbox::publish_again(tx, &lane).await?;
            q::audit::append(tx, audit).await?;
            Ok(true)
        })
    }

    /// The log that took a lane's commands is gone: those that are not applied go out again, with what missions earned.
    pub async fn publish_again(&self, lane: &Lane) -> Result<(), StoreError> {
        in_transaction!(self, |q, tx| {
            q::outbox::publish_again(tx, lane).await?;
            q::mission_outbox::publish_again(tx, lane).await
        })
    }

    /// Applies a batch in one transaction.
    pub async fn apply(
        &self,
        batch: &LaneBatch,
        memory: &LaneMemory,
        now: i64,
    ) -> Result<Applied, ApplyError> {
        in_transaction!(self, |q, tx| apply_batch(&mut q::lane::LaneConn(tx), batch, memory, now).await)
    }

    /// Counts a batch of activities in one transaction. `replay`: what counts for an event that is not decided again is
    /// passed over.
    pub async fn count_activities(
        &self,
        batch: &LaneBatch,
        memory: &LaneMemory,
        now: i64,
        replay: bool,
    ) -> Result<Applied, ApplyError> {
        in_transaction!(self, |q, tx| q::mission_batch::apply(tx, batch, memory, now, replay).await)
    }

    /// Decides a block of parked records in one transaction.
    pub async fn unpark(
        &self,
        cursor: &CursorMove<'_>,
        batch: &LaneBatch,
        event: EventId,
        block: i64,
        memory: &LaneMemory,
    ) -> Result<Unparked, ApplyError> {
        in_transaction!(self, |q, tx| {
            unpark_block(&mut q::lane::LaneConn(tx), cursor, batch, event, block, memory).await
        })
    }

    /// Parked events, for operators.
    pub async fn parked_events(&self) -> Result<Vec<ParkedEvent>, StoreError> {
        on_connection!(self, |q, conn| q::parked::list(conn).await)
    }

    /// Events whose parked records an operator wants decided: event, lane, topic.
    pub async fn unpark_requests(&self) -> Result<Vec<(EventId, i32, Option<String>)>, StoreError> {
        on_connection!(self, |q, conn| q::parked::requested(conn).await)
    }

    /// Takes such a request back because a record failed again.
    pub async fn refuse_unpark(&self, event: EventId, lane: i32, reason: &str) -> Result<(), StoreError> {
        on_connection!(self, |q, conn| q::parked::refuse_unpark(conn, event, lane, reason).await)
    }

    /// What a gateway watches.
    pub async fn snapshot(
        &self,
        log_id: &str,
        closed_after: i64,
        now: i64,
    ) -> Result<SnapshotRows, StoreError> {
        on_connection!(self, |q, conn| q::snapshot::load(conn, log_id, closed_after, now).await)
    }

    /// Full rows of these events.
    pub async fn event_rows(&self, ids: &[EventId]) -> Result<Vec<EventRow>, StoreError> {
        on_connection!(self, |q, conn| q::snapshot::changed(conn, ids).await)
    }

    /// Results by event and entry, in one query (at most 1,000 ids).
    pub async fn entries_by_ids(&self, ids: &[(EventId, EntryId)]) -> Result<Vec<EntryRow>, StoreError> {
        on_connection!(self, |q, conn| q::entries::by_ids(conn, ids).await)
    }

    /// Results by member and entry, in one query (at most 1,000 ids).
    pub async fn entries_by_members(&self, ids: &[(MemberId, EntryId)]) -> Result<Vec<EntryRow>, StoreError> {
        on_connection!(self, |q, conn| q::entries::by_members(conn, ids).await)
    }

    /// Entries of a lane behind a place, in order; with a status, only those.
    pub async fn entries_of_lane(
        &self,
        event: EventId,
        lane: i32,
        status: Option<EntryStatus>,
        after_seq: i64,
        limit: i64,
    ) -> Result<Vec<EntryRow>, StoreError> {
        on_connection!(self, |q, conn| q::entries::of_lane(conn, event, lane, status, after_seq, limit).await)
    }

    /// All lane rows.
    pub async fn lane_rows(&self) -> Result<Vec<LaneRow>, StoreError> {
        on_connection!(self, |q, conn| q::entries::lanes(conn).await)
    }

    /// Lane rows, cursors, what members did in missions and what is parked, in one snapshot, for comparing with a replay.
    pub async fn standing(&self) -> Result<Standing, StoreError> {
        self.reading().await?.standing().await
    }

    /// Puts the counters of lanes (wins, losses, rejections, paid, sold out) at what the log gave, where place and digest
    /// are still those of `rows`. The batches that are being written end first, and the next ones wait. Each goes with its line
    /// of the audit log. Gives the event and lane of those that were written.
    pub async fn repair_counters(
        &self,
        rows: &[(LaneRow, AuditLine)],
    ) -> Result<Vec<(EventId, i32)>, StoreError> {
        in_transaction!(self, |q, tx| {
            q::erasure::hold_lanes(tx).await?;
            let mut written = Vec::new();
            for (row, audit) in rows {
                if q::compare::set_counters(tx, row).await? {
                    q::audit::append(tx, audit).await?;
                    written.push((row.event_id, row.lane));
                }
            }
            Ok::<_, StoreError>(written)
        })
    }
}
