//! Rows of commands: on their way, applied, audited, answered.

use diesel::prelude::{Insertable, Queryable, Selectable};

use crate::store::schema::{audit_log, command_applied, event_approval, idempotency_key, outbox};

/// State of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandStatus {
    /// On its way.
    Pending = 0,
    /// In effect.
    Applied = 1,
    /// Without effect, for a reason.
    Rejected = 2,
}

impl CommandStatus {
    /// The number in the database.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The value of a number; unknown ones are pending.
    pub fn from_code(code: i16) -> Self {
        match code {
            1 => Self::Applied,
            2 => Self::Rejected,
            _ => Self::Pending,
        }
    }
}

/// `outbox`: a command for one lane, its idempotency key and its record.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = outbox, treat_none_as_default_value = false)]
pub struct OutboxRow {
    /// Event.
    pub event_id: i64,
    /// Place among the event's commands.
    pub ordinal: i64,
    /// Partition, or -1 for a command that takes effect in the database only.
    pub lane: i32,
    /// Command, 16 bytes.
    pub command_id: Vec<u8>,
    /// What it does, as shown to staff.
    pub kind: String,
    /// Full topic name.
    pub topic: String,
    /// The record's bytes.
    pub record: Vec<u8>,
    /// Not to be published before, ms.
    pub not_before: Option<i64>,
    /// Acknowledged by the broker, ms.
    pub published_at: Option<i64>,
    /// Applied in its lane, ms.
    pub settled_at: Option<i64>,
    /// Code of [`CommandStatus`].
    pub status: i16,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// Who asked.
    pub actor: String,
    /// The HTTP request.
    pub request_id: String,
    /// ms.
    pub created_at: i64,
}

/// `command_applied`: a command met its position in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = command_applied, treat_none_as_default_value = false)]
pub struct CommandAppliedRow {
    /// Command, 16 bytes.
    pub command_id: Vec<u8>,
    /// Lane.
    pub lane: i32,
    /// Event.
    pub event_id: i64,
    /// Offset of the record.
    pub log_offset: i64,
    /// Code of [`CommandStatus`].
    pub status: i16,
    /// Why it was refused.
    pub reason: Option<String>,
    /// ms.
    pub applied_at: i64,
}

/// One line of the audit log; the database numbers it.
#[derive(Debug, Clone, PartialEq, Eq, Insertable)]
#[diesel(table_name = audit_log, treat_none_as_default_value = false)]
pub struct AuditLine {
    /// ms.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// On which event.
    pub event_id: Option<i64>,
    /// By which request.
    pub request_id: String,
    /// How it ended.
    pub outcome: String,
    /// Details, JSON.
    pub detail: String,
}

/// `event_approval`: an approval that replaced the definition's, from a place of the lane on.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = event_approval)]
pub struct ApprovalRow {
    /// Event.
    pub event_id: i64,
    /// Lane.
    pub lane: i32,
    /// First `seq` that it judges; in force until the next row's.
    pub from_seq: i64,
    /// Number of the review.
    pub review_number: String,
    /// First instant approved, ms.
    pub approved_from: i64,
    /// First instant behind, ms.
    pub approved_until: i64,
}

/// An answer kept under a key.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = idempotency_key)]
pub struct KeptAnswer {
    /// Who asked.
    pub actor: String,
    /// Method and path.
    pub route: String,
    /// The key.
    pub request_key: String,
    /// SHA-256 of the body.
    pub body_hash: Vec<u8>,
    /// HTTP status.
    pub answer_status: i16,
    /// JSON body.
    pub answer: String,
    /// ms.
    pub created_at: i64,
}
