//! Why somebody is not let in.

use crate::http::Problem;

/// A refusal. The reason is for the client; it names no key and no claim's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// 401: no token came.
    #[error("send a token as Authorization: Bearer")]
    Missing,
    /// 401: the token is not good here, and why.
    #[error("{0}")]
    Invalid(&'static str),
    /// 403: a member's token where staff is asked for.
    #[error("this is for staff")]
    NotStaff,
    /// 403: the token lacks this scope.
    #[error("the token lacks the scope {0}")]
    MissingScope(&'static str),
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing | AuthError::Invalid(_) => Self::unauthenticated(error.to_string()),
            AuthError::NotStaff | AuthError::MissingScope(_) => Self::forbidden(error.to_string()),
        }
    }
}
