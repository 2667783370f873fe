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

/// What can be wrong with a report, by a trusted system and by a member.
pub(super) fn activities(system: &System) -> Vec<Case> {
    const PATH: &str = "/v1/activities";
    let trusted = format!("{}{JSON}", system.reporter());
    let member = format!("{}{JSON}", system.member(1));
    let mut cases: Vec<Case> = bodies(256 * 1024)
        .into_iter()
        .filter(|(name, ..)| !name.contains("empty"))
        .map(|(name, body, status, code)| {
            // It is read before it is known what it must be, and only so deep.
            let wanted = if name == "too deep" { (400, "INVALID_JSON") } else { (status, code) };
            case(name, "POST", PATH, &trusted, &body, wanted)
        })
        .collect();
    let (soon, long_ago) = ("2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z");
    let late = format!(r#"{{"mission_type":"ATTENDANCE","member_id":1,"occurred_at":"{soon}"}}"#);
    let old = format!(r#"{{"mission_type":"ATTENDANCE","member_id":1,"occurred_at":"{long_ago}"}}"#);
    for body in [
        r#"{}"#,
        r#"{"mission_type":"SWIM","member_id":1,"value":1}"#,
        r#"{"mission_type":"step_count","member_id":1,"value":1}"#,
        r#"{"mission_type":"STEP_COUNT","member_id":1}"#,
        r#"{"mission_type":"STEP_COUNT","member_id":1,"value":-1}"#,
        r#"{"mission_type":"STEP_COUNT","member_id":1,"value":"9"}"#,
        r#"{"mission_type":"STEP_COUNT","member_id":1,"value":1.5}"#,
        r#"{"mission_type":"STEP_COUNT","member_id":1,"value":200001}"#,
        r#"{"mission_type":"STEP_COUNT","member_id":1,"value":9223372036854775808}"#,
        r#"{"mission_type":"STEP_COUNT","member_id":1,"value":1,"friend_id":2}"#,
        r#"{"mission_type":"STEP_COUNT","value":1}"#,
        r#"{"mission_type":"STEP_COUNT","member_id":"1","value":1}"#,
        r#"{"mission_type":"ATTENDANCE","member_id":1,"value":1}"#,
        r#"{"mission_type":"ATTENDANCE","member_id":1,"activity_id":"x"}"#,
        r#"{"mission_type":"ATTENDANCE","member_id":1,"occurred_at":"yesterday"}"#,
        r#"{"mission_type":"ATTENDANCE","member_id":1,"occurred_at":1700000000}"#,
        &late,
        &old,
        r#"{"mission_type":"FRIEND_INVITE","member_id":1}"#,
        r#"{"mission_type":"FRIEND_INVITE","member_id":1,"friend_id":1}"#,
        r#"{"mission_type":"ATTENDANCE","member_id":1,"x":1}"#,
        r#"{"activities":[]}"#,
        r#"{"activities":{}}"#,
        r#"{"activities":[{"mission_type":"ATTENDANCE","member_id":1}],"mission_type":"ATTENDANCE"}"#,
    ] {
        let name = format!("activity {body:.50}");
        cases.push(case(name, "POST", PATH, &trusted, body.as_bytes(), (422, "INVALID_REQUEST")));
    }
    for body in [
        r#"{"mission_type":"ATTENDANCE","member_id":2}"#,
        r#"{"mission_type":"STEP_COUNT","member_id":2,"value":1}"#,
        r#"{"activities":[{"mission_type":"ATTENDANCE"}]}"#,
    ] {
        cases.push(case("foreign", "POST", PATH, &member, body.as_bytes(), (403, "FORBIDDEN")));
    }
    let one = br#"{"mission_type":"ATTENDANCE"}"#;
    let other_scope = format!("{}{JSON}", system.staff("events:write"));
    cases.push(case("without the scope", "POST", PATH, &other_scope, one, (403, "FORBIDDEN")));
    cases.push(case("no token", "POST", PATH, JSON, one, (401, "UNAUTHENTICATED")));
    cases.push(case("no type", "POST", PATH, &system.member(1), one, (415, "UNSUPPORTED_MEDIA_TYPE")));
    cases.push(case("query", "POST", &format!("{PATH}?x=1"), &member, one, (422, "INVALID_REQUEST")));
    let large = format!(r#"{{"mission_type":"{}"}}"#, "A".repeat(20_000));
    cases.push(case("a member's is small", "POST", PATH, &member, large.as_bytes(), (413, "BODY_TOO_LARGE")));
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
        for (method, path) in [
            ("GET", format!("/v1/events/{id}")),
            ("POST", format!("/v1/events/{id}/entries")),
            ("GET", format!("/v1/events/{id}/missions")),
        ] {
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
    let missions = format!("/v1/events/{event}/missions");
    cases.push(case("no token", "GET", &missions, "", b"", (401, "UNAUTHENTICATED")));
    cases.push(case("staff", "GET", &missions, &system.staff("events:read"), b"", (401, "UNAUTHENTICATED")));
    cases.push(case(
        "unknown query",
        "GET",
        &format!("{missions}?x=1"),
        &token,
        b"",
        (422, "INVALID_REQUEST"),
    ));
    cases.push(case("unknown", "GET", "/v1/events/777/missions", &token, b"", (404, "EVENT_NOT_FOUND")));
    cases.push(case("method", "GET", "/v1/activities", &token, b"", (405, "METHOD_NOT_ALLOWED")));
    for path in ["/metrics", "/livez", "/admin/v1/events"] {
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
