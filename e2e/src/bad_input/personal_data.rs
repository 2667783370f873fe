//! Contacts and their end: claims on the public listener; export, deletion, certificate and erasure on the other.

use super::public::{NO_ENTRY, tokens};
use super::{Case, JSON, bodies, case};
use crate::system::System;

const GOOD: &[u8] = br#"{"email":"a@b.example"}"#;

/// `won` is an entry of member 1 that may be claimed for.
pub(super) fn claims(system: &System, won: &str) -> Vec<Case> {
    let path = format!("/v1/entries/{won}/claim");
    let token = system.member(1);
    let headers = format!("{token}{JSON}");
    let mut cases = tokens(system, &path);
    for (name, body, status, code) in bodies(16 * 1024) {
        cases.push(case(name, "POST", &path, &headers, &body, (status, code)));
    }
    cases.push(case("empty", "POST", &path, &headers, b"", (400, "INVALID_JSON")));
    for body in [
        "{}",
        r#"{"email":null}"#,
        r#"{"email":"nobody"}"#,
        r#"{"email":7}"#,
        r#"{"phone_number":"010-1234-5678"}"#,
        r#"{"phone_number":821012345678}"#,
        r#"{"address":" "}"#,
        r#"{"address":{"city":"Seoul"}}"#,
        r#"{"contact":{"email":"a@b.example"}}"#,
        r#"{"email":"a@b.example","member_id":2}"#,
    ] {
        cases.push(case(body, "POST", &path, &headers, body.as_bytes(), (422, "INVALID_REQUEST")));
    }
    for text in ["", "content-type: text/plain\r\n", "content-type: application/x-www-form-urlencoded\r\n"] {
        let headers = format!("{token}{text}");
        cases.push(case(text, "POST", &path, &headers, GOOD, (415, "UNSUPPORTED_MEDIA_TYPE")));
    }
    let query = format!("{path}?event_id=1");
    cases.push(case("unknown query", "POST", &query, &headers, GOOD, (422, "INVALID_REQUEST")));
    // The entry comes before the body, and is its member's alone.
    let nobodys = format!("{NO_ENTRY}/claim");
    cases.push(case("of nobody", "POST", &nobodys, &headers, b"{", (404, "ENTRY_NOT_FOUND")));
    let other = format!("{}{JSON}", system.member(2));
    cases.push(case("another's", "POST", &path, &other, b"{", (404, "ENTRY_NOT_FOUND")));
    for id in ["x", "%00", "-", "0191d0e68f6a8abc8def0123456789ab", "0191d0e6-8f6a-8abc-8def-0123456789ag"] {
        let path = format!("/v1/entries/{id}/claim");
        cases.push(case("entry id", "POST", &path, &headers, b"{", (404, "ENTRY_NOT_FOUND")));
    }
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        cases.push(case("method", method, &path, &headers, b"", (405, "METHOD_NOT_ALLOWED")));
    }
    cases
}

/// The event was never deleted. What needs a scope is in [`scopes`](super::admin::scopes).
pub(super) fn contacts(system: &System, event: i64) -> Vec<Case> {
    let staff = system.staff("events:read events:write contacts:read");
    let headers = format!("{staff}{JSON}");
    let get = |name: &str, path: String, expected: (u16, &'static str)| {
        case(name, "GET", &path, &staff, b"", expected)
    };
    let path = |end: &str| format!("/admin/v1/events/{event}/{end}");
    let mut cases = vec![
        get("not deleted", path("deletion"), (404, "DELETION_NOT_FOUND")),
        get("unknown query", path("deletion?state=COMPLETE"), (422, "INVALID_REQUEST")),
        case("method", "DELETE", &path("deletion"), &staff, b"", (405, "METHOD_NOT_ALLOWED")),
        case("method", "POST", &path("winners"), &staff, b"", (405, "METHOD_NOT_ALLOWED")),
    ];
    for id in ["0", "-1", "01", "x", "777", "9223372036854775808", "1%00"] {
        for end in ["deletion", "winners"] {
            let path = format!("/admin/v1/events/{id}/{end}");
            cases.push(get("event id", path, (404, "EVENT_NOT_FOUND")));
        }
    }
    for query in ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=1.2", "limt=1", "contacts=true"] {
        cases.push(get("export", path(&format!("winners?{query}")), (422, "INVALID_REQUEST")));
    }
    // The whole list has no pages.
    let csv = format!("{staff}accept: text/csv\r\n");
    for query in ["limit=1", "cursor=x"] {
        let path = path(&format!("winners?{query}"));
        cases.push(case("a page of CSV", "GET", &path, &csv, b"", (422, "INVALID_REQUEST")));
    }

    let erase = "/admin/v1/members/1/contacts";
    for (name, body, status, code) in bodies(16 * 1024) {
        cases.push(case(name, "DELETE", erase, &headers, &body, (status, code)));
    }
    for key in ["", &"k".repeat(65), "é", "a\tb"] {
        let headers = format!("{headers}idempotency-key: {key}\r\n");
        let name = format!("key {key:?}");
        cases.push(case(name, "DELETE", erase, &headers, b"{}", (422, "INVALID_REQUEST")));
    }
    let text = format!("{staff}content-type: text/plain\r\n");
    cases.push(case("text", "DELETE", erase, &text, b"{}", (415, "UNSUPPORTED_MEDIA_TYPE")));
    let query = format!("{erase}?event_id={event}");
    cases.push(case("unknown query", "DELETE", &query, &headers, b"{}", (422, "INVALID_REQUEST")));
    for id in ["x", "01", "+1", "1.0", "%31", "1%00", "9223372036854775808"] {
        let path = format!("/admin/v1/members/{id}/contacts");
        cases.push(case("member id", "DELETE", &path, &headers, b"{", (404, "MEMBER_NOT_FOUND")));
    }
    cases.push(case("method", "GET", erase, &headers, b"", (405, "METHOD_NOT_ALLOWED")));
    cases
}
