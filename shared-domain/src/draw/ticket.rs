//! From the committed seed to each entrant's ticket.

use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};

use super::{Entrant, WEIGHT_MAX};
use crate::entry_id::keyed;
use crate::{Digest, EntryId, EventId};

/// What stands in the draw key where no beacon counts.
pub const NO_BEACON: Digest = [0; 32];

/// An entrant's number in a draw: the lowest win.
pub type Ticket = [u8; 32];

/// The secret that a raffle commits to at scheduling, and shows when its draw is published.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// From 32 bytes, which must come from a cryptographic generator.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the wrapping and for the published record.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// `c = SHA-256("seed/v1" | event | seed)`.
    pub fn commitment(&self, event: EventId) -> Digest {
        let hash = Sha256::new().chain_update(b"seed/v1").chain_update(event.to_be_bytes());
        hash.chain_update(self.0).finalize().into()
    }

    /// `draw_key = HMAC-SHA256(seed, "draw/v1" | event | list_digest | beacon)`; `beacon` is the round's randomness or
    /// [`NO_BEACON`].
    pub fn draw_key(&self, event: EventId, list_digest: &Digest, beacon: &Digest) -> DrawKey {
        let mac = keyed(&self.0).chain_update(b"draw/v1").chain_update(event.to_be_bytes());
        DrawKey::new(mac.chain_update(list_digest).chain_update(beacon).finalize().into_bytes().into())
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// The key of one draw over one list, with the key schedule done once.
#[derive(Clone)]
pub struct DrawKey {
    bytes: [u8; 32],
    mac: Hmac<Sha256>,
}

impl DrawKey {
    /// From its 32 bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self { mac: keyed(&bytes), bytes }
    }

    /// The 32 bytes; as secret as the seed.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// `ticket(e) = min over j < weight of HMAC-SHA256(draw_key, entry id | j)`.
    pub fn ticket(&self, entrant: &Entrant) -> Ticket {
        debug_assert!((1..=WEIGHT_MAX).contains(&entrant.weight()));
        let mut lowest = self.number(entrant.entry_id(), 0);
        for j in 1..entrant.weight() {
            lowest = lowest.min(self.number(entrant.entry_id(), j));
        }
        lowest
    }

    fn number(&self, entry: &EntryId, j: u16) -> Ticket {
        let mut message = [0; 18];
        message[..16].copy_from_slice(entry.as_bytes());
        message[16..].copy_from_slice(&j.to_be_bytes());
        self.mac.clone().chain_update(message).finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for DrawKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DrawKey(..)")
    }
}
