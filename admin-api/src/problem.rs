//! From the store's refusals to problems.

use shared_domain::Violation;
use shared_runtime::auth::AuthError;
use shared_runtime::http::Problem;
use shared_runtime::store::KeyStoreError;
use shared_runtime::store::commands::CommandError;
use shared_runtime::store::error_class::StoreError;
use warp::http::StatusCode;

/// 503; the cause stands in the log, once.
pub(crate) fn of_store(error: &StoreError) -> Problem {
    tracing::error!(%error, "the database failed a request of staff");
    Problem::unavailable("the database does not answer")
}

/// 503; the cause stands in the log, once.
pub(crate) fn of_key_store(error: &KeyStoreError) -> Problem {
    tracing::error!(%error, "the key store failed a request of staff");
    Problem::unavailable("the key store does not answer")
}

/// The answer to a change that was not made.
pub(crate) fn of_command(error: CommandError) -> Problem {
    match error {
        CommandError::Store(error) => of_store(&error),
        CommandError::KeyReused => {
            let violation = Violation::new("header:Idempotency-Key", "was used with another body");
            Problem::unprocessable("IDEMPOTENCY_KEY_REUSED", "this key was used with another body")
                .with_errors(vec![violation])
        }
        CommandError::Changed => Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "PRECONDITION_FAILED",
            "the event has changed since; read it again",
        ),
        CommandError::EventNotFound => Problem::event_not_found(),
        CommandError::EntryNotFound => Problem::entry_not_found(),
        CommandError::Conflict(code, detail) => Problem::conflict(code, detail),
        CommandError::NotYet(code, detail) => Problem::conflict(code, detail),
        CommandError::Unprocessable(code, detail) => {
            let pointer = if code == "UNKNOWN_OPTION" { "/option" } else { "" };
            Problem::unprocessable(code, detail).with_errors(vec![Violation::new(pointer, detail)])
        }
        CommandError::Invalid(violations) => Problem::invalid_request(violations),
    }
}

/// 401 or 403.
pub(crate) fn of_auth(error: AuthError) -> Problem {
    error.into()
}
