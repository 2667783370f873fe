//! Receipts: where an accepted entry stands in the log, MACed so that a gateway can trust it without a look-up.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{EntryId, EventId, EventKeys, Millis};

const VERSION: u8 = 1;
const MAC_LEN: usize = 16;
const FIXED_LEN: usize = 1 + 8 + 4 + 8 + 16 + 8;

/// The place of an accepted entry (DESIGN section 6). Text form: base64url without padding of
/// `version(1) | event(8) | lane(4) | offset(8) | entry id(16) | accepted_at ms(8) | log id | mac(16)`, integers
/// big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Identity of the log that took the record.
    pub log_id: String,
    /// The event.
    pub event_id: EventId,
    /// Partition of the event's topic.
    pub lane: i32,
    /// Offset of the record.
    pub offset: i64,
    /// The entry.
    pub entry_id: EntryId,
    /// When the gateway accepted it.
    pub accepted_at: Millis,
}

/// Why a text is not a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not the form of a receipt.
    #[error("malformed receipt")]
    Malformed,
    /// The MAC is not ours.
    #[error("forged receipt")]
    Forged,
}

impl Receipt {
    /// Text form, MACed with the event's keys.
    pub fn seal(&self, keys: &EventKeys) -> String {
        let mut bytes = Vec::with_capacity(FIXED_LEN + self.log_id.len() + MAC_LEN);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.event_id.to_be_bytes());
        bytes.extend_from_slice(&self.lane.to_be_bytes());
        bytes.extend_from_slice(&self.offset.to_be_bytes());
        bytes.extend_from_slice(self.entry_id.as_bytes());
        bytes.extend_from_slice(&self.accepted_at.to_be_bytes());
        bytes.extend_from_slice(self.log_id.as_bytes());
        let mac = keys.receipt_mac(&bytes);
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Opens a text: `keys_of` finds the keys of the event it claims to be of. The MAC is compared in constant time.
    pub fn open<'k>(
        text: &str,
        keys_of: impl FnOnce(EventId) -> Option<&'k EventKeys>,
    ) -> Result<Self, ReceiptError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ReceiptError::Malformed)?;
        if bytes.len() < FIXED_LEN + MAC_LEN || bytes[0] != VERSION {
            return Err(ReceiptError::Malformed);
        }
        let (body, mac) = bytes.split_last_chunk::<MAC_LEN>().ok_or(ReceiptError::Malformed)?;
        let (fixed, log_id) = body.split_at(FIXED_LEN);
        let receipt = Self {
            event_id: i64::from_be_bytes(field(fixed, 1)?),
            lane: i32::from_be_bytes(field(fixed, 9)?),
            offset: i64::from_be_bytes(field(fixed, 13)?),
            entry_id: EntryId::from_bytes(field(fixed, 21)?),
            accepted_at: i64::from_be_bytes(field(fixed, 37)?),
            log_id: String::from_utf8(log_id.to_vec()).map_err(|_| ReceiptError::Malformed)?,
        };
        let keys = keys_of(receipt.event_id).ok_or(ReceiptError::Forged)?;
        if keys.is_receipt_mac(body, mac) { Ok(receipt) } else { Err(ReceiptError::Forged) }
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ReceiptError> {
    bytes.get(at..at + N).and_then(|b| b.try_into().ok()).ok_or(ReceiptError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_was_sealed_and_nothing_else() {
        let keys = EventKeys::new(&[3; 32]);
        let receipt = Receipt {
            log_id: "Some1ClusterId".into(),
            event_id: 5,
            lane: 2,
            offset: 99,
            entry_id: keys.entry_id(1, None),
            accepted_at: 123,
        };
        let text = receipt.seal(&keys);
        assert_eq!(Receipt::open(&text, |id| (id == 5).then_some(&keys)), Ok(receipt.clone()));
        assert_eq!(Receipt::open(&text, |_| None), Err(ReceiptError::Forged));
        let other = EventKeys::new(&[4; 32]);
        assert_eq!(Receipt::open(&text, |_| Some(&other)), Err(ReceiptError::Forged));
        for i in 0..text.len() {
            let mut bent = text.clone().into_bytes();
            bent[i] = if bent[i] == b'A' { b'B' } else { b'A' };
            let bent = String::from_utf8(bent).expect("ascii");
            if bent != text {
                assert!(Receipt::open(&bent, |_| Some(&keys)).is_err(), "byte {i}");
            }
        }
        // Every single bit of the MAC counts, the last as the first.
        let sealed = URL_SAFE_NO_PAD.decode(&text).expect("base64url");
        for bit in 0..MAC_LEN * 8 {
            let mut bent = sealed.clone();
            bent[sealed.len() - 1 - bit / 8] ^= 1 << (bit % 8);
            let bent = URL_SAFE_NO_PAD.encode(bent);
            assert_eq!(Receipt::open(&bent, |_| Some(&keys)), Err(ReceiptError::Forged), "bit {bit}");
        }
        for rubbish in ["", "x", "!!!!", "AQ"] {
            assert_eq!(Receipt::open(rubbish, |_| Some(&keys)), Err(ReceiptError::Malformed));
        }
    }
}
