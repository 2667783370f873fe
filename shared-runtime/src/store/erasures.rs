//! Contacts in the main database: claimed, exported, erased; deletions step by step.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use shared_domain::{EntryId, EventId, MemberId, Millis};

use super::error_class::StoreError;
use super::rows::ContactErasureRow;
use super::{Store, in_transaction, on_connection};

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The contact is kept.
    Kept,
    /// The entry is not this member's win (any more).
    NotAWinner,
    /// The event is deleted.
    EventGone,
    /// The member's contacts were erased since the request came in.
    ErasedSince,
}

/// A deletion that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedDeletion {
    /// Its command.
    pub command_id: [u8; 16],
    /// Event.
    pub event_id: EventId,
    /// Who asked.
    pub actor: String,
    /// The HTTP request.
    pub request_id: String,
    /// ms.
    pub asked_at: Millis,
}

/// Where a deletion stands in the main database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionState {
    /// Topic of the event.
    pub topic: Option<String>,
    /// Every lane has applied `Deleted`.
    pub is_applied: bool,
    /// Lane, offset of `Scheduled`, offset of `Deleted`: between them lie the event's records.
    pub ranges: Vec<(i32, i64, i64)>,
    /// Entries decided, which stay.
    pub entries_kept: i64,
    /// Rows of `contact` deleted so far.
    pub contacts_destroyed: i64,
    /// Rows of `contact` still there.
    pub contacts_left: i64,
    /// ms.
    pub deleted_at: Option<Millis>,
}

fn retries() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_millis(500))
        .with_max_times(4)
        .with_jitter()
}

fn may_pass(error: &StoreError) -> bool {
    error.class.is_retried(0)
}

impl Store {
    /// A winner's contact, sealed at `at`; replaces an earlier one.
    pub async fn claim(
        &self,
        event: EventId,
        entry: EntryId,
        member: MemberId,
        sealed: &[u8],
        at: Millis,
    ) -> Result<Claimed, StoreError> {
        let once = || async {
            in_transaction!(self, |q, tx| {
                q::contact::claim(tx, event, entry, member, sealed.to_vec(), at).await
            })
        };
        once.retry(retries()).when(may_pass).await
    }

    /// Entry id and sealed contact of these entries of an event.
    pub async fn contacts_of(
        &self,
        event: EventId,
        entries: &[Vec<u8>],
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        on_connection!(self, |q, conn| q::contact::of(conn, event, entries).await)
    }

    /// Soft-deletes an event. From then on no contact of it is written.
    pub async fn soft_delete(&self, event: EventId, now: Millis) -> Result<(), StoreError> {
        let once = || async { in_transaction!(self, |q, tx| q::erasure::soft_delete(tx, event, now).await) };
        once.retry(retries()).when(may_pass).await
    }

    /// Deletes a block of an event's contacts; gives how many, 0 when none are left.
    pub async fn delete_contacts(&self, event: EventId, limit: i64) -> Result<usize, StoreError> {
        in_transaction!(self, |q, tx| q::erasure::delete_contacts(tx, event, limit).await)
    }

    /// Nulls a deleted event's salt, wherever it is kept.
    pub async fn forget_salt(&self, event: EventId) -> Result<(), StoreError> {
        in_transaction!(self, |q, tx| q::erasure::forget_salt(tx, event).await)
    }

    /// Deletions whose last step is not noted yet, oldest first.
    pub async fn unfinished_deletions(&self) -> Result<Vec<UnfinishedDeletion>, StoreError> {
        on_connection!(self, |q, conn| q::erasure::unfinished(conn).await)
    }

    /// Where an event's deletion stands; `None` when nobody asked for one.
    pub async fn deletion_state(&self, event: EventId) -> Result<Option<DeletionState>, StoreError> {
        on_connection!(self, |q, conn| q::erasure::state(conn, event).await)
    }

    /// Notes a deletion's last step.
    pub async fn finish_deletion(
        &self,
        deletion: &UnfinishedDeletion,
        now: Millis,
    ) -> Result<(), StoreError> {
        in_transaction!(self, |q, tx| q::erasure::finish(tx, deletion, now).await)
    }

    /// Destroys a member's contacts that were given until a moment, again.
    pub async fn erase_member_again(&self, member: MemberId, until: Millis) -> Result<(), StoreError> {
        let once = || async {
            in_transaction!(self, |q, tx| q::erasure::erase_member(tx, member, until).await.map(drop))
        };
        once.retry(retries()).when(may_pass).await
    }

    /// What this database knows of deletions and erasures.
    pub async fn contact_erasures(&self) -> Result<Vec<ContactErasureRow>, StoreError> {
        on_connection!(self, |q, conn| q::erasure::all(conn).await)
    }

    /// Copies what must not come back into a database that a log is decided into.
    pub async fn note_erasures(&self, rows: &[ContactErasureRow]) -> Result<(), StoreError> {
        in_transaction!(self, |q, tx| {
            for row in rows {
                if let Some(subject) = super::rows::Subject::from_code(row.subject) {
                    q::erasure::note(tx, subject, row.subject_id, row.erased_until).await?;
                }
            }
            Ok::<_, StoreError>(())
        })
    }
}
