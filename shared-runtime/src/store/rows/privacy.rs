//! Rows of contacts, of what was erased, and of the key store.

use diesel::prelude::{Insertable, Queryable, Selectable};

use crate::store::schema::{contact, contact_erasure, erasure, event_key};

/// Whose contacts an erasure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Everybody's in one event: the event is deleted.
    Event = 1,
    /// One member's in all events.
    Member = 2,
}

impl Subject {
    /// The number in the database.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The value of a number.
    pub fn from_code(code: i16) -> Option<Self> {
        match code {
            1 => Some(Self::Event),
            2 => Some(Self::Member),
            _ => None,
        }
    }
}

/// `contact`: one sealed contact.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = contact)]
pub struct ContactRow {
    /// Event.
    pub event_id: i64,
    /// Entry, 16 bytes.
    pub entry_id: Vec<u8>,
    /// See [`seal`](crate::contact::seal).
    pub sealed: Vec<u8>,
    /// When it was given, by the gateway's clock, ms.
    pub at: i64,
}

/// `contact_erasure`: contacts given until a moment must not come back, whatever the log still holds. The key store's
/// list says the same; this copy is for the transactions that write contacts.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = contact_erasure)]
pub struct ContactErasureRow {
    /// Code of [`Subject`].
    pub subject: i16,
    /// Event or member.
    pub subject_id: i64,
    /// Contacts given until then, ms; a deleted event's are gone for ever.
    pub erased_until: i64,
    /// Rows of `contact` deleted so far.
    pub contacts_destroyed: i64,
    /// Nothing is left to do in this database.
    pub is_done: bool,
}

/// `event_key`: an event's contact key.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = event_key, treat_none_as_default_value = false)]
pub struct EventKeyRow {
    /// Event.
    pub event_id: i64,
    /// UUID, 16 bytes.
    pub key_id: Vec<u8>,
    /// X25519, 32 bytes.
    pub public_key: Vec<u8>,
    /// The secret half, wrapped; `None` once it is destroyed.
    pub wrapped_key: Option<Vec<u8>>,
    /// Id of the key-encryption key that wraps it.
    pub wrapped_by: Vec<u8>,
    /// ms.
    pub created_at: i64,
    /// ms.
    pub destroyed_at: Option<i64>,
}

/// `erasure`: one deletion or erasure, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = erasure, treat_none_as_default_value = false)]
pub struct ErasureRow {
    /// UUID, 16 bytes; of a deletion: its command's.
    pub erasure_id: Vec<u8>,
    /// Code of [`Subject`].
    pub subject: i16,
    /// Event or member.
    pub subject_id: i64,
    /// Who asked.
    pub actor: String,
    /// The HTTP request.
    pub request_id: String,
    /// ms.
    pub erased_at: i64,
    /// What staff were told in the end, JSON: a deletion's certificate, an erasure's record.
    pub record: Option<String>,
}
