//! The public listener's table.

use super::{Case, JSON, bodies, case, chunked};
use crate::http::bearer;
use crate::system::System;

pub(super) const NO_ENTRY: &str = "/v1/entries/0191d0e6-8f6a-8abc-8def-0123456789ab";

pub(super) fn entry_bodies(system: &System, event: i64) -> Vec<Case> {
    let path = format!("/v1/events/{event}/entries");
    let token = system.member(1);
    let headers = format!("{token}{JSON}");
    let mut cases: Vec<Case> = bodies(16 * 1024)
        .into_iter()
        .map(|(name, body, status, code)| case(name, "POST", &path, &headers, &body, (status, code)))
        .collect();
    let huge = format!(r#"{{"options":["{}"]}}"#, "A".repeat(10_000));
    for (body, status, code) in [
        (r#"{"options":"DEFAULT"}"#, 422, "INVALID_REQUEST"),
        (r#"{"options":[1]}"#, 422, "INVALID_REQUEST"),
        (r#"{"options":{"0":"DEFAULT"}}"#, 422, "INVALID_REQUEST"),
        (r#"{"options":null}"#, 422, "INVALID_REQUEST"),
        (r#"{"options":["DEFAULT"],"options":["DEFAULT"]}"#, 400, "INVALID_JSON"),
        (r#"{"options":["DEFAULT","DEFAULT"]}"#, 422, "INVALID_REQUEST"),
        (r#"{"options":["default"]}"#, 422, "UNKNOWN_OPTION"),
        (r#"{"options":["'; DROP TABLE events; --"]}"#, 422, "UNKNOWN_OPTION"),
        (r#"{"options":["\u0000"]}"#, 422, "UNKNOWN_OPTION"),
        (&huge, 422, "UNKNOWN_OPTION"),
        (r#"{"contact":{}}"#, 422, "CONTACT_NOT_ALLOWED"),
        (r#"{"contact":{"email":"a@b.example"}}"#, 422, "CONTACT_NOT_ALLOWED"),
        (r#"{"member_id":2}"#, 422, "INVALID_REQUEST"),
    ] {
        cases.push(case("body", "POST", &path, &headers, body.as_bytes(), (status, code)));
    }
    for content_type in [
        "",
        "content-type: text/plain\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: application/json; charset=latin1\r\n",
        "content-type: application/jsonx\r\n",
    ] {
        let headers = format!("{token}{content_type}");
        cases.push(case(content_type, "POST", &path, &headers, b"{}", (415, "UNSUPPORTED_MEDIA_TYPE")));
    }
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}");
    let half = vec![b' '; 9_000];
    cases.push((
        "chunked too large".into(),
        chunked(&head, &[&half, &half], b"0\r\n\r\n"),
        413,
        "BODY_TOO_LARGE",
    ));
    cases.push(("chunked, cut JSON".into(), chunked(&head, &[b"{\"opt"], b"0\r\n\r\n"), 400, "INVALID_JSON"));
    cases.push(("bad chunk size".into(), chunked(&head, &[b"{}"], b"zz\r\n"), 400, "INCOMPLETE_BODY"));
    cases
}

pub(super) fn entry_heads(system: &System, event: i64) -> Vec<Case> {
    let path = format!("/v1/events/{event}/entries");
    let token = system.member(1);
    let mut cases = Vec::new();
    for key in ["", " ", "\t", &"k".repeat(65), "é", "a\tb"] {
        let headers = format!("{token}idempotency-key: {key}\r\n");
        cases.push(case(format!("key {key:?}"), "POST", &path, &headers, b"", (422, "INVALID_REQUEST")));
    }
    for query in ["x=1", "event_id=1", "%00", "x", "options=DEFAULT", "%ff=%ff"] {
        let path = format!("{path}?{query}");
        cases.push(case("query", "POST", &path, &token, b"", (422, "INVALID_REQUEST")));
    }
    cases
}

pub(super) fn public_routes(system: &System, event: i64) -> Vec<Case> {
    let token = system.member(1);
    let mut cases = Vec::new();
    for id in [
        "0",
        "-1",
        "+1",
        "01",
        "1.0",
        "1e0",
        "x",
        "%31",
        "1%00",
        "9223372036854775808",
        "99999999999999999999",
        "1;drop",
        "%2e%2e",
    ] {
        for (method, path) in
            [("GET", format!("/v1/events/{id}")), ("POST", format!("/v1/events/{id}/entries"))]
        {
            cases.push(case("event id", method, &path, &token, b"", (404, "EVENT_NOT_FOUND")));
        }
    }
    cases.push(case("unknown", "GET", "/v1/events/777", "", b"", (404, "EVENT_NOT_FOUND")));
    cases.push(case("unknown", "POST", "/v1/events/777/entries", &token, b"{", (404, "EVENT_NOT_FOUND")));
    for id in [
        "x",
        "0191d0e68f6a8abc8def0123456789ab",
        "0191d0e6-8f6a-8abc-8def-0123456789ag",
        "%00",
        "-",
        "..%2f..%2fetc",
    ] {
        for end in ["", "/stream"] {
            let path = format!("/v1/entries/{id}{end}");
            cases.push(case("entry id", "GET", &path, &token, b"", (404, "ENTRY_NOT_FOUND")));
        }
    }
    for end in ["", "/stream"] {
        let path = format!("{NO_ENTRY}{end}");
        cases.push(case("of nobody", "GET", &path, &token, b"", (404, "ENTRY_NOT_FOUND")));
        cases.push(case("no token", "GET", &path, "", b"", (401, "UNAUTHENTICATED")));
        cases.push(case(
            "unknown query",
            "GET",
            &format!("{path}?recipt=x"),
            &token,
            b"",
            (422, "INVALID_REQUEST"),
        ));
        for receipt in ["", "A", "AAAA", "é", "=", &"A".repeat(4_000), "../../x"] {
            let headers = format!("{token}x-entry-receipt: {receipt}\r\n");
            cases.push(case(
                format!("receipt {receipt:.9}"),
                "GET",
                &path,
                &headers,
                b"",
                (401, "INVALID_RECEIPT"),
            ));
        }
    }
    for receipt in ["", "%00", "AAAA", "%ff%fe"] {
        let path = format!("{NO_ENTRY}/stream?receipt={receipt}");
        cases.push(case("receipt in the query", "GET", &path, "", b"", (401, "INVALID_RECEIPT")));
    }
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=-1",
        "limit=",
        "limit=1.5",
        "cursor=x",
        "cursor=",
        "limt=1",
        "status=OPEN",
    ] {
        let path = format!("/v1/events?{query}");
        cases.push(case("list", "GET", &path, "", b"", (422, "INVALID_REQUEST")));
        let path = format!("/v1/members/me/entries?{query}");
        cases.push(case("own list", "GET", &path, &token, b"", (422, "INVALID_REQUEST")));
        cases.push(case("own list", "GET", &path, "", b"", (401, "UNAUTHENTICATED")));
    }
    for cursor in ["1.2.3", "1.2.3.4.5", "1.2.3.x", "01.2.3.4", "1.2.99999999999.4", "1.2.3.4%00", "%27"] {
        let path = format!("/v1/members/me/entries?cursor={cursor}");
        cases.push(case("own list", "GET", &path, &token, b"", (422, "INVALID_REQUEST")));
    }
    for query in ["limit=0", "limit=201", "limit=x", "limit=", "limit=-1", "cursor=1", "limt=1"] {
        let path = format!("/v1/ranking?{query}");
        cases.push(case("ranking", "GET", &path, "", b"", (422, "INVALID_REQUEST")));
    }
    let mine = "/v1/members/me/entries";
    cases.push(case("staff", "GET", mine, &system.staff("events:read"), b"", (401, "UNAUTHENTICATED")));
    cases.push(case("not mine", "GET", "/v1/members/2/entries", &token, b"", (404, "NOT_FOUND")));
    let one = format!("/v1/events/{event}?verbose=1");
    cases.push(case("unknown query", "GET", &one, "", b"", (422, "INVALID_REQUEST")));
    // Built one day; until then a path like any other.
    for path in ["/v1/activities", "/metrics", "/livez", "/admin/v1/events"] {
        cases.push(case("not here", "GET", path, &token, b"", (404, "NOT_FOUND")));
    }
    cases
}

/// Who asks comes before the body.
pub(super) fn tokens(system: &System, path: &str) -> Vec<Case> {
    let foreign = shared_runtime::auth::DevKey::new([1; 32]);
    let hour = std::time::Duration::from_secs(3_600);
    // {"alg":"none","typ":"JWT"} over {"sub":"1"}, with and without a dot at the end.
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiIxIn0";
    let good = system.member(1);
    let cut = format!("{}\r\n", &good[..good.len() - 6]);
    let basic = good.replace("Bearer", "Basic");
    let twice = format!("authorization: Bearer x\r\n{good}");
    [
        String::new(),
        "authorization: Bearer\r\n".to_owned(),
        bearer("x"),
        bearer("a.b.c"),
        bearer("é"),
        bearer(none),
        bearer(&format!("{none}.")),
        bearer(&"a".repeat(7_000)),
        bearer(&foreign.issue_member(1, hour).expect("token")),
        system.staff("events:write ops:write"),
        cut,
        basic,
        twice,
    ]
    .into_iter()
    .map(|headers| {
        case(format!("token {headers:.40}"), "POST", path, &headers, b"{", (401, "UNAUTHENTICATED"))
    })
    .collect()
}
