//! Why staff's request was not done.

use shared_domain::Violation;

use crate::store::error_class::StoreError;

/// Why a change was not made; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Idempotency-Key belongs to a request with another body.
    #[error("this Idempotency-Key was used with another body")]
    KeyReused,
    /// There is no such event.
    #[error("there is no such event")]
    EventNotFound,
    /// The event is not at a version that the request names.
    #[error("the event has changed")]
    Changed,
    /// The event's state does not allow it.
    #[error("{1}")]
    Conflict(&'static str, &'static str),
    /// The body asks for something that cannot be.
    #[error("{1}")]
    Unprocessable(&'static str, &'static str),
    /// The body breaks rules.
    #[error("the request breaks rules")]
    Invalid(Vec<Violation>),
}

impl CommandError {
    /// One broken rule.
    pub(crate) fn invalid(pointer: &str, detail: impl ToString) -> Self {
        Self::Invalid(vec![Violation::new(pointer, detail)])
    }

    /// Whether the whole transaction may succeed when run again.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Store(e) if e.class.is_retried(0))
    }
}

impl From<diesel::result::Error> for CommandError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}
