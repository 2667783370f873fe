//! Entry ids: deterministic, so that a retry is the same entry, and keyed, so that they cannot be guessed.

use std::fmt;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::MemberId;

/// A UUIDv8 (RFC 9562) made from the event's salt and the member (DESIGN section 6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct EntryId(Uuid);

impl EntryId {
    /// From 16 bytes, taken as they are.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// From a slice of exactly 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_bytes(bytes.try_into().ok()?))
    }

    /// From the hyphenated text form.
    pub fn parse(text: &str) -> Option<Self> {
        // Only the form that we print: `Uuid` would also take braces and URNs.
        if text.len() != 36 { None } else { Uuid::try_parse(text).ok().map(Self) }
    }

    /// The 16 bytes, version and variant bits included.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The keyed functions of one event, with the key schedule done once.
#[derive(Clone)]
pub struct EventKeys {
    entry: Hmac<Sha256>,
    receipt: Hmac<Sha256>,
}

impl EventKeys {
    /// From the event's salt (32 bytes).
    pub fn new(salt: &[u8]) -> Self {
        let entry = keyed(salt);
        let receipt_key = entry.clone().chain_update(b"receipt/v1").finalize().into_bytes();
        Self { receipt: keyed(&receipt_key), entry }
    }

    /// `HMAC-SHA256(salt, member [| key])[..16]` as a UUIDv8; `key` is the Idempotency-Key where duplicates are
    /// allowed.
    pub fn entry_id(&self, member: MemberId, key: Option<&str>) -> EntryId {
        self.id_of(member, key.map_or(&[], str::as_bytes))
    }

    /// Id of the entry that a mission earns: the member's own where there is one a member, otherwise one a mission.
    pub fn mission_entry_id(&self, member: MemberId, mission: u16, duplicates_allowed: bool) -> EntryId {
        if !duplicates_allowed {
            return self.entry_id(member, None);
        }
        // No Idempotency-Key begins with NUL: those are printable.
        let mut key = *b"\0mission/v1\0\0";
        let end = key.len() - 2;
        key[end..].copy_from_slice(&mission.to_be_bytes());
        self.id_of(member, &key)
    }

    fn id_of(&self, member: MemberId, key: &[u8]) -> EntryId {
        let mut mac = self.entry.clone();
        mac.update(&member.to_be_bytes());
        mac.update(key);
        let full = mac.finalize().into_bytes();
        let mut id = [0u8; 16];
        id.copy_from_slice(&full[..16]);
        EntryId(uuid::Builder::from_custom_bytes(id).into_uuid())
    }

    /// Whether `mac` is that of a receipt, by the library's comparison in constant time.
    pub(crate) fn is_receipt_mac(&self, bytes: &[u8], mac: &[u8; 16]) -> bool {
        self.receipt.clone().chain_update(bytes).verify_truncated_left(mac).is_ok()
    }

    /// MAC of a receipt: the first 16 bytes of HMAC-SHA256 under `HMAC(salt, "receipt/v1")`.
    pub(crate) fn receipt_mac(&self, bytes: &[u8]) -> [u8; 16] {
        let full = self.receipt.clone().chain_update(bytes).finalize().into_bytes();
        let mut mac = [0u8; 16];
        mac.copy_from_slice(&full[..16]);
        mac
    }
}

impl fmt::Debug for EventKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventKeys(..)")
    }
}

#[allow(clippy::expect_used)]
pub(crate) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of every length; the error type is the trait's.
    Hmac::new_from_slice(key).expect("HMAC takes any key length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_keyed_and_well_formed() {
        let keys = EventKeys::new(&[1; 32]);
        let id = keys.entry_id(42, None);
        assert_eq!(id, keys.entry_id(42, None));
        assert_ne!(id, keys.entry_id(43, None));
        assert_ne!(id, keys.entry_id(42, Some("a")));
        assert_ne!(id, EventKeys::new(&[2; 32]).entry_id(42, None));
        assert_eq!(id, keys.mission_entry_id(42, 3, false));
        let earned = [keys.mission_entry_id(42, 3, true), keys.mission_entry_id(42, 4, true)];
        assert!(earned[0] != earned[1] && !earned.contains(&id));
        let uuid = Uuid::from_bytes(*id.as_bytes());
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (8, uuid::Variant::RFC4122));
        assert_eq!(EntryId::parse(&id.to_string()), Some(id));
        assert_eq!(EntryId::parse("{00000000-0000-8000-8000-000000000000}"), None);
    }
}
