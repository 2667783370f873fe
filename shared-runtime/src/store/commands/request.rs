//! Staff's requests and their answers, as the store sees them.

use std::sync::Arc;

use serde_json::json;
use sha2::{Digest, Sha256};
use shared_domain::draw::Chains;
use shared_domain::{
    Approval, EntryId, EventDefinition, EventId, EventType, HexBytes, LimitsDraft, MemberId, Millis,
};
use shared_proto::{Lane, Topic, TopicNames};
use uuid::Uuid;

use crate::clock::Random;
use crate::keys::EventSecrets;
use crate::store::rows::{CommandStatus, EventRow, OutboxRow};

/// Who asks for a change, by which request, and when.
#[derive(Debug, Clone)]
pub struct StaffRequest {
    /// The name for the audit log.
    pub actor: String,
    /// The HTTP request.
    pub request_id: String,
    /// Method and path: the scope of the key.
    pub route: String,
    /// The Idempotency-Key, where one was given.
    pub key: Option<RequestKey>,
    /// Now, ms.
    pub now: Millis,
}

/// An Idempotency-Key and what it was given for.
#[derive(Debug, Clone)]
pub struct RequestKey {
    /// The key.
    pub key: String,
    /// SHA-256 of the body.
    pub body_hash: Vec<u8>,
}

/// A topic that carries events, and its partitions now.
#[derive(Debug, Clone)]
pub struct EventTopic {
    /// Full name.
    pub name: String,
    /// Partitions.
    pub lanes: i32,
}

/// The topics that carry events.
#[derive(Debug, Clone)]
pub struct EventTopics {
    apply: EventTopic,
    raffle: EventTopic,
}

impl EventTopics {
    /// By their names, with the number of partitions of each.
    pub fn new(names: &TopicNames, lanes: impl Fn(&str) -> i32) -> Self {
        let topic = |topic| {
            let name = names.name(topic);
            EventTopic { lanes: lanes(&name), name }
        };
        Self { apply: topic(Topic::Apply), raffle: topic(Topic::Raffle) }
    }

    /// Every lane that events may have.
    pub fn lanes(&self) -> Vec<Lane> {
        let lanes = |topic: &EventTopic| -> Vec<Lane> {
            (0..topic.lanes).map(|lane| Lane::new(topic.name.clone(), lane)).collect()
        };
        [lanes(&self.apply), lanes(&self.raffle)].concat()
    }

    /// The topic of an event of this type.
    pub fn of(&self, event_type: EventType) -> &EventTopic {
        match event_type {
            EventType::Raffle => &self.raffle,
            EventType::General | EventType::FirstCome => &self.apply,
        }
    }
}

/// What staff may ask for.
#[derive(Debug, Clone)]
pub enum Change {
    /// A new draft: what was written, as JSON, and what it means.
    Create(String, Box<EventDefinition>, LimitsDraft),
    /// An event's text changes; of a draft, anything.
    Edit {
        /// Event.
        event: EventId,
        /// JSON merge patch (RFC 7396) of the draft.
        patch: serde_json::Map<String, serde_json::Value>,
        /// Versions of which one must be the event's; `None`: any.
        if_match: Option<Vec<i64>>,
    },
    /// Another approval, for every decision behind it.
    Approval(EventId, Approval),
    /// A draft goes to the log.
    Schedule {
        /// Event.
        event: EventId,
        /// Where it may go.
        topics: EventTopics,
        /// How long the log keeps records, ms; `None`: as long as it lives.
        retention: Option<Millis>,
        /// Made for it, and taken where it needs them.
        secrets: EventSecrets,
        /// Beacons that a draw may name.
        chains: Arc<Chains>,
        /// Public half of the event's contact key, where the draft asks for contacts.
        contact_key: Option<[u8; 32]>,
    },
    /// More stock.
    AddStock {
        /// Event.
        event: EventId,
        /// Name of the option.
        option: String,
        /// How much, above 0.
        add: i64,
    },
    /// The event ends.
    Close {
        /// Event.
        event: EventId,
        /// `Closed` is not published before, ms.
        not_before: Millis,
    },
    /// Admission stops (true) or goes on (false).
    Pause(EventId, bool),
    /// Rate limits.
    Limits(EventId, LimitsDraft),
    /// The high-traffic flag.
    HighTraffic(EventId, bool),
    /// The event goes, and its contacts with it.
    Delete(EventId),
    /// The same in a restored database, whatever state that takes the event for: it was accepted once.
    DeleteAgain(EventId),
    /// One member's contacts go, in all events.
    EraseMember {
        /// Member.
        member: MemberId,
        /// Id of the erasure in the key store's list.
        erasure_id: [u8; 16],
        /// When it was noted there, ms.
        erased_at: Millis,
    },
    /// Parked records are decided again; or one of them is given up.
    Unpark {
        /// Event.
        event: EventId,
        /// Offset of the record to give up.
        reject: Option<i64>,
        /// Its lane, where the offset alone is not enough.
        lane: Option<i32>,
    },
    /// A raffle's winners are to be drawn.
    Draw {
        /// Event.
        event: EventId,
        /// And shown.
        publish: bool,
        /// Beacons that a draw may have named.
        chains: Arc<Chains>,
    },
    /// A draw that is decided is to be shown.
    PublishDraw(EventId),
    /// The round that a draw waits for is made.
    Beacon {
        /// Event.
        event: EventId,
        /// Round.
        round: u64,
        /// The chain's signature of it.
        signature: HexBytes,
        /// Beacons that are known.
        chains: Arc<Chains>,
    },
    /// An entry is taken out of a raffle that is drawn.
    Disqualify {
        /// Event.
        event: EventId,
        /// Entry.
        entry: EntryId,
        /// For the public record.
        reason: String,
    },
}

impl Change {
    /// What the audit log and the command call it.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Create(..) => "CREATED",
            Self::Edit { .. } => "EDITED",
            Self::Approval(..) => "APPROVAL_CHANGED",
            Self::Schedule { .. } => "SCHEDULED",
            Self::AddStock { .. } => crate::store::STOCK_ADDED,
            Self::Close { .. } => "CLOSED",
            Self::Pause(_, true) => "PAUSED",
            Self::Pause(_, false) => "RESUMED",
            Self::Limits(..) => "LIMITS",
            Self::HighTraffic(..) => "HIGH_TRAFFIC",
            Self::Delete(_) | Self::DeleteAgain(_) => "DELETED",
            Self::EraseMember { .. } => "CONTACTS_ERASED",
            Self::Unpark { reject: Some(_), .. } => "REJECTED",
            Self::Unpark { reject: None, .. } => "UNPARKED",
            Self::Draw { .. } => "DRAW_REQUESTED",
            Self::PublishDraw(_) => "DRAW_PUBLISH_REQUESTED",
            Self::Beacon { .. } => "DRAW_BEACON",
            Self::Disqualify { .. } => "DISQUALIFIED",
        }
    }

    /// Details for the audit log, JSON.
    pub(crate) fn detail(&self) -> serde_json::Value {
        match self {
            Self::Create(_, definition, _) => json!({"title": definition.title}),
            Self::Edit { patch, .. } => json!({"fields": patch.keys().collect::<Vec<_>>()}),
            Self::Approval(_, approval) => json!({
                "review_number": approval.review_number(),
                "approved_from": approval.period().starts_at(),
                "approved_until": approval.period().ends_at(),
            }),
            Self::AddStock { option, add, .. } => json!({"option": option, "add": add}),
            Self::Close { not_before, .. } => json!({"not_before": not_before}),
            Self::Limits(_, limits) => json!(limits),
            Self::HighTraffic(_, enabled) => json!({"enabled": enabled}),
            Self::Unpark { reject, lane, .. } => json!({"reject": reject, "lane": lane}),
            Self::EraseMember { member, erasure_id, .. } => json!({
                "member_id": member,
                "erasure_id": uuid::Uuid::from_bytes(*erasure_id),
            }),
            Self::Draw { publish, .. } => json!({"publish": publish}),
            Self::Beacon { round, signature, .. } => json!({"round": round, "signature": signature}),
            Self::Disqualify { entry, reason, .. } => json!({"entry_id": entry, "reason": reason}),
            Self::Schedule { .. }
            | Self::Pause(..)
            | Self::Delete(_)
            | Self::DeleteAgain(_)
            | Self::PublishDraw(_) => json!({}),
        }
    }
}

/// What a change made.
#[derive(Debug, Clone)]
pub enum Changed {
    /// An event as it is now.
    Event(Box<EventRow>),
    /// A command as it is now.
    Command(CommandView),
    /// A draw: its event, and its id.
    Draw(EventId, Uuid),
    /// A member's contacts are gone.
    Erasure(MemberErasure),
}

/// What an erasure of one member did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberErasure {
    /// Id in the key store's list.
    pub erasure_id: [u8; 16],
    /// Member.
    pub member_id: MemberId,
    /// ms.
    pub erased_at: Millis,
    /// Rows of `contact` deleted.
    pub contacts_destroyed: i64,
    /// Where they were.
    pub events: Vec<EventId>,
}

/// How far the clock of the gateway that stamped a contact may be ahead of the one that stamped an erasure.
pub const ERASURE_SKEW_MS: Millis = 5_000;

/// Makes the HTTP answer (status, JSON), so that it can be kept in the same transaction.
pub type Render = dyn Fn(&Changed) -> (u16, String) + Send + Sync;

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
    /// What was made; `None`: this is the first answer to the same key again.
    pub changed: Option<Changed>,
}

/// A command over all its lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandView {
    /// Command.
    pub command_id: [u8; 16],
    /// Event.
    pub event_id: EventId,
    /// What it does.
    pub kind: String,
    /// PENDING until every lane has settled it; REJECTED if any lane refused it.
    pub status: CommandStatus,
    /// Why it was refused.
    pub reason: Option<String>,
    /// Who asked.
    pub actor: String,
    /// ms.
    pub created_at: Millis,
    /// When the last lane settled it, ms.
    pub applied_at: Option<Millis>,
}

impl CommandView {
    /// The command that these rows, one a lane, stand for.
    pub fn of(rows: &[OutboxRow]) -> Option<Self> {
        let first = rows.first()?;
        let settled = rows.iter().map(|row| row.settled_at).collect::<Option<Vec<_>>>();
        let refused = rows.iter().find(|row| row.status == CommandStatus::Rejected.code());
        let status = match (&settled, refused) {
            (None, _) => CommandStatus::Pending,
            (Some(_), Some(_)) => CommandStatus::Rejected,
            (Some(_), None) => CommandStatus::Applied,
        };
        Some(Self {
            command_id: first.command_id.as_slice().try_into().ok()?,
            event_id: first.event_id,
            kind: first.kind.clone(),
            status,
            reason: refused.filter(|_| settled.is_some()).and_then(|row| row.reason.clone()),
            actor: first.actor.clone(),
            created_at: first.created_at,
            applied_at: settled
                .filter(|_| status == CommandStatus::Applied)
                .and_then(|at| at.into_iter().max()),
        })
    }
}

/// What is made up once for a request, so that running it again makes the same.
pub(crate) struct Fresh {
    pub(crate) command_id: [u8; 16],
    pub(crate) salt: [u8; 32],
    /// An earlier run may have been committed.
    pub(crate) retried: bool,
}

impl Fresh {
    pub(crate) fn new(random: &dyn Random) -> Self {
        let mut salt = [0; 32];
        salt[..16].copy_from_slice(&random.id());
        salt[16..].copy_from_slice(&random.id());
        Self { command_id: uuid(random.id()), salt, retried: false }
    }
}

/// The same for every close of an event, whoever asks for it.
pub(crate) fn close_command_id(event: EventId) -> [u8; 16] {
    id_of(&format!("close:{event}"))
}

/// The same for every deletion of an event, whoever asks for it.
pub fn delete_command_id(event: EventId) -> [u8; 16] {
    id_of(&format!("delete:{event}"))
}

fn id_of(name: &str) -> [u8; 16] {
    let digest = Sha256::digest(name);
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    uuid(id)
}

fn uuid(bytes: [u8; 16]) -> [u8; 16] {
    uuid::Builder::from_custom_bytes(bytes).into_uuid().into_bytes()
}
