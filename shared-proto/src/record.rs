//! Encoding and decoding of [`LogRecord`], with the schema version check.

use prost::Message;

use crate::v1::{LogRecord, log_record::Kind};

/// The newest schema version this build reads, and the one it writes.
pub const SUPPORTED_SCHEMA_VERSION: u32 = 1;

/// Why bytes from the log are not a record this build can judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// Not a record at all: goes to the dead letters.
    Undecodable(String),
    /// Written by a newer build: the lane must halt, never skip.
    NewerSchema(u32),
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Undecodable(why) => write!(f, "undecodable record: {why}"),
            Self::NewerSchema(v) => {
                write!(f, "schema version {v} is newer than {SUPPORTED_SCHEMA_VERSION}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// Bytes of one record of the given event.
pub fn encode(event_id: i64, kind: Kind) -> Vec<u8> {
    LogRecord { schema_version: SUPPORTED_SCHEMA_VERSION, event_id, kind: Some(kind) }.encode_to_vec()
}

/// Event id and kind of a record.
pub fn decode(bytes: &[u8]) -> Result<(i64, Kind), DecodeError> {
    let record = LogRecord::decode(bytes).map_err(|e| DecodeError::Undecodable(e.to_string()))?;
    match (record.schema_version, record.kind) {
        (0, _) => Err(DecodeError::Undecodable("no schema version".into())),
        // A newer version is told before a missing kind: its kinds are not ours to know.
        (v, _) if v > SUPPORTED_SCHEMA_VERSION => Err(DecodeError::NewerSchema(v)),
        (_, None) => Err(DecodeError::Undecodable("no kind".into())),
        (_, Some(kind)) => {
            check_ids(&kind)?;
            Ok((record.event_id, kind))
        }
    }
}

fn check_ids(kind: &Kind) -> Result<(), DecodeError> {
    let (id, what) = match kind {
        Kind::Entry(e) => (&e.entry_id, "entry id"),
        Kind::WeightAdded(w) => (&w.entry_id, "entry id"),
        Kind::Scheduled(c) => (&c.command_id, "command id"),
        Kind::StockAdded(c) => (&c.command_id, "command id"),
        Kind::ApprovalChanged(c) => (&c.command_id, "command id"),
        Kind::Rejected(c) => (&c.command_id, "command id"),
        Kind::Closed(c) => (&c.command_id, "command id"),
        Kind::Deleted(c) => (&c.command_id, "command id"),
        Kind::Activity(a) => (&a.activity_id, "activity id"),
    };
    if id.len() == 16 {
        Ok(())
    } else {
        Err(DecodeError::Undecodable(format!("{what} of {} bytes, not 16", id.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Closed, Entry};

    #[test]
    fn a_record_survives_the_round_trip() {
        let kind = Kind::Entry(Entry {
            entry_id: vec![7; 16],
            member_id: -3,
            accepted_at_ms: 12,
            options: vec![1, 0],
            sealed_contact: vec![],
        });
        assert_eq!(decode(&encode(9, kind.clone())), Ok((9, kind)));
    }

    #[test]
    fn rubbish_a_missing_kind_and_a_short_id_are_undecodable() {
        let short = encode(1, Kind::Closed(Closed { command_id: vec![1, 2] }));
        let kindless = LogRecord { schema_version: 1, event_id: 1, kind: None }.encode_to_vec();
        for bytes in [b"\xff\xff rubbish".to_vec(), vec![], short, kindless] {
            assert!(matches!(decode(&bytes), Err(DecodeError::Undecodable(_))), "{bytes:?}");
        }
    }

    #[test]
    fn a_newer_schema_is_told_apart_even_with_an_unknown_kind() {
        let newer = LogRecord { schema_version: 2, event_id: 1, kind: None }.encode_to_vec();
        assert_eq!(decode(&newer), Err(DecodeError::NewerSchema(2)));
    }
}
