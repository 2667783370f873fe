//! Carries deletions out, step by step, and tells a restored database again what was deleted and erased.
//!
//! It may be killed anywhere: the command's open row says that a deletion is not finished, and every step may be met
//! again. The order is DESIGN section 8's: command, contact key, event, contacts, salt.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shared_domain::{EventId, Lifecycle as Stage};
use shared_proto::Lane;
use shared_runtime::config::{ConfigError, StartError};
use shared_runtime::keys::KeyEncryptionKey;
use shared_runtime::lifecycle::{Component, Lifecycle};
use shared_runtime::store::commands::{
    Change, Changed, CommandError, ERASURE_SKEW_MS, StaffRequest, delete_command_id,
};
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::{ContactErasureRow, ErasureRow, Subject};
use shared_runtime::store::{KeyStore, UnfinishedDeletion};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{AdminParts, certificate};

const TICK: Duration = Duration::from_secs(1);
const LANES_EVERY: Duration = Duration::from_millis(200);
/// Contacts a transaction.
const BLOCK: i64 = 1_000;

/// Why a step was not done. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The deletion could not be asked for again.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The log does not say where its lanes end.
    #[error("the ends of the lanes are not known: {0}")]
    Log(String),
}

/// The start is refused where KEY_ENCRYPTION_KEY_FILE is not what wraps the contact keys: exports would find every
/// contact unreadable, and new keys would be wrapped by another.
pub async fn check_key_encryption_key(
    keys: &KeyStore,
    wrapping: &KeyEncryptionKey,
) -> Result<(), StartError> {
    let unreachable = |error| StartError::unreachable("KEY_STORE_URL", error);
    match keys.wrapped_by_another(wrapping).await.map_err(unreachable)? {
        None => Ok(()),
        Some(event) => {
            let problem = format!(
                "is not what wraps the contact key of event {event}; after a rotation name the new file, \
                 and finish `event-system keys rotate`"
            );
            Err(ConfigError::new("KEY_ENCRYPTION_KEY_FILE", problem).into())
        }
    }
}

/// See the module. Clones share it.
#[derive(Clone)]
pub struct Eraser(Arc<Inner>);

struct Inner {
    parts: Arc<AdminParts>,
    /// Nothing that was erased is to be seen any more.
    is_open: AtomicBool,
    wake: Notify,
}

impl Eraser {
    pub(crate) fn new(parts: Arc<AdminParts>) -> Self {
        Self(Arc::new(Inner { parts, is_open: AtomicBool::new(true), wake: Notify::new() }))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.is_open.load(Ordering::Acquire)
    }

    pub(crate) fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Runs for the life of the process. Two components: `erasures` is ready when the list is applied (requests are
    /// refused until then), `lanes` when every lane has passed the end of the log that was seen at the start.
    pub fn spawn(&self, life: &Lifecycle) {
        self.0.is_open.store(false, Ordering::Release);
        let (listed, caught_up) = (life.component("erasures"), life.component("lanes"));
        let (eraser, stop) = (self.clone(), life.shutdown_token());
        life.spawn("eraser", async move {
            eraser.restore_until(&listed, &stop).await;
            eraser.run(&stop).await;
            Ok(())
        });
        let (eraser, stop) = (self.clone(), life.shutdown_token());
        life.spawn("restored lanes", async move {
            eraser.catch_up_until(&caught_up, &stop).await;
            stop.cancelled().await;
            Ok(())
        });
    }

    /// Waits until requests are answered.
    pub async fn opened(&self) {
        while !self.is_open() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn restore_until(&self, listed: &Component, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.restore().await {
                Ok(()) => {
                    self.0.is_open.store(true, Ordering::Release);
                    return listed.ready();
                }
                Err(error) => {
                    tracing::warn!(%error, "the list of deletions is not applied yet");
                    listed.not_ready(error.to_string());
                    pause(TICK, stop).await;
                }
            }
        }
    }

    async fn run(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.pass().await {
                metrics::counter!("event_deletion_errors_total").increment(1);
                tracing::warn!(%error, "a deletion could not go on");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Tells the database again what was deleted and erased: it may be a backup. And the list, which may be one too.
    pub async fn restore(&self) -> Result<(), EraseError> {
        let parts = &self.0.parts;
        let known: HashMap<(i16, i64), ContactErasureRow> = parts
            .store
            .contact_erasures()
            .await?
            .into_iter()
            .map(|row| ((row.subject, row.subject_id), row))
            .collect();
        let mut list: HashMap<(i16, i64), ErasureRow> = HashMap::new();
        let mut after = Vec::new();
        loop {
            let rows = parts.keys.erasures(&after).await?;
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.erasure_id);
            for row in rows {
                // Of several erasures of one member the last counts.
                let place = (row.subject, row.subject_id);
                if list.get(&place).is_none_or(|other| other.erased_at < row.erased_at) {
                    list.insert(place, row);
                }
            }
        }
        for ((subject, id), row) in &list {
            match Subject::from_code(*subject) {
                Some(Subject::Event) => self.delete_again(*id, row).await?,
                Some(Subject::Member) => {
                    let until = row.erased_at.saturating_add(ERASURE_SKEW_MS);
                    let done =
                        known.get(&(*subject, *id)).is_some_and(|k| k.is_done && k.erased_until >= until);
                    if !done {
                        parts.store.erase_member_again(*id, until).await?;
                        tracing::warn!(member_id = id, "erased a member's contacts again");
                    }
                }
                None => tracing::error!(subject, "an erasure of an unknown kind"),
            }
        }
        for ((subject, id), row) in known.iter().filter(|(place, _)| !list.contains_key(place)) {
            self.list_again(*subject, *id, row).await?;
        }
        self.pass().await
    }

    async fn delete_again(&self, event: EventId, noted: &ErasureRow) -> Result<(), EraseError> {
        let parts = &self.0.parts;
        let now = parts.clock.now_ms();
        match parts.store.event(event).await? {
            // Its `Scheduled` may still come, with contacts.
            None => parts.store.soft_delete(event, now).await?,
            Some(row) if row.deleted_at.is_some() => {}
            Some(row) if row.lifecycle == Stage::Draft.code() => {
                tracing::error!(
                    event_id = event,
                    "a draft has the number of a deleted event; it is left alone"
                );
            }
            // Only begun: it goes on where it stopped.
            Some(_) if parts.store.command(&delete_command_id(event)).await?.is_some() => {}
            Some(_) => {
                tracing::warn!(event_id = event, "deleting an event again");
                let request = StaffRequest {
                    actor: noted.actor.clone(),
                    request_id: noted.request_id.clone(),
                    route: String::new(),
                    key: None,
                    now,
                };
                let answer = |_: &Changed| (202, String::new());
                parts.store.change(&request, &Change::DeleteAgain(event), &*parts.random, &answer).await?;
            }
        }
        Ok(())
    }

    /// The key store is older than the database: its list learns what it has forgotten, and a key dies again.
    async fn list_again(&self, subject: i16, id: i64, row: &ContactErasureRow) -> Result<(), EraseError> {
        let parts = &self.0.parts;
        let now = parts.clock.now_ms();
        tracing::warn!(subject, id, "the key store's list lacks an erasure");
        let is_event = subject == Subject::Event.code();
        let noted = ErasureRow {
            erasure_id: if is_event { delete_command_id(id) } else { parts.random.id() }.to_vec(),
            subject,
            subject_id: id,
            actor: "restore".to_owned(),
            request_id: "restore".to_owned(),
            erased_at: if is_event { now } else { row.erased_until.saturating_sub(ERASURE_SKEW_MS) },
            record: None,
        };
        if is_event {
            parts.keys.delete_event(&noted, now).await?;
        } else {
            parts.keys.note(&noted).await?;
        }
        Ok(())
    }

    /// One step of each unfinished deletion after the other, as far as it goes now. Errors: the first that failed; the
    /// others were tried.
    pub async fn pass(&self) -> Result<(), EraseError> {
        let deletions = self.0.parts.store.unfinished_deletions().await?;
        let (mut open, mut outcome) = (0_u32, Ok(()));
        for deletion in &deletions {
            match self.carry_on(deletion).await {
                Ok(true) => tracing::info!(event_id = deletion.event_id, "an event's contacts are gone"),
                Ok(false) => open += 1,
                Err(error) => {
                    open += 1;
                    outcome = outcome.and(Err(error));
                }
            }
        }
        metrics::gauge!("event_deletions_unfinished").set(f64::from(open));
        outcome
    }

    /// True when the deletion is complete; false while lanes have not applied it.
    async fn carry_on(&self, deletion: &UnfinishedDeletion) -> Result<bool, EraseError> {
        let (store, keys, event) = (&self.0.parts.store, &self.0.parts.keys, deletion.event_id);
        let noted = ErasureRow {
            erasure_id: deletion.command_id.to_vec(),
            subject: Subject::Event.code(),
            subject_id: event,
            actor: deletion.actor.clone(),
            request_id: deletion.request_id.clone(),
            erased_at: deletion.asked_at,
            record: None,
        };
        keys.delete_event(&noted, self.0.parts.clock.now_ms()).await?;
        let state = store.deletion_state(event).await?;
        if state.is_none_or(|state| state.deleted_at.is_none()) {
            store.soft_delete(event, self.0.parts.clock.now_ms()).await?;
        }
        while store.delete_contacts(event, BLOCK).await? > 0 {}
        store.forget_salt(event).await?;
        let Some(state) = store.deletion_state(event).await?.filter(|state| state.is_applied) else {
            return Ok(false);
        };
        // Its command is in the log by now, so the outbox needs it no more.
        store.forget_salt(event).await?;
        let (key, now) = (keys.key(event).await?, self.0.parts.clock.now_ms());
        let life = self.0.parts.backup_life;
        let complete = certificate::of_event(event, key.as_ref(), Some(&state), Some(now), life);
        keys.complete(&deletion.command_id, &complete.to_string()).await?;
        store.finish_deletion(deletion, now).await?;
        Ok(true)
    }

    /// A restored database is behind the log: events that it does not know may still come, and their numbers must not be
    /// given to others.
    async fn catch_up_until(&self, caught_up: &Component, stop: &CancellationToken) {
        let parts = &self.0.parts;
        let lanes = parts.event_topics.lanes();
        let mut ends = None;
        while !stop.is_cancelled() {
            if ends.is_none() {
                ends = parts
                    .ends
                    .ends(lanes.clone())
                    .await
                    .inspect_err(|error| {
                        caught_up.not_ready(format!("the ends of the lanes are not known: {error}"));
                    })
                    .ok();
            }
            if let Some(ends) = &ends {
                match self.behind(&lanes, ends).await {
                    Ok(None) => return caught_up.ready(),
                    Ok(Some(lane)) => {
                        caught_up.not_ready(format!("{lane} has not passed the end seen at the start"))
                    }
                    Err(error) => caught_up.not_ready(error.to_string()),
                }
            }
            pause(LANES_EVERY, stop).await;
        }
    }

    /// A lane that has not passed its end.
    async fn behind<'l>(&self, lanes: &'l [Lane], ends: &[i64]) -> Result<Option<&'l Lane>, StoreError> {
        let (log_id, rows) = (self.0.parts.ends.log_id(), self.0.parts.store.progress_rows().await?);
        let passed = |lane: &Lane, end: i64| {
            end == 0
                || rows.iter().any(|row| {
                    row.log_id == log_id
                        && row.topic == lane.topic
                        && row.partition_id == lane.partition
                        && row.next_offset >= end
                })
        };
        Ok(lanes.iter().zip(ends).find(|(lane, end)| !passed(lane, **end)).map(|(lane, _)| lane))
    }
}

async fn pause(time: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}
