//! Errors as RFC 9457 problems with a stable code.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};
use shared_domain::Violation;
use utoipa::ToSchema;

use super::response::Response;

/// An answer that is not a success: status, stable code, and words for people.
///
/// 429 and 503 always carry `Retry-After` (1 second unless said otherwise); 401 carries `WWW-Authenticate: Bearer`.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<Violation>,
    retry_after: Option<u32>,
    // Boxed: nearly every problem has none, and a Result stays small.
    extension: Option<Box<Map<String, Value>>>,
}

/// A problem as it is sent (RFC 9457). Some carry members of their own, e.g. `entry_id` of an unknown outcome.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// The status in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// Stable: branch on this.
    code: &'a str,
    /// For people; may change.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [Violation],
    #[schema(ignore)]
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    extension: Option<&'a Map<String, Value>>,
}

impl Problem {
    /// A problem with a status, a code and a sentence (which may be empty).
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after =
            matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self { status, code, detail: detail.into(), errors: Vec::new(), retry_after, extension: None }
    }

    /// 400 with a code.
    pub fn bad_request(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 400 `INVALID_JSON`: the body does not parse.
    pub fn invalid_json(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_JSON", detail)
    }

    /// 401 `UNAUTHENTICATED`: no token, or one that is not good here.
    pub fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", detail)
    }

    /// 401 `INVALID_RECEIPT`.
    pub fn invalid_receipt() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "INVALID_RECEIPT", "the receipt is not one of this entry")
    }

    /// 403 `FORBIDDEN`: known, and not allowed.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", detail)
    }

    /// 404 `NOT_FOUND`: no such route.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "no such path")
    }

    /// 404 with the code of a resource, e.g. `DRAW_NOT_FOUND`.
    pub fn missing(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 404 `EVENT_NOT_FOUND`.
    pub fn event_not_found() -> Self {
        Self::missing("EVENT_NOT_FOUND", "no such event")
    }

    /// 404 `ENTRY_NOT_FOUND`.
    pub fn entry_not_found() -> Self {
        Self::missing("ENTRY_NOT_FOUND", "no such entry")
    }

    /// 405 `METHOD_NOT_ALLOWED`; the router adds `Allow`.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "this path does not take that method")
    }

    /// 408 `REQUEST_TIMEOUT`: the body did not arrive in time.
    pub fn request_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "the body did not arrive in time")
    }

    /// 409 with a code.
    pub fn conflict(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 413 `BODY_TOO_LARGE`, naming the limit in bytes.
    pub fn body_too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "BODY_TOO_LARGE",
            format!("the body may have at most {limit} bytes"),
        )
    }

    /// 415 `UNSUPPORTED_MEDIA_TYPE`.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "send Content-Type: application/json (UTF-8)",
        )
    }

    /// 422 `INVALID_REQUEST`: what parsed and breaks rules.
    pub fn invalid_request(errors: Vec<Violation>) -> Self {
        Self::unprocessable("INVALID_REQUEST", "the request breaks a rule").with_errors(errors)
    }

    /// 422 `INVALID_REQUEST` with one violation.
    pub fn invalid(pointer: impl Into<String>, detail: impl ToString) -> Self {
        Self::invalid_request(vec![Violation::new(pointer, detail)])
    }

    /// 422 with a code of its own, e.g. `UNKNOWN_OPTION`.
    pub fn unprocessable(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 429 `TRY_AGAIN` after so many seconds. Never means lost.
    pub fn try_again(retry_after: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TRY_AGAIN", "too many at once; nothing is lost, ask again")
            .with_retry_after(retry_after)
    }

    /// 500 `INTERNAL`. Says nothing about the cause; that stands in the log under the request id.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "an error on our side; it has been logged")
    }

    /// 503 `UNAVAILABLE`: shedding load or starting; nothing was written.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", detail)
    }

    /// 503 `OUTCOME_UNKNOWN`: no acknowledgement in time. The same request again counts once.
    pub fn outcome_unknown() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "OUTCOME_UNKNOWN",
            "no acknowledgement in time; ask again, it counts once",
        )
    }

    /// Sets `Retry-After`, in whole seconds (at least 1).
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// Sets the list of violations.
    pub fn with_errors(mut self, errors: Vec<Violation>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds an extension member beside the standard ones, e.g. `entry_id`.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extension.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What is wrong, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The violations of a 422.
    pub fn errors(&self) -> &[Violation] {
        &self.errors
    }

    /// Seconds until asking again makes sense.
    pub fn retry_after(&self) -> Option<u32> {
        self.retry_after
    }

    /// The body as JSON.
    pub fn to_json(&self) -> Bytes {
        let body = ProblemBody {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            errors: &self.errors,
            extension: self.extension.as_deref(),
        };
        // Strings, integers and JSON values under string keys always serialise.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
        let mut response =
            Response::bytes(problem.status, PROBLEM_JSON, problem.to_json()).with_code(problem.code);
        if let Some(seconds) = problem.retry_after {
            response = response.with_header(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if problem.status == StatusCode::UNAUTHORIZED {
            response = response.with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
