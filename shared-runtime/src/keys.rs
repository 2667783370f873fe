//! The decision key (`DECISION_KEY_FILE`): wraps what outcomes are made from, reward keys and draw seeds, so that the log
//! and the database can carry them and only admin-api, the workers and `replay` can read them (DESIGN section 8).
//!
//! A wrapped secret is `1 | nonce (12) | AES-256-GCM ciphertext (32) | tag (16)`, 61 bytes, with the AAD
//! `purpose | event` (`"reward-key/v1"` or `"draw-seed/v1"`, the event as 8 bytes big-endian): what was wrapped for one
//! event and purpose opens for no other. Nonces are random, NIST SP 800-38D allows 2^32 of them a key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use clap::Args;
use shared_domain::draw::Seed;
use shared_domain::{Digest, EventId, RewardKey};

use crate::auth::{DevKeyError, read_secret_file, write_secret_file};
use crate::config::ConfigError;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;
const SECRET_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Length of a wrapped secret.
pub const WRAPPED_BYTES: usize = 1 + NONCE_BYTES + SECRET_BYTES + TAG_BYTES;

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    RewardKey,
    DrawSeed,
}

impl Purpose {
    fn aad(self, event: EventId) -> Aad<Vec<u8>> {
        let name: &[u8] = match self {
            Self::RewardKey => b"reward-key/v1",
            Self::DrawSeed => b"draw-seed/v1",
        };
        Aad::from([name, &event.to_be_bytes()].concat())
    }
}

/// A wrapped secret that this key does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// Not of the form that this build writes.
    #[error("a wrapped secret has {WRAPPED_BYTES} bytes and version {VERSION}")]
    Form,
    /// Another decision key, another event or purpose, or changed bytes.
    #[error("the secret does not open: DECISION_KEY_FILE is not the key that wrapped it, or it was changed")]
    Sealed,
}

/// Making a secret or sealing it failed: the library has no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no randomness for a secret")]
pub struct WrapError;

impl From<Unspecified> for WrapError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// 32 bytes that wrap reward keys and seeds.
pub struct DecisionKey(RandomizedNonceKey);

impl std::fmt::Debug for DecisionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DecisionKey(..)")
    }
}

impl DecisionKey {
    /// From its bytes.
    pub fn new(key: &[u8; SECRET_BYTES]) -> Self {
        #[allow(clippy::expect_used)]
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).expect("AES-256 takes keys of 32 bytes");
        Self(key)
    }

    /// Reads a key file of exactly 32 bytes.
    pub fn read(path: &Path) -> Result<Self, DevKeyError> {
        read_secret_file(path).map(|key| Self::new(&key))
    }

    /// Reads the file, or makes it with mode 0600 when there is none (embedded).
    pub fn read_or_create(path: &Path) -> Result<Self, DevKeyError> {
        let fresh = rand::random();
        match write_secret_file(path, &fresh) {
            Ok(()) => Ok(Self::new(&fresh)),
            Err(DevKeyError::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::read(path)
            }
            Err(error) => Err(error),
        }
    }

    /// A new reward key for an event, wrapped for its `Scheduled` record.
    pub fn new_reward_key(&self, event: EventId) -> Result<Vec<u8>, WrapError> {
        self.wrap(Purpose::RewardKey, event, &fresh_secret()?)
    }

    /// An event's reward key.
    pub fn reward_key(&self, event: EventId, wrapped: &[u8]) -> Result<RewardKey, UnwrapError> {
        self.unwrap(Purpose::RewardKey, event, wrapped).map(|key| RewardKey::new(&key))
    }

    /// A new seed for an event's draw, with its wrapped form; the caller publishes [`Seed::commitment`].
    pub fn new_seed(&self, event: EventId) -> Result<(Seed, Vec<u8>), WrapError> {
        let seed = Seed::new(fresh_secret()?);
        let wrapped = self.wrap(Purpose::DrawSeed, event, seed.as_bytes())?;
        Ok((seed, wrapped))
    }

    /// The seed of an event's draw. Whoever draws compares its commitment with the scheduled one first.
    pub fn seed(&self, event: EventId, wrapped: &[u8]) -> Result<Seed, UnwrapError> {
        self.unwrap(Purpose::DrawSeed, event, wrapped).map(Seed::new)
    }

    fn wrap(
        &self,
        purpose: Purpose,
        event: EventId,
        secret: &[u8; SECRET_BYTES],
    ) -> Result<Vec<u8>, WrapError> {
        let mut sealed = secret.to_vec();
        let nonce = self.0.seal_in_place_append_tag(purpose.aad(event), &mut sealed)?;
        Ok([&[VERSION], nonce.as_ref().as_slice(), &sealed].concat())
    }

    fn unwrap(
        &self,
        purpose: Purpose,
        event: EventId,
        wrapped: &[u8],
    ) -> Result<[u8; SECRET_BYTES], UnwrapError> {
        let [VERSION, rest @ ..] = wrapped else { return Err(UnwrapError::Form) };
        if wrapped.len() != WRAPPED_BYTES {
            return Err(UnwrapError::Form);
        }
        let (nonce, sealed) = rest.split_at(NONCE_BYTES);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| UnwrapError::Form)?;
        let mut secret = sealed.to_vec();
        let open = self.0.open_in_place(nonce, purpose.aad(event), &mut secret);
        let open = open.map_err(|_| UnwrapError::Sealed)?;
        <[u8; SECRET_BYTES]>::try_from(&*open).map_err(|_| UnwrapError::Form)
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
    #[error(transparent)]
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

/// 32 bytes of the library's cryptographic generator.
fn fresh_secret() -> Result<[u8; SECRET_BYTES], WrapError> {
    let mut secret = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut secret)?;
    Ok(secret)
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
