//! The digest chain that makes two databases comparable by one hash a lane (DESIGN section 5).

use sha2::{Digest as _, Sha256};

use crate::{EntryId, EntryStatus, Reason};

/// State of the chain: 32 bytes.
pub type Digest = [u8; 32];

/// Where every chain starts.
pub const DIGEST_START: Digest = [0; 32];

/// `SHA-256(digest | seq | entry id | status | reason | option | amount)`: integers big-endian, option 0xFFFF
/// where there is none.
pub fn digest_step(
    digest: &Digest,
    seq: i64,
    entry_id: &EntryId,
    status: EntryStatus,
    reason: Option<Reason>,
    option: Option<u16>,
    amount: i64,
) -> Digest {
    let mut bytes = [0u8; 68];
    bytes[..32].copy_from_slice(digest);
    bytes[32..40].copy_from_slice(&seq.to_be_bytes());
    bytes[40..56].copy_from_slice(entry_id.as_bytes());
    bytes[56] = status.code();
    bytes[57] = reason.map_or(0, Reason::code);
    bytes[58..60].copy_from_slice(&option.unwrap_or(u16::MAX).to_be_bytes());
    bytes[60..].copy_from_slice(&amount.to_be_bytes());
    Sha256::digest(bytes).into()
}

/// `SHA-256(digest | "weight/v1" | entry id | mission index | weight)`: a mission's chances, integers of 2 bytes big-endian.
pub fn weight_step(digest: &Digest, entry_id: &EntryId, mission: u16, weight: u16) -> Digest {
    let hash = Sha256::new().chain_update(digest).chain_update(b"weight/v1");
    let hash = hash.chain_update(entry_id.as_bytes()).chain_update(mission.to_be_bytes());
    hash.chain_update(weight.to_be_bytes()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_step_is_pinned() {
        // Computed independently with Python's hashlib from the byte layout of the design.
        let step = digest_step(
            &DIGEST_START,
            1,
            &EntryId::from_bytes([0x11; 16]),
            EntryStatus::Win,
            None,
            Some(0),
            1,
        );
        let hex: String = step.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "eeee3ffe770a4eaa1307526b65b752d7a7d332f11bc7126c70de37b82037462e");
        let step = weight_step(&DIGEST_START, &EntryId::from_bytes([0x11; 16]), 2, 300);
        let hex: String = step.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "032353e68e7c08ada707ed477cb28156534b2f8cca98b4a9cf31a1d21e265551");
    }
}
