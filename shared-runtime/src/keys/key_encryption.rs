//! The key-encryption key (`KEY_ENCRYPTION_KEY_FILE`): wraps the contact keys of events in the key store, and signs the
//! certificates of deletion. Only admin-api reads it (and the operator's `event-system keys rotate`).

use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use clap::Args;
use shared_domain::EventId;

use super::read_or_create;
use super::wrapping::{SECRET_BYTES, UnwrapError, WrapError, WrappingKey, fresh_secret};
use crate::auth::{DevKeyError, read_secret_file};
use crate::config::ConfigError;
use crate::contact::ContactSecretKey;

const CONTACT_KEY: &[u8] = b"contact-key/v1";
const KEY_ID: &[u8] = b"key-encryption-key-id/v1";
const CERTIFICATE_KEY: &[u8] = b"deletion-certificate/v1";

/// Tells wrapping keys apart and tells nothing of them: HMAC-SHA256(key, "key-encryption-key-id/v1"), 16 bytes.
pub type KeyId = [u8; 16];

/// 32 bytes that wrap contact keys.
pub struct KeyEncryptionKey {
    wrapping: WrappingKey,
    id: KeyId,
    signing: Ed25519KeyPair,
}

impl std::fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyEncryptionKey(..)")
    }
}

impl KeyEncryptionKey {
    /// From its bytes.
    pub fn new(key: &[u8; SECRET_BYTES]) -> Self {
        let derived = |label: &[u8]| -> [u8; SECRET_BYTES] {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
            let tag = aws_lc_rs::hmac::sign(&key, label);
            let mut bytes = [0; SECRET_BYTES];
            bytes.copy_from_slice(tag.as_ref());
            bytes
        };
        let mut id = KeyId::default();
        id.copy_from_slice(&derived(KEY_ID)[..16]);
        #[allow(clippy::expect_used)]
        let signing = Ed25519KeyPair::from_seed_unchecked(&derived(CERTIFICATE_KEY))
            .expect("every 32 bytes are an Ed25519 seed");
        Self { wrapping: WrappingKey::new(key), id, signing }
    }

    /// Reads a key file of exactly 32 bytes.
    pub fn read(path: &Path) -> Result<Self, DevKeyError> {
        read_secret_file(path).map(|key| Self::new(&key))
    }

    /// Reads the file, or makes it with mode 0600 when there is none (embedded).
    pub fn read_or_create(path: &Path) -> Result<Self, DevKeyError> {
        read_or_create(path).map(|key| Self::new(&key))
    }

    /// Which key it is.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// A new contact key for an event: its public half, and the secret one wrapped for the key store.
    pub fn new_contact_key(&self, event: EventId) -> Result<([u8; 32], Vec<u8>), WrapError> {
        let secret = ContactSecretKey::from_seed(&fresh_secret()?);
        let wrapped = self.wrapping.wrap(CONTACT_KEY, event, &secret.to_bytes())?;
        Ok((secret.public_key(), wrapped))
    }

    /// An event's contact key.
    pub fn contact_key(&self, event: EventId, wrapped: &[u8]) -> Result<ContactSecretKey, UnwrapError> {
        let bytes = self.wrapping.unwrap(CONTACT_KEY, event, wrapped)?;
        ContactSecretKey::from_bytes(&bytes).ok_or(UnwrapError::Form)
    }

    /// The same contact key, wrapped by `to` instead. Errors: this key did not wrap it.
    pub fn rewrap(&self, event: EventId, wrapped: &[u8], to: &Self) -> Result<Vec<u8>, UnwrapError> {
        let bytes = self.wrapping.unwrap(CONTACT_KEY, event, wrapped)?;
        to.wrapping.wrap(CONTACT_KEY, event, &bytes).map_err(|_| UnwrapError::Form)
    }

    /// Signs a certificate (Ed25519, RFC 8032), by a seed derived from this key.
    pub fn sign(&self, certificate: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.signing.sign(certificate).as_ref());
        signature
    }

    /// Who checks certificates needs this, and nothing secret.
    pub fn verifying_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.signing.public_key().as_ref());
        key
    }
}

/// Where the key-encryption key is.
#[derive(Debug, Clone, Default, Args)]
pub struct KeyEncryptionArgs {
    /// 32 bytes that wrap the contact keys of events (`event-system keys init` makes them)
    #[arg(long, env)]
    pub key_encryption_key_file: Option<PathBuf>,
}

impl KeyEncryptionArgs {
    /// Reads the key. Errors: the setting or its file is missing, or no key.
    pub fn read(&self) -> Result<KeyEncryptionKey, ConfigError> {
        let path = self.key_encryption_key_file.as_ref().ok_or_else(|| {
            ConfigError::new("KEY_ENCRYPTION_KEY_FILE", "is required: `event-system keys init` makes one")
        })?;
        KeyEncryptionKey::read(path).map_err(|e| ConfigError::new("KEY_ENCRYPTION_KEY_FILE", e))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    use shared_domain::{Contact, EntryId};

    use super::*;
    use crate::contact::seal;

    #[test]
    fn a_contact_key_comes_back_for_its_event_and_wrapping_key_only() {
        let (key, other) = (KeyEncryptionKey::new(&[1; 32]), KeyEncryptionKey::new(&[2; 32]));
        assert_ne!(key.id(), other.id());
        let (public, wrapped) = key.new_contact_key(5).expect("wrapped");
        assert_eq!(key.contact_key(5, &wrapped).expect("opens").public_key(), public);
        assert_eq!(key.contact_key(6, &wrapped).err(), Some(UnwrapError::Sealed));
        assert_eq!(other.contact_key(5, &wrapped).err(), Some(UnwrapError::Sealed));
        let again = key.rewrap(5, &wrapped, &other).expect("rewrapped");
        assert_eq!(key.contact_key(5, &again).err(), Some(UnwrapError::Sealed));
        let entry = EntryId::from_bytes([3; 16]);
        let contact = Contact { phone_number: None, email: Some("a@b.example".into()), address: None };
        let sealed = seal(&public, 5, entry, &contact).expect("sealed");
        assert_eq!(other.contact_key(5, &again).expect("opens").open(5, entry, &sealed), Ok(contact));
    }

    #[test]
    fn certificates_are_checked_by_the_public_key_alone() {
        let key = KeyEncryptionKey::new(&[1; 32]);
        let signature = key.sign(b"gone");
        let verifying = UnparsedPublicKey::new(&ED25519, key.verifying_key());
        assert!(
            verifying.verify(b"gone", &signature).is_ok() && verifying.verify(b"here", &signature).is_err()
        );
    }

    #[test]
    fn the_setting_is_named_where_it_is_wrong() {
        let missing = KeyEncryptionArgs::default().read().expect_err("required");
        assert_eq!(missing.setting, "KEY_ENCRYPTION_KEY_FILE");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key-encryption.key");
        let made = KeyEncryptionKey::read_or_create(&path).expect("made");
        let args = KeyEncryptionArgs { key_encryption_key_file: Some(path) };
        assert_eq!(args.read().expect("read").id(), made.id());
    }
}
