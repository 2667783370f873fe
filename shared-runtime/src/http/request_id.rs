//! `X-Request-Id`: the client's, or a fresh one.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_LEN: usize = 128;

/// The client's id when it is 1..=128 visible ASCII characters, otherwise a new one.
pub(super) fn of(headers: &HeaderMap) -> HeaderValue {
    match headers.get(X_REQUEST_ID) {
        Some(id) if acceptable(id.as_bytes()) => id.clone(),
        _ => fresh(),
    }
}

fn acceptable(id: &[u8]) -> bool {
    (1..=MAX_LEN).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// A UUID: random per process, counted within it. Cheaper than a random number for each request, and as unique.
pub(super) fn fresh() -> HeaderValue {
    static PROCESS: LazyLock<[u8; 16]> = LazyLock::new(rand::random);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut bytes = *PROCESS;
    // The last 7 bytes hold the counter; the rest tells processes apart.
    let count = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    bytes[9..].copy_from_slice(&count[1..]);
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let text = uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().encode_lower(&mut text);
    // Hex digits and hyphens are always header text.
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_visible_ids_are_echoed() {
        assert!(acceptable(b"abc-1"));
        assert!(acceptable(&[b'x'; 128]));
        for bad in [&b""[..], b"a b", b"\x7f", "é".as_bytes(), &[b'x'; 129]] {
            assert!(!acceptable(bad));
        }
        let (a, b) = (fresh(), fresh());
        assert_ne!(a, b);
        assert_eq!(uuid::Uuid::parse_str(a.to_str().unwrap()).unwrap().get_version_num(), 4);
    }
}
