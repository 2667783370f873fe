//! Keys that wrap other keys (DESIGN section 8). Two of them, for two circles of readers: the [`DecisionKey`] wraps what
//! outcomes are made from (admin-api, workers, `replay`), the [`KeyEncryptionKey`] what opens contacts (admin-api alone).

mod key_encryption;
mod wrapping;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use shared_domain::draw::Seed;
use shared_domain::{Digest, EventId, RewardKey};

use crate::auth::{DevKeyError, read_secret_file, write_secret_file};
use crate::config::ConfigError;

pub use key_encryption::{KeyEncryptionArgs, KeyEncryptionKey, KeyId};
use wrapping::{SECRET_BYTES, WrappingKey, fresh_secret};
pub use wrapping::{UnwrapError, WRAPPED_BYTES, WrapError};

const REWARD_KEY: &[u8] = b"reward-key/v1";
const DRAW_SEED: &[u8] = b"draw-seed/v1";

/// 32 bytes that wrap reward keys and seeds (`DECISION_KEY_FILE`), so that the log and the database can carry them.
pub struct DecisionKey(WrappingKey);

impl std::fmt::Debug for DecisionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DecisionKey(..)")
    }
}

impl DecisionKey {
    /// From its bytes.
    pub fn new(key: &[u8; SECRET_BYTES]) -> Self {
        Self(WrappingKey::new(key))
    }

    /// Reads a key file of exactly 32 bytes.
    pub fn read(path: &Path) -> Result<Self, DevKeyError> {
        read_secret_file(path).map(|key| Self::new(&key))
    }

    /// Reads the file, or makes it with mode 0600 when there is none (embedded).
    pub fn read_or_create(path: &Path) -> Result<Self, DevKeyError> {
        read_or_create(path).map(|key| Self::new(&key))
    }

    /// A new reward key for an event, wrapped for its `Scheduled` record.
    pub fn new_reward_key(&self, event: EventId) -> Result<Vec<u8>, WrapError> {
        self.0.wrap(REWARD_KEY, event, &fresh_secret()?)
    }

    /// An event's reward key.
    pub fn reward_key(&self, event: EventId, wrapped: &[u8]) -> Result<RewardKey, UnwrapError> {
        self.0.unwrap(REWARD_KEY, event, wrapped).map(|key| RewardKey::new(&key))
    }

    /// A new seed for an event's draw, with its wrapped form; the caller publishes [`Seed::commitment`].
    pub fn new_seed(&self, event: EventId) -> Result<(Seed, Vec<u8>), WrapError> {
        let seed = Seed::new(fresh_secret()?);
        let wrapped = self.0.wrap(DRAW_SEED, event, seed.as_bytes())?;
        Ok((seed, wrapped))
    }

    /// The seed of an event's draw. Whoever draws compares its commitment with the scheduled one first.
    pub fn seed(&self, event: EventId, wrapped: &[u8]) -> Result<Seed, UnwrapError> {
        self.0.unwrap(DRAW_SEED, event, wrapped).map(Seed::new)
    }
}

/// What scheduling makes for an event: its reward key and its draw's seed, wrapped, and the seed's public commitment. An
/// event takes those that its definition needs.
#[derive(Debug, Clone)]
pub struct EventSecrets {
    /// Wrapped reward key.
    pub reward_key: Vec<u8>,
    /// Wrapped seed.
    pub seed: Vec<u8>,
    /// [`Seed::commitment`].
    pub commitment: Digest,
}

impl EventSecrets {
    /// New ones for an event.
    pub fn new(key: &DecisionKey, event: EventId) -> Result<Self, WrapError> {
        let (seed, wrapped) = key.new_seed(event)?;
        Ok(Self { reward_key: key.new_reward_key(event)?, commitment: seed.commitment(event), seed: wrapped })
    }
}

/// Why a worker has no reward key at hand: its lane halts, for a later worker with the right key decides the same records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RewardKeyError {
    /// The setting is not there.
    #[error("DECISION_KEY_FILE is not set")]
    NotSet,
    /// Not the key, or not its work.
    #[error("DECISION_KEY_FILE: {0}")]
    Unwrap(#[from] UnwrapError),
}

/// Opens reward keys for a worker; without a decision key it opens none.
#[derive(Debug, Clone, Default)]
pub struct RewardKeys(Option<Arc<DecisionKey>>);

impl RewardKeys {
    /// With the key of the settings.
    pub fn new(key: Option<Arc<DecisionKey>>) -> Self {
        Self(key)
    }

    /// The reward key of an event's definition.
    pub fn open(&self, event: EventId, wrapped: &[u8]) -> Result<RewardKey, RewardKeyError> {
        let key = self.0.as_ref().ok_or(RewardKeyError::NotSet)?;
        Ok(key.reward_key(event, wrapped)?)
    }
}

/// Reads a key file, or makes it with mode 0600 when there is none (embedded).
fn read_or_create(path: &Path) -> Result<[u8; SECRET_BYTES], DevKeyError> {
    let fresh = rand::random();
    match write_secret_file(path, &fresh) {
        Ok(()) => Ok(fresh),
        Err(DevKeyError::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
            read_secret_file(path)
        }
        Err(error) => Err(error),
    }
}

/// Where the decision key is.
#[derive(Debug, Clone, Args)]
pub struct DecisionKeyArgs {
    /// 32 bytes that wrap reward keys and draw seeds (`event-system keys init` makes them)
    #[arg(long, env)]
    pub decision_key_file: Option<PathBuf>,
}

impl DecisionKeyArgs {
    /// Reads the key. Errors: the setting or its file is missing, or no key.
    pub fn read(&self) -> Result<Arc<DecisionKey>, ConfigError> {
        self.read_if_set()?.ok_or_else(|| {
            ConfigError::new("DECISION_KEY_FILE", "is required: `event-system keys init` makes one")
        })
    }

    /// The same where the setting may be missing: a worker decides everything but random rewards without it.
    pub fn read_if_set(&self) -> Result<Option<Arc<DecisionKey>>, ConfigError> {
        let Some(path) = &self.decision_key_file else { return Ok(None) };
        let key = DecisionKey::read(path).map_err(|e| ConfigError::new("DECISION_KEY_FILE", e))?;
        Ok(Some(Arc::new(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> DecisionKey {
        DecisionKey::new(&[7; 32])
    }

    #[test]
    fn secrets_come_back_for_their_event_and_purpose_only() {
        let (seed, wrapped) = key().new_seed(5).expect("wrapped");
        assert_eq!(wrapped.len(), WRAPPED_BYTES);
        assert_eq!(key().seed(5, &wrapped), Ok(seed.clone()));
        assert_eq!(key().seed(6, &wrapped), Err(UnwrapError::Sealed));
        assert_eq!(key().reward_key(5, &wrapped).err(), Some(UnwrapError::Sealed));
        assert_eq!(DecisionKey::new(&[8; 32]).seed(5, &wrapped), Err(UnwrapError::Sealed));
        assert!(!wrapped.windows(8).any(|part| seed.as_bytes().windows(8).any(|s| s == part)));
        let (other, again) = key().new_seed(5).expect("wrapped");
        assert!(seed != other && wrapped != again, "each is new");
        let reward = key().new_reward_key(5).expect("wrapped");
        assert!(key().reward_key(5, &reward).is_ok());
    }

    #[test]
    fn changed_bytes_do_not_open() {
        let (_, wrapped) = key().new_seed(5).expect("wrapped");
        for at in 1..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert_eq!(key().seed(5, &changed), Err(UnwrapError::Sealed), "byte {at}");
        }
        let newer = [&[2], &wrapped[1..]].concat();
        for wrong in [&[][..], &wrapped[..60], &newer] {
            assert_eq!(key().seed(5, wrong), Err(UnwrapError::Form));
        }
    }

    #[test]
    fn the_setting_is_named_where_it_is_wrong() {
        let missing = DecisionKeyArgs { decision_key_file: None }.read().expect_err("required");
        assert_eq!(missing.setting, "DECISION_KEY_FILE");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("decision.key");
        let made = DecisionKey::read_or_create(&path).expect("made");
        let (seed, wrapped) = made.new_seed(1).expect("wrapped");
        let read = DecisionKeyArgs { decision_key_file: Some(path.clone()) }.read().expect("read");
        assert_eq!(read.seed(1, &wrapped), Ok(seed));
        std::fs::write(&path, b"short").expect("written");
        let short = DecisionKeyArgs { decision_key_file: Some(path) }.read().expect_err("too short");
        assert!(short.to_string().contains("32 bytes"), "{short}");
    }
}
