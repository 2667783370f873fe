//! The OpenAPI 3.1 document of a listener: each route brings its own part ([`Operation`]) when it is registered, so
//! there is no route without one. It is put together once, at the start.

mod document;
mod operation;
mod page;

use serde_json::{Value, json};

pub(super) use document::Document;
pub use operation::Operation;
pub(super) use page::{Served, add_routes};

/// What a listener says of itself.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Name of the API.
    pub title: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// What it is for; what all listeners have in common is added.
    pub description: &'static str,
}

/// Schema of an integer in these bounds.
pub fn integer(minimum: i64, maximum: i64) -> Value {
    json!({"type": "integer", "format": "int64", "minimum": minimum, "maximum": maximum})
}

/// Schema of an id: a positive integer.
pub fn id() -> Value {
    integer(1, i64::MAX)
}

/// Schema of a UUID.
pub fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

/// Schema of a moment (RFC 3339).
pub fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// Schema of any text.
pub fn text() -> Value {
    json!({"type": "string"})
}
