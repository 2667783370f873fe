//! Cursors of lists: the numbers of the last row's key, joined by dots.

use shared_runtime::http::Problem;

/// The key in a cursor; `None` at the start. Errors: 422 with pointer `query:cursor`.
pub(crate) fn parse<T, const N: usize>(
    cursor: Option<&str>,
    key: impl FnOnce([i64; N]) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(text) = cursor else { return Ok(None) };
    let numbers: Option<Vec<i64>> = text.split('.').map(|part| part.parse().ok()).collect();
    let found = numbers.and_then(|numbers| <[i64; N]>::try_from(numbers).ok()).and_then(key);
    found.map(Some).ok_or_else(|| Problem::invalid("query:cursor", "is not a cursor of this list"))
}

/// The cursor of a key.
pub(crate) fn of<const N: usize>(key: [i64; N]) -> String {
    key.map(|number| number.to_string()).join(".")
}
