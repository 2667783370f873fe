//! The key store (`KEY_STORE_URL`): what only admin-api reads, with a short backup life of its own (DESIGN section 8).

use clap::Args;
use shared_domain::{EventId, Millis};

use super::error_class::StoreError;
use super::pool::Pool;
use super::rows::{ErasureRow, EventKeyRow, Subject};
use super::{DatabaseArgs, in_transaction, on_connection};
use crate::clock::Random;
use crate::config::{ConfigError, not_empty};
use crate::contact::ContactSecretKey;
use crate::keys::{KeyEncryptionKey, UnwrapError, WrapError};

const BLOCK: i64 = 500;

/// Where the key store is.
#[derive(Debug, Clone, Default, Args)]
pub struct KeyStoreArgs {
    /// `mysql://` or `sqlite://` with the contact keys of events and the list of deletions; unset: DATABASE_URL
    #[arg(long, env = "KEY_STORE_URL", hide_env_values = true, value_parser = not_empty)]
    pub key_store_url: Option<String>,
}

/// Why an event's key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key is destroyed: its event was deleted.
    #[error("the contact key of event {0} is destroyed")]
    Destroyed(EventId),
    /// KEY_ENCRYPTION_KEY_FILE is not what wrapped it.
    #[error("the contact key of event {0} does not open: {1}")]
    Unwrap(EventId, UnwrapError),
    /// No randomness.
    #[error(transparent)]
    Wrap(#[from] WrapError),
}

/// A pool of connections to the key store. Cheap to clone; as with [`Store`](super::Store), never cancel its futures.
#[derive(Clone)]
pub struct KeyStore {
    pool: Pool,
}

impl KeyStore {
    /// Opens it by its own URL, or the database's.
    pub fn of(args: &KeyStoreArgs, database: &DatabaseArgs) -> Result<Self, ConfigError> {
        match (&args.key_store_url, &database.database_url) {
            (Some(url), _) => Self::open("KEY_STORE_URL", database, url),
            (None, Some(url)) => Self::open("DATABASE_URL", database, url),
            (None, None) => Err(ConfigError::required("DATABASE_URL")),
        }
    }

    fn open(setting: &'static str, database: &DatabaseArgs, url: &str) -> Result<Self, ConfigError> {
        let args =
            DatabaseArgs { database_pool_size: database.database_pool_size.min(2), ..database.clone() };
        Ok(Self { pool: Pool::open(setting, &args, url)? })
    }

    /// The public half of an event's contact key, made if there is none. It is in the store when this returns.
    pub async fn public_key(
        &self,
        event: EventId,
        wrapping: &KeyEncryptionKey,
        random: &dyn Random,
        now: Millis,
    ) -> Result<[u8; 32], KeyStoreError> {
        let known = match self.key(event).await? {
            Some(known) => known,
            None => {
                let (public, wrapped) = wrapping.new_contact_key(event)?;
                let row = EventKeyRow {
                    event_id: event,
                    key_id: uuid::Builder::from_custom_bytes(random.id()).into_uuid().as_bytes().to_vec(),
                    public_key: public.to_vec(),
                    wrapped_key: Some(wrapped),
                    wrapped_by: wrapping.id().to_vec(),
                    created_at: now,
                    destroyed_at: None,
                };
                on_connection!(self, |q, conn| q::key_store::insert_key(conn, &row).await)?;
                // Somebody else may have been faster: what stands there counts.
                self.key(event).await?.ok_or_else(|| StoreError::fatal("event_key: the row is gone"))?
            }
        };
        if known.wrapped_key.is_none() {
            return Err(KeyStoreError::Destroyed(event));
        }
        let public = known.public_key.as_slice().try_into();
        Ok(public.map_err(|_| StoreError::fatal("event_key: bad public key"))?)
    }

    /// What opens an event's contacts; `None` where it never had a key, or it is destroyed.
    pub async fn secret_key(
        &self,
        event: EventId,
        wrapping: &KeyEncryptionKey,
    ) -> Result<Option<ContactSecretKey>, KeyStoreError> {
        let Some(wrapped) = self.key(event).await?.and_then(|row| row.wrapped_key) else { return Ok(None) };
        let key = wrapping.contact_key(event, &wrapped).map_err(|why| KeyStoreError::Unwrap(event, why))?;
        Ok(Some(key))
    }

    /// An event's key as it is kept.
    pub async fn key(&self, event: EventId) -> Result<Option<EventKeyRow>, StoreError> {
        on_connection!(self, |q, conn| q::key_store::key(conn, event).await)
    }

    /// An event whose living key another key-encryption key wraps.
    pub async fn wrapped_by_another(
        &self,
        wrapping: &KeyEncryptionKey,
    ) -> Result<Option<EventId>, StoreError> {
        let id = wrapping.id();
        let rows = on_connection!(self, |q, conn| {
            q::key_store::keys_not_wrapped_by(conn, &id, EventId::MIN, 1).await
        })?;
        Ok(rows.first().map(|row| row.event_id))
    }

    /// Wraps every living key by `to` instead of `from`; gives how many it found to do. What is wrapped by `to` already
    /// is left, so it may be run again. Errors: a key that neither wraps.
    pub async fn rotate(&self, from: &KeyEncryptionKey, to: &KeyEncryptionKey) -> Result<u64, KeyStoreError> {
        let (id, mut after, mut done) = (to.id(), EventId::MIN, 0);
        loop {
            let rows = on_connection!(self, |q, conn| {
                q::key_store::keys_not_wrapped_by(conn, &id, after, BLOCK).await
            })?;
            let Some(last) = rows.last() else { return Ok(done) };
            after = last.event_id;
            for row in &rows {
                let event = row.event_id;
                let Some(wrapped) = &row.wrapped_key else { continue };
                let again =
                    from.rewrap(event, wrapped, to).map_err(|why| KeyStoreError::Unwrap(event, why))?;
                let changed = on_connection!(self, |q, conn| {
                    q::key_store::rewrap(conn, row, again.clone(), &id).await
                })?;
                done += u64::from(changed);
            }
        }
    }

    /// Notes the deletion of an event and destroys its contact key, in one transaction.
    pub async fn delete_event(&self, deletion: &ErasureRow, now: Millis) -> Result<(), StoreError> {
        in_transaction!(self, |q, tx| {
            q::key_store::note(tx, deletion).await?;
            q::key_store::destroy_key(tx, deletion.subject_id, now).await
        })
    }

    /// Adds to the list of deletions and erasures, once by its id; gives what stands there.
    pub async fn note(&self, erasure: &ErasureRow) -> Result<ErasureRow, StoreError> {
        on_connection!(self, |q, conn| q::key_store::note(conn, erasure).await)
    }

    /// Keeps what staff are told in the end; the first word stands.
    pub async fn complete(&self, erasure_id: &[u8], record: &str) -> Result<(), StoreError> {
        on_connection!(self, |q, conn| q::key_store::complete(conn, erasure_id, record).await)
    }

    /// Deletions or erasures of one event or member, oldest first.
    pub async fn erasures_of(&self, subject: Subject, id: i64) -> Result<Vec<ErasureRow>, StoreError> {
        on_connection!(self, |q, conn| q::key_store::of(conn, subject, id).await)
    }

    /// The certificate, unsigned, of the deletion that was asked for last, of those that have ended.
    pub async fn last_certificate(&self) -> Result<Option<String>, StoreError> {
        on_connection!(self, |q, conn| q::key_store::last_certificate(conn).await)
    }

    /// The list behind an id, in blocks.
    pub async fn erasures(&self, after: &[u8]) -> Result<Vec<ErasureRow>, StoreError> {
        on_connection!(self, |q, conn| q::key_store::list(conn, after, BLOCK).await)
    }
}
