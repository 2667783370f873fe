//! `?limit=` and `?cursor=` of lists.

use super::{Problem, Request};

/// Rows a page, at most and unless said otherwise.
pub(super) const MAX: u32 = 200;
pub(super) const DEFAULT: u32 = 50;

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many rows, 1..=200.
    pub limit: u32,
    /// Where the last page ended, as it was given out; None at the start.
    pub cursor: Option<String>,
}

impl Page {
    /// Reads `limit` (default 50) and `cursor`. Errors: 422 with pointer `query:limit`.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        Ok(Self { limit: limit(request, DEFAULT)?, cursor: request.query_param("cursor") })
    }
}

/// Reads `limit` alone, with a default. Errors: 422 with pointer `query:limit`.
pub fn limit(request: &Request, default: u32) -> Result<u32, Problem> {
    let Some(text) = request.query_param("limit") else { return Ok(default) };
    match text.parse::<u32>() {
        Ok(limit) if (1..=MAX).contains(&limit) => Ok(limit),
        _ => Err(Problem::invalid("query:limit", format_args!("must be an integer from 1 to {MAX}"))),
    }
}
