//! Wrapping one key by another, the same for both wrapping keys.
//!
//! A wrapped secret is `1 | nonce (12) | AES-256-GCM ciphertext (32) | tag (16)`, 61 bytes, with the AAD
//! `purpose | event` (a name such as `"reward-key/v1"`, the event as 8 bytes big-endian): what was wrapped for one event
//! and purpose opens for no other. Nonces are random, NIST SP 800-38D allows 2^32 of them a key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use shared_domain::EventId;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;
pub(super) const SECRET_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Length of a wrapped secret.
pub const WRAPPED_BYTES: usize = 1 + NONCE_BYTES + SECRET_BYTES + TAG_BYTES;

/// A wrapped secret that this key does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// Not of the form that this build writes.
    #[error("a wrapped secret has {WRAPPED_BYTES} bytes and version {VERSION}")]
    Form,
    /// Another wrapping key, another event or purpose, or changed bytes.
    #[error("the secret does not open: the key file is not the one that wrapped it, or it was changed")]
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

/// 32 bytes that wrap 32 bytes.
pub(super) struct WrappingKey(RandomizedNonceKey);

impl WrappingKey {
    pub(super) fn new(key: &[u8; SECRET_BYTES]) -> Self {
        #[allow(clippy::expect_used)]
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).expect("AES-256 takes keys of 32 bytes");
        Self(key)
    }

    pub(super) fn wrap(
        &self,
        purpose: &[u8],
        event: EventId,
        secret: &[u8; SECRET_BYTES],
    ) -> Result<Vec<u8>, WrapError> {
        let mut sealed = secret.to_vec();
        let nonce = self.0.seal_in_place_append_tag(aad(purpose, event), &mut sealed)?;
        Ok([&[VERSION], nonce.as_ref().as_slice(), &sealed].concat())
    }

    pub(super) fn unwrap(
        &self,
        purpose: &[u8],
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
        let open = self.0.open_in_place(nonce, aad(purpose, event), &mut secret);
        let open = open.map_err(|_| UnwrapError::Sealed)?;
        <[u8; SECRET_BYTES]>::try_from(&*open).map_err(|_| UnwrapError::Form)
    }
}

fn aad(purpose: &[u8], event: EventId) -> Aad<Vec<u8>> {
    Aad::from([purpose, &event.to_be_bytes()].concat())
}

/// 32 bytes of the library's cryptographic generator.
pub(super) fn fresh_secret() -> Result<[u8; SECRET_BYTES], WrapError> {
    let mut secret = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut secret)?;
    Ok(secret)
}
