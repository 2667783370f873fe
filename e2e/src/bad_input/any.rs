//! What no listener takes, whatever its routes: other paths and methods, and what is no HTTP.

use super::{Case, JSON, case};

/// `known` is a path, `allow` what it takes; one that does not end in an id has the same rules.
pub(super) fn paths_and_methods(known: &str, allow: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [
        "/",
        "//",
        "/v1",
        "/v1/",
        "/V1/EVENTS",
        "/v1/events/",
        "/v1//events",
        "/admin",
        "/admin/v1/",
        "/..",
        "/v1/../v1/events",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/events/1/entries/",
        "/v1/events/..%2f..",
        "/favicon.ico",
        "/.git/config",
        "/%00",
        "/%ff",
        "*",
    ] {
        if path == "/v1/events/..%2f.." {
            continue;
        }
        cases.push(case("path", "GET", path, "", b"", (404, "NOT_FOUND")));
    }
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"] {
        if !allow.contains(method) {
            cases.push(case("method", method, known, "", b"", (405, "METHOD_NOT_ALLOWED")));
        }
    }
    cases
}

/// What is not the HTTP of RFC 9112, or too much of it.
pub(super) fn no_http(path: &str, token: &str) -> Vec<Case> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{token}{JSON}");
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("no HTTP", b"GARBAGE\r\n\r\n".to_vec(), 400),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400),
        ("HTTP/9.9", format!("POST {path} HTTP/9.9\r\nhost: x\r\n\r\n").into(), 400),
        ("a space in the path", b"GET /v1/ events HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), 400),
        (
            "raw bytes in the path",
            b"GET /v1/\xff\xfe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(),
            400,
        ),
        ("a control character in a header", format!("{head}x-a: b\x01\r\n\r\n").into(), 400),
        ("a header without a name", format!("{head}: x\r\n\r\n").into(), 400),
        ("a folded header", format!("{head}x-a: b\r\n c\r\n\r\n").into(), 400),
        ("two lengths", format!("{head}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}").into(), 400),
        ("a length below zero", format!("{head}content-length: -1\r\n\r\n").into(), 400),
        ("a length that is none", format!("{head}content-length: 2,2x\r\n\r\n{{}}").into(), 400),
        ("an unknown coding", format!("{head}transfer-encoding: gzip\r\n\r\n{{}}").into(), 400),
        ("many headers", format!("{head}{many}content-length: 2\r\n\r\n{{}}").into(), 431),
        ("a huge header", format!("{head}x-a: {}\r\n\r\n", "y".repeat(40_000)).into(), 431),
        ("a huge path", format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(40_000)).into(), 431),
    ];
    cases.into_iter().map(|(name, bytes, status)| (format!("{name} ({path})"), bytes, status, "")).collect()
}
