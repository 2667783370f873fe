//! One command's rows in the outbox.

use shared_domain::{EventDefinition, EventId};
use shared_proto::v1::{self, log_record::Kind};

use super::{Conn, outbox};
use crate::store::commands::{Changed, CommandError, CommandView, StaffRequest};
use crate::store::error_class::StoreError;
use crate::store::rows::{CommandStatus, OutboxRow};

/// Lane of commands that take effect in the database only.
pub const NO_LANE: i32 = -1;
/// Kind of the command that deletes an event.
pub const DELETED: &str = "DELETED";

/// What staff hear of a change.
pub type Outcome = Result<Changed, CommandError>;

/// A command that staff give, or the relay for them.
#[derive(Clone, Copy)]
pub struct Command<'a> {
    /// Who asked, and when.
    pub request: &'a StaffRequest,
    /// What it does.
    pub kind: &'static str,
    /// Its id.
    pub id: [u8; 16],
}

impl Command<'_> {
    /// One row a lane, for the relay.
    pub async fn publish(
        self,
        conn: &mut Conn,
        ordinal: i64,
        event: EventId,
        definition: &EventDefinition,
        record: Kind,
        not_before: Option<i64>,
    ) -> Outcome {
        let rows = self.lane_rows(ordinal, event, definition, record, not_before);
        self.insert(conn, rows).await
    }

    fn lane_rows(
        self,
        ordinal: i64,
        event: EventId,
        definition: &EventDefinition,
        record: Kind,
        not_before: Option<i64>,
    ) -> Vec<OutboxRow> {
        let bytes = shared_proto::encode(event, record);
        definition
            .lanes
            .iter()
            .map(|lane| OutboxRow {
                topic: definition.topic.clone(),
                record: bytes.clone(),
                not_before,
                ..self.row(event, ordinal, *lane)
            })
            .collect()
    }

    /// A deletion: `Deleted` for every lane, and a row without a lane that stays open until contact key, contacts and
    /// salt are gone. It is the place from which a killed deletion is taken up.
    pub async fn publish_deletion(
        self,
        conn: &mut Conn,
        ordinal: i64,
        event: EventId,
        definition: &EventDefinition,
    ) -> Outcome {
        let record = Kind::Deleted(v1::Deleted { command_id: self.id.to_vec() });
        let mut rows = self.lane_rows(ordinal, event, definition, record, None);
        rows.insert(
            0,
            OutboxRow { published_at: Some(self.request.now), ..self.row(event, ordinal, NO_LANE) },
        );
        self.insert(conn, rows).await
    }

    /// A command that is in effect with this transaction.
    pub async fn note(self, conn: &mut Conn, event: EventId, ordinal: i64) -> Outcome {
        let now = Some(self.request.now);
        let row = OutboxRow {
            published_at: now,
            settled_at: now,
            status: CommandStatus::Applied.code(),
            ..self.row(event, ordinal, NO_LANE)
        };
        self.insert(conn, vec![row]).await
    }

    fn row(self, event_id: EventId, ordinal: i64, lane: i32) -> OutboxRow {
        OutboxRow {
            event_id,
            ordinal,
            lane,
            command_id: self.id.to_vec(),
            kind: self.kind.to_owned(),
            topic: String::new(),
            record: Vec::new(),
            not_before: None,
            published_at: None,
            settled_at: None,
            status: CommandStatus::Pending.code(),
            reason: None,
            actor: self.request.actor.clone(),
            request_id: self.request.request_id.clone(),
            created_at: self.request.now,
        }
    }

    async fn insert(self, conn: &mut Conn, rows: Vec<OutboxRow>) -> Outcome {
        let view = CommandView::of(&rows).ok_or_else(|| StoreError::fatal("a command without lanes"))?;
        outbox::insert(conn, rows).await?;
        Ok(Changed::Command(view))
    }
}
