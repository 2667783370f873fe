//! Where a lane goes on: the database's cursor held against the log (DESIGN section 5, "Log identity").

use shared_proto::Lane;

use crate::store::rows::ProgressRow;

/// Why a lane stands still until an operator acts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The database knows this lane of another log only.
    #[error("unknown_log: the database knows this lane of log {known}, not of {found}")]
    UnknownLog {
        /// A log that it knows.
        known: String,
        /// The log that is there.
        found: String,
    },
    /// Retention passed the cursor.
    #[error("gap: the cursor stands at {cursor}, but the log starts at {low}")]
    Gap {
        /// Cursor.
        cursor: i64,
        /// First offset of the log.
        low: i64,
    },
    /// The log is shorter than the cursor.
    #[error("beyond_end: the cursor stands at {cursor}, but the log ends at {high}")]
    BeyondEnd {
        /// Cursor.
        cursor: i64,
        /// Offset behind the last record.
        high: i64,
    },
    /// The record before the cursor is not the one that was applied.
    #[error("mismatch: the record at {0} is not the one that was applied")]
    Mismatch(i64),
    /// A record is newer than this build.
    #[error("newer_schema: the record at {offset} has schema version {version}")]
    NewerSchema {
        /// Offset.
        offset: i64,
        /// Its version.
        version: u32,
    },
    /// A row was changed outside the log.
    #[error("changed_outside_the_log: {0}")]
    ChangedOutsideTheLog(String),
    /// Too many records or events fail: this looks like a bad deploy, not like bad records.
    #[error("brake: {0}")]
    Brake(String),
    /// The database refuses for good.
    #[error("database: {0}")]
    Database(String),
    /// `DECISION_KEY_FILE` is missing or is not the key that an event was scheduled with.
    #[error("decision_key: {0}")]
    DecisionKey(String),
}

impl Halt {
    /// Name of the alarm.
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnknownLog { .. } => "unknown_log",
            Self::Gap { .. } => "gap",
            Self::BeyondEnd { .. } => "beyond_end",
            Self::Mismatch(_) => "mismatch",
            Self::NewerSchema { .. } => "newer_schema",
            Self::ChangedOutsideTheLog(_) => "changed_outside_the_log",
            Self::Brake(_) => "brake",
            Self::Database(_) => "database",
            Self::DecisionKey(_) => "decision_key",
        }
    }
}

/// How to start a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// No row yet: make one at this offset and read from there.
    Fresh(i64),
    /// Read from here.
    At(i64),
    /// Read from the record before the cursor and compare its hash first.
    VerifyFrom {
        /// Cursor.
        cursor: i64,
        /// SHA-256 of the record before it.
        hash: [u8; 32],
    },
}

/// Judges one lane. `rows`: all rows of the lane, whatever the log. `adopt`: an unknown log is taken as it is
/// (embedded, where each start has a log of its own).
pub fn check_cursor(
    rows: &[ProgressRow],
    log_id: &str,
    lane: &Lane,
    low: i64,
    high: i64,
    adopt: bool,
) -> Result<Start, Halt> {
    let mine = |r: &&ProgressRow| r.topic == lane.topic && r.partition_id == lane.partition;
    let Some(row) = rows.iter().filter(mine).find(|r| r.log_id == log_id) else {
        return match rows.iter().find(mine) {
            Some(other) if !adopt => {
                Err(Halt::UnknownLog { known: other.log_id.clone(), found: log_id.to_owned() })
            }
            _ if low > 0 => Err(Halt::Gap { cursor: 0, low }),
            _ => Ok(Start::Fresh(0)),
        };
    };
    let cursor = row.next_offset;
    if cursor > high {
        return Err(Halt::BeyondEnd { cursor, high });
    }
    if cursor < low {
        return Err(Halt::Gap { cursor, low });
    }
    match row.last_hash.as_deref().and_then(|h| <[u8; 32]>::try_from(h).ok()) {
        // An idle lane's last record may have expired; then there is nothing to compare with.
        Some(hash) if cursor > low => Ok(Start::VerifyFrom { cursor, hash }),
        _ => Ok(Start::At(cursor)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(log_id: &str, next_offset: i64, hashed: bool) -> ProgressRow {
        ProgressRow {
            log_id: log_id.into(),
            topic: "t".into(),
            partition_id: 0,
            next_offset,
            last_hash: hashed.then(|| vec![7; 32]),
            updated_at: 0,
        }
    }

    #[test]
    fn every_verdict() {
        let check = |rows: &[ProgressRow], low, high, adopt| {
            check_cursor(rows, "A", &Lane::new("t", 0), low, high, adopt)
        };
        assert_eq!(check(&[], 0, 9, false), Ok(Start::Fresh(0)));
        assert_eq!(check(&[], 3, 9, false), Err(Halt::Gap { cursor: 0, low: 3 }));
        let unknown = Halt::UnknownLog { known: "B".into(), found: "A".into() };
        assert_eq!(check(&[row("B", 5, true)], 0, 9, false), Err(unknown));
        assert_eq!(check(&[row("B", 5, true)], 0, 9, true), Ok(Start::Fresh(0)));
        let verify = Start::VerifyFrom { cursor: 5, hash: [7; 32] };
        assert_eq!(check(&[row("B", 2, true), row("A", 5, true)], 0, 9, false), Ok(verify));
        assert_eq!(check(&[row("A", 5, false)], 0, 9, false), Ok(Start::At(5)));
        assert_eq!(check(&[row("A", 5, true)], 5, 9, false), Ok(Start::At(5)));
        assert_eq!(check(&[row("A", 5, true)], 6, 9, false), Err(Halt::Gap { cursor: 5, low: 6 }));
        assert_eq!(check(&[row("A", 5, true)], 0, 4, false), Err(Halt::BeyondEnd { cursor: 5, high: 4 }));
    }
}
