//! Sealing contacts (DESIGN section 8): HPKE (RFC 9180) in base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! ChaCha20-Poly1305, with info `"contact/v1"` and AAD `event | entry id` (8 bytes big-endian, 16 bytes). Whoever holds
//! the public key can seal and cannot open.
//!
//! A sealed contact is `1 | encapsulated key (32) | ciphertext | tag (16)`. The plaintext is JSON, filled with spaces to
//! a multiple of 128 bytes, so that its length says little.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal};
use shared_domain::{Contact, EntryId, EventId};

const VERSION: u8 = 1;
const INFO: &[u8] = b"contact/v1";
const ENCAPSULATED_BYTES: usize = 32;
const BLOCK: usize = 128;

/// A contact that could not be sealed. It says nothing about the contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event's contact key is no public key")]
pub struct SealError;

/// A sealed contact that does not open: sealed for another event or entry, to another key, or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the contact does not open")]
pub struct OpenError;

/// Seals a contact to an event's public key, for one entry.
pub fn seal(
    public_key: &[u8; 32],
    event: EventId,
    entry: EntryId,
    contact: &Contact,
) -> Result<Vec<u8>, SealError> {
    let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(public_key).map_err(|_| SealError)?;
    let mut plain = serde_json::to_vec(contact).map_err(|_| SealError)?;
    plain.resize(plain.len().next_multiple_of(BLOCK), b' ');
    let (encapsulated, sealed) = single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &key,
        INFO,
        &plain,
        &aad(event, entry),
    )
    .map_err(|_| SealError)?;
    Ok([&[VERSION], encapsulated.to_bytes().as_slice(), &sealed].concat())
}

fn aad(event: EventId, entry: EntryId) -> [u8; 24] {
    let mut aad = [0; 24];
    aad[..8].copy_from_slice(&event.to_be_bytes());
    aad[8..].copy_from_slice(entry.as_bytes());
    aad
}

/// The secret half of an event's contact key.
pub struct ContactSecretKey(<X25519HkdfSha256 as Kem>::PrivateKey);

impl std::fmt::Debug for ContactSecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContactSecretKey(..)")
    }
}

impl ContactSecretKey {
    /// From 32 random bytes (RFC 9180, 7.1.3, DeriveKeyPair).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(X25519HkdfSha256::derive_keypair(seed).0)
    }

    /// From the bytes of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        Deserializable::from_bytes(bytes).ok().map(Self)
    }

    /// For wrapping.
    pub(crate) fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&self.0.to_bytes());
        bytes
    }

    /// What contacts are sealed to.
    pub fn public_key(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&X25519HkdfSha256::sk_to_pk(&self.0).to_bytes());
        bytes
    }

    /// Opens an entry's contact.
    pub fn open(&self, event: EventId, entry: EntryId, sealed: &[u8]) -> Result<Contact, OpenError> {
        let [VERSION, rest @ ..] = sealed else { return Err(OpenError) };
        let (encapsulated, sealed) = rest.split_at_checked(ENCAPSULATED_BYTES).ok_or(OpenError)?;
        let encapsulated = Deserializable::from_bytes(encapsulated).map_err(|_| OpenError)?;
        let plain = single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.0,
            &encapsulated,
            INFO,
            sealed,
            &aad(event, entry),
        )
        .map_err(|_| OpenError)?;
        serde_json::from_slice(&plain).map_err(|_| OpenError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u8) -> EntryId {
        EntryId::from_bytes([n; 16])
    }

    fn contact(email: &str) -> Contact {
        Contact { phone_number: None, email: Some(email.to_owned()), address: None }
    }

    #[test]
    fn a_contact_opens_for_its_event_entry_and_key_only() {
        let key = ContactSecretKey::from_seed(&[1; 32]);
        let sealed = seal(&key.public_key(), 7, entry(1), &contact("canary@x.example")).expect("sealed");
        assert!(!sealed.windows(6).any(|part| part == b"canary"));
        let read = ContactSecretKey::from_bytes(&key.to_bytes()).expect("a key");
        assert_eq!(read.open(7, entry(1), &sealed), Ok(contact("canary@x.example")));
        assert_eq!(key.open(8, entry(1), &sealed), Err(OpenError), "another event");
        assert_eq!(key.open(7, entry(2), &sealed), Err(OpenError), "another entry");
        let other = ContactSecretKey::from_seed(&[2; 32]);
        assert_eq!(other.open(7, entry(1), &sealed), Err(OpenError), "another key");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(7, entry(1), &changed), Err(OpenError), "byte {at}");
        }
        for wrong in [&[][..], &sealed[..20], &sealed[..40]] {
            assert_eq!(key.open(7, entry(1), wrong), Err(OpenError));
        }
    }

    #[test]
    fn lengths_say_little_and_no_two_are_alike() {
        let key = ContactSecretKey::from_seed(&[1; 32]).public_key();
        let seal = |email| seal(&key, 7, entry(1), &contact(email)).expect("sealed");
        let (short, long) = (seal("a@b.c"), seal("somebody.with.a.long.name@example.com"));
        assert_eq!((short.len(), long.len()), (1 + 32 + 128 + 16, 1 + 32 + 128 + 16));
        assert_ne!(short, seal("a@b.c"));
    }

    #[test]
    fn what_is_no_key_seals_nothing() {
        // The point of order 1: every secret would be the same (RFC 9180, 7.1.4).
        assert_eq!(seal(&[0; 32], 7, entry(1), &contact("a@b.c")), Err(SealError));
    }
}
