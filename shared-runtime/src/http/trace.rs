//! W3C trace context, carried from the request to Kafka headers.

/// Whether this is a `traceparent` of version 00: `00-{32 hex}-{16 hex}-{2 hex}`, lower case, no id all zero.
pub fn valid_traceparent(text: &str) -> bool {
    let hex =
        |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let nonzero = |part: &str| part.bytes().any(|b| b != b'0');
    let mut parts = text.split('-');
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("00"), Some(trace), Some(span), Some(flags), None) => {
            hex(trace, 32) && nonzero(trace) && hex(span, 16) && nonzero(span) && hex(flags, 2)
        }
        _ => false,
    }
}

/// The parent for what this process does next: the incoming trace with a span of its own, or a new, unsampled trace.
pub fn new_traceparent(incoming: Option<&str>) -> String {
    let span = rand::random::<u64>().max(1);
    match incoming.filter(|text| valid_traceparent(text)) {
        // 3..35 is the trace id, 53..55 the flags; both checked.
        Some(text) => format!("00-{}-{span:016x}-{}", &text[3..35], &text[53..55]),
        None => format!("00-{:032x}-{span:016x}-00", rand::random::<u128>().max(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_continued_or_begun() {
        let incoming = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(valid_traceparent(incoming));
        let next = new_traceparent(Some(incoming));
        assert!(valid_traceparent(&next) && next != incoming);
        assert_eq!((&next[..36], &next[52..]), (&incoming[..36], "-01"));
        for bad in
            ["", "00-x", &incoming.to_uppercase(), &incoming.replace("00f067aa0ba902b7", "0000000000000000")]
        {
            assert!(!valid_traceparent(bad), "{bad}");
            assert!(valid_traceparent(&new_traceparent(Some(bad))));
        }
    }
}
