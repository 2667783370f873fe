//! Database errors, classified once at the driver's edge (DESIGN section 5).
//!
//! diesel-async drops MySQL's error codes: deadlocks, lock waits, lost connections and bad data all arrive as
//! `Unknown` and differ by text only, so the text is what is matched here. Text that stands in no list is tried again, but
//! not for ever.

use diesel::result::{DatabaseErrorKind, Error};

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The whole transaction may succeed when run again.
    Transient,
    /// Nobody knows this text: tried again as if it were transient, [`UNKNOWN_TRIES`] times.
    Unknown,
    /// Our own pool or the server has no room: run again, never escalate.
    Saturation,
    /// These values can never be written: find the record and park its event.
    Data,
    /// Nothing here will help: schema, rights, a bug.
    Fatal,
}

/// So often a transaction with an error of unknown text is tried: with the workers' backoff, some 8 seconds.
pub const UNKNOWN_TRIES: u32 = 10;

impl ErrorClass {
    /// Whether a transaction that failed after `tries` others is worth another one.
    pub fn is_retried(self, tries: u32) -> bool {
        match self {
            Self::Transient | Self::Saturation => true,
            Self::Unknown => tries + 1 < UNKNOWN_TRIES,
            Self::Data | Self::Fatal => false,
        }
    }
}

/// A database error with its class.
#[derive(Debug, thiserror::Error)]
#[error("{class:?} database error: {message}")]
pub struct StoreError {
    /// What to do about it.
    pub class: ErrorClass,
    /// The driver's text.
    pub message: String,
}

impl StoreError {
    /// An error that time mends.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Transient, message: message.into() }
    }

    /// An error that no retry mends.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Fatal, message: message.into() }
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        Self { class: class_of(&error), message: error.to_string() }
    }
}

impl From<diesel_async::pooled_connection::deadpool::PoolError> for StoreError {
    fn from(error: diesel_async::pooled_connection::deadpool::PoolError) -> Self {
        let class = match &error {
            deadpool::managed::PoolError::Timeout(_) => ErrorClass::Saturation,
            _ if is_fatal(&error.to_string()) => ErrorClass::Fatal,
            _ => ErrorClass::Transient,
        };
        Self { class, message: error.to_string() }
    }
}

/// Whether the error is a duplicate key.
pub fn is_duplicate_key(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _))
}

fn class_of(error: &Error) -> ErrorClass {
    match error {
        Error::DatabaseError(kind, info) => match kind {
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::ForeignKeyViolation => ErrorClass::Data,
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::SerializationFailure => {
                ErrorClass::Transient
            }
            DatabaseErrorKind::ReadOnlyTransaction => ErrorClass::Transient,
            _ => class_of_text(info.message()),
        },
        Error::BrokenTransactionManager | Error::RollbackTransaction => ErrorClass::Transient,
        Error::RollbackErrorOnCommit { commit_error, .. } => class_of(commit_error),
        Error::SerializationError(_) | Error::InvalidCString(_) => ErrorClass::Data,
        Error::DeserializationError(_) | Error::NotFound | Error::QueryBuilderError(_) => ErrorClass::Fatal,
        _ => ErrorClass::Transient,
    }
}

fn class_of_text(text: &str) -> ErrorClass {
    const DATA: [&str; 9] = [
        "Data too long",
        "Out of range",
        "out of range",
        "Incorrect string value",
        "Incorrect integer value",
        "CONSTRAINT",
        "constraint failed",
        "cannot be null",
        "record refused", // SIGNAL / RAISE of a trigger that an operator put on a table
    ];
    const TRANSIENT: [&str; 15] = [
        "try restarting transaction",
        "onnection",
        "Input/output error",
        "I/O error",
        "IO error",
        "Broken pipe",
        "gone away",
        "timed out",
        "timeout",
        "hutdown",
        "shutting down",
        "interrupted",
        "read-only",
        "read only",
        "database is locked",
    ];
    const SATURATION: [&str; 2] = ["Too many connections", "max_user_connections"];
    let has = |needles: &[&str]| needles.iter().any(|n| text.contains(n));
    if is_fatal(text) {
        ErrorClass::Fatal
    } else if has(&DATA) {
        ErrorClass::Data
    } else if has(&SATURATION) {
        ErrorClass::Saturation
    } else if has(&TRANSIENT) {
        ErrorClass::Transient
    } else {
        ErrorClass::Unknown
    }
}

fn is_fatal(text: &str) -> bool {
    const FATAL: [&str; 9] = [
        "Access denied",
        "command denied",
        "Unknown database",
        "Unknown column",
        "doesn't exist",
        "no such table",
        "no such column",
        "error in your SQL syntax",
        "not a database",
    ];
    FATAL.iter().any(|needle| text.contains(needle))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(text: &str) -> ErrorClass {
        class_of(&Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text.to_owned())))
    }

    #[test]
    fn texts_of_the_servers_have_their_classes() {
        for (text, class) in [
            ("Deadlock found when trying to get lock; try restarting transaction", ErrorClass::Transient),
            ("Lock wait timeout exceeded; try restarting transaction", ErrorClass::Transient),
            ("Input/output error: connection closed", ErrorClass::Transient),
            ("Server shutdown in progress", ErrorClass::Transient),
            ("database is locked", ErrorClass::Transient),
            ("Query execution was interrupted", ErrorClass::Transient),
            ("The server is out of porridge", ErrorClass::Unknown),
            ("Too many connections", ErrorClass::Saturation),
            ("Data too long for column 'title' at row 1", ErrorClass::Data),
            ("CONSTRAINT `CONSTRAINT_1` failed for `events`.`event_stock`", ErrorClass::Data),
            ("Table 'events.event_entry' doesn't exist", ErrorClass::Fatal),
            ("no such table: event_entry", ErrorClass::Fatal),
            ("Access denied for user 'x'@'localhost'", ErrorClass::Fatal),
        ] {
            assert_eq!(unknown(text), class, "{text}");
        }
    }

    #[test]
    fn only_unknown_text_wears_out() {
        use ErrorClass::{Data, Fatal, Saturation, Transient, Unknown};
        assert!([Transient, Saturation].iter().all(|class| class.is_retried(u32::MAX - 1)));
        assert!(![Data, Fatal].iter().any(|class| class.is_retried(0)));
        assert!((0..UNKNOWN_TRIES - 1).all(|tries| Unknown.is_retried(tries)));
        assert!(!Unknown.is_retried(UNKNOWN_TRIES - 1));
    }

    #[test]
    fn kinds_have_their_classes() {
        let duplicate = Error::DatabaseError(DatabaseErrorKind::UniqueViolation, Box::new(String::new()));
        assert!(is_duplicate_key(&duplicate));
        assert_eq!(class_of(&duplicate), ErrorClass::Data);
        assert_eq!(class_of(&Error::BrokenTransactionManager), ErrorClass::Transient);
        assert_eq!(class_of(&Error::NotFound), ErrorClass::Fatal);
    }
}
