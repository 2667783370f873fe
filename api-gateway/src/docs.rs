//! What the OpenAPI document says of each route.

use serde_json::{Value, json};
use shared_domain::Contact;
use shared_domain::draw::DrawRecord;
use shared_runtime::http::openapi::{id, integer, text, uuid};
use shared_runtime::http::{About, Operation};

use crate::activities;
use crate::entries::{Accepted, EntryBody};
use crate::entry_view::EntryJson;
use crate::events_view::{EventJson, EventsJson};
use crate::missions_view::MissionsJson;
use crate::my_entries::EntriesJson;
use crate::ranking::{DEFAULT, RankingJson};
use crate::stream::Position;

pub(crate) const ABOUT: About = About {
    title: "Events: public listener",
    version: env!("CARGO_PKG_VERSION"),
    description: "Members enter events and learn what became of their entries. A 202 is answered once the log has the \
                  entry: it is never lost and never counted twice. Order is the order of the log, not of clicks.",
};

const EVENTS: &str = "Events";
const ENTRIES: &str = "Entries";
const DRAWS: &str = "Draws";
const MISSIONS: &str = "Missions";
const ENTRY: &str = "0191d0e6-8f6a-8abc-8def-0123456789ab";
const RECEIPT: &str = "AQAFbG9nLTEAAAAAAAAAKgAAAAAAAAAAAAAAAA";

pub(crate) fn list_events() -> Operation {
    Operation::new("listEvents", "Events that take entries, or will")
        .about("Those SCHEDULED, OPEN, PAUSED or SOLD_OUT, by id.")
        .tag(EVENTS)
        .page()
        .violation("INVALID_REQUEST", "query:cursor", "is not one of ours")
        .answer::<EventsJson<'_>>(
            200,
            "A page",
            json!({
                "events": [event()], "next_cursor": null, "server_time": "2026-03-01T09:59:59.000Z",
            }),
        )
}

pub(crate) fn ranking() -> Operation {
    let mut limit = integer(1, 200);
    limit["default"] = DEFAULT.into();
    let example = json!({"events": [{"event_id": 42, "title": "Ten mugs", "score": 1302}]});
    Operation::new("getRanking", "The most popular events")
        .about(
            "By accepted entries, at most a few seconds old: the events that `GET /v1/events/{event_id}` shows and that have \
             an entry.",
        )
        .tag(EVENTS)
        .query("limit", "How many at most", limit)
        .violation("INVALID_REQUEST", "query:limit", "must be an integer from 1 to 200")
        .answer::<RankingJson<'_>>(200, "The first of the ranking", example)
}

pub(crate) fn get_event() -> Operation {
    let mut example = event();
    example["server_time"] = json!("2026-03-01T09:59:59.000Z");
    Operation::new("getEvent", "One event")
        .tag(EVENTS)
        .path("event_id", "Event", id(), 42)
        .answer::<EventJson<'_>>(200, "The event", example)
        .problem(404, "EVENT_NOT_FOUND", "no such event; drafts and deleted ones neither")
}

pub(crate) fn enter(body_limit: usize) -> Operation {
    let accepted = |code: &str, status: &str| json!({"entry_id": ENTRY, "event_id": 42, "code": code, "status": status, "receipt": RECEIPT, "ahead": 17});
    let pending = accepted("APPLIED_RAFFLE", "PENDING");
    let known = json!({"entry_id": ENTRY, "event_id": 42, "code": "ALREADY_APPLIED", "status": "WIN"});
    Operation::new("enter", "Enter an event")
        .about(
            "Checked in this order: the event, its state, the token, the body, whether anything is left, the limits. The \
             same member (and key, where an event takes several entries a member) is the same entry, so asking again is \
             always safe.",
        )
        .tag(ENTRIES)
        .member()
        .path("event_id", "Event", id(), 42)
        .idempotency_key("Required where the event takes several entries a member: each key is an entry")
        .body::<EntryBody>(false, body_limit, json!({"options": ["DEFAULT"]}))
        .answer::<Accepted<'_>>(202, "The log has it", accepted("APPLIED", "QUEUED"))
        .answer::<Accepted<'_>>(202, "The log has it: a raffle", accepted("APPLIED_RAFFLE", "QUEUED"))
        .location(202)
        .answer::<Accepted<'_>>(201, "A raffle without the high-traffic flag: the row is there", pending)
        .location(201)
        .answer::<Accepted<'_>>(200, "This member is in already (best effort)", known)
        .location(200)
        .problem(404, "EVENT_NOT_FOUND", "no such event; drafts and deleted ones neither")
        .problem(409, "EVENT_NOT_STARTED", "before its start; `Retry-After` says when")
        .problem(409, "EVENT_PAUSED", "staff paused it; carries `Retry-After`")
        .problem(409, "EVENT_CLOSED", "it takes no more entries")
        .problem(409, "APPROVAL_EXPIRED", "the approval in force does not cover this moment")
        .problem(409, "LOSE", "everything is gone and this member has not won; no entry is made")
        .answer_header(409, "Retry-After", "With EVENT_NOT_STARTED and EVENT_PAUSED: seconds", integer(1, i64::MAX), false)
        .violation("OPTION_REQUIRED", "/options", "name at least one option of the event")
        .violation("UNKNOWN_OPTION", "/options/0", "the event has no such option")
        .violation("CONTACT_NOT_ALLOWED", "/contact", "the event takes no contact with the entry")
        .violation("CONTACT_REQUIRED", "/contact", "is required by this event")
        .violation("INVALID_REQUEST", "/contact/phone_number", "must be E.164: + and 2 to 15 digits, the first not 0")
        .violation("IDEMPOTENCY_KEY_REQUIRED", "header:Idempotency-Key", "is required by this event")
        .problem(429, "TRY_AGAIN", "over the event's or the member's limit, or the queue is full; never means lost")
        .problem(503, "OUTCOME_UNKNOWN", "no acknowledgement in time; ask again with the same member and key, it counts once")
}

pub(crate) fn list_missions() -> Operation {
    let mission = json!({
        "mission_id": 0, "title": "Walk 10,000 steps", "mission_type": "STEP_COUNT", "goal_value": 10_000,
        "current_value": 9_000, "is_completed": false, "completed_at": null,
    });
    Operation::new("listMissions", "An event's missions, and how far the member is")
        .about("Progress is shown within about a second of being counted.")
        .tag(MISSIONS)
        .member()
        .path("event_id", "Event", id(), 42)
        .answer::<MissionsJson<'_>>(
            200,
            "All of them; none where the event has none",
            json!({"missions": [mission]}),
        )
        .problem(404, "EVENT_NOT_FOUND", "no such event; drafts and deleted ones neither")
        .problem(503, "UNAVAILABLE", "starting, or the database does not answer")
}

pub(crate) fn report(body_limit: usize) -> Operation {
    let id = "5f0c8a64-7d1e-4b0a-9c3b-6a1f2e4d5c7b";
    let body = json!({"activity_id": id, "mission_type": "STEP_COUNT", "value": 9000, "occurred_at": "2026-03-01T08:59:30.000Z"});
    Operation::new("report", "What a member did, for missions")
        .about(
            "It counts for every open event with a mission of that type, by the missions that are open at this moment. \
             Repeats are harmless: of steps the latest value counts (by `occurred_at`, then the larger), of days and of \
             friends the set. A member's own token speaks for that member, and for missions with `self_reported`. With \
             the scope activities:write, for anybody, and up to 500 at once (256 KiB), each judged by itself.",
        )
        .tag(MISSIONS)
        .caller(&[activities::SCOPE])
        .body::<activities::Body>(true, body_limit.max(activities::BATCH_BYTES), body)
        .answer::<activities::Answer>(202, "The log has it", json!({"activity_id": id, "events": [42]}))
        .answer::<activities::Answer>(
            202,
            "Many: what became of each, in their order",
            json!({"results": [
                {"activity_id": id, "events": [42]},
                {"activity_id": id, "events": [], "code": "INVALID_REQUEST",
                 "errors": [{"pointer": "/value", "detail": "must be between 0 and 200000"}]},
            ]}),
        )
        .problem(403, "FORBIDDEN", "another member's, several at once, or no mission that takes a member's own word")
        .violation("INVALID_REQUEST", "/value", "must be between 0 and 200000")
        .violation("INVALID_REQUEST", "/friend_id", "must be somebody else")
        .violation("INVALID_REQUEST", "/occurred_at", "must not lie in the future")
        .problem(429, "TRY_AGAIN", "over the member's limit, or the queue is full")
        .problem(503, "OUTCOME_UNKNOWN", "no acknowledgement in time; report it again, it counts once")
}

pub(crate) fn get_draw() -> Operation {
    let example = json!({
        "event_id": 42, "draw_id": "5f0c8a64-7d1e-8b0a-9c3b-6a1f2e4d5c7b", "phase": "SCHEDULED", "rules_version": 1,
        "method": "RANDOM", "commitment": "6c1d5c1f0e6b8a7d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f",
        "seed": null, "beacon": null, "trust": "operator", "entrants": null, "list_digest": null, "max_winners": 30,
        "max_alternates": 5, "winners": [], "alternates": [], "disqualified": [], "frozen_at": null,
        "published_at": null,
    });
    Operation::new("getDraw", "The record of a raffle's draw, for anyone")
        .about("It grows as the draw proceeds. From PUBLISHED on, anyone can recompute the draw from it and the list.")
        .tag(DRAWS)
        .path("event_id", "Event", id(), 42)
        .answer::<DrawRecord>(200, "The record", example)
        .problem(404, "EVENT_NOT_FOUND", "no such event; drafts and deleted ones neither")
        .problem(404, "DRAW_NOT_FOUND", "the event is no raffle")
}

pub(crate) fn get_entrants() -> Operation {
    Operation::new("getEntrants", "The frozen list of a raffle's entrants, for anyone")
        .about("One `entry_id,weight` a line, in list order. A list that breaks off cuts the connection.")
        .tag(DRAWS)
        .path("event_id", "Event", id(), 42)
        .content(200, "text/csv", "The list", text(), Value::from(format!("entry_id,weight\n{ENTRY},1\n")))
        .problem(404, "EVENT_NOT_FOUND", "no such event; drafts and deleted ones neither")
        .problem(404, "DRAW_NOT_FOUND", "the event is no raffle")
        .problem(404, "DRAW_NOT_FROZEN", "the list is not frozen yet")
}

pub(crate) fn claim(body_limit: usize) -> Operation {
    Operation::new("claim", "A winner says how to be reached")
        .about("Sealed at once: this listener cannot read it again. Again: replaces, until `claim_until`.")
        .tag(ENTRIES)
        .member()
        .path("entry_id", "Entry", uuid(), ENTRY)
        .body::<Contact>(true, body_limit, json!({"phone_number": "+821012345678"}))
        .empty(204, "Kept")
        .violation("INVALID_REQUEST", "/phone_number", "must be E.164: + and 2 to 15 digits, the first not 0")
        .problem(
            404,
            "ENTRY_NOT_FOUND",
            "no such entry, somebody else's, not decided yet, or of a deleted event",
        )
        .problem(409, "NOT_A_WINNER", "the entry has not won")
        .problem(409, "CLAIM_CLOSED", "the time for claims is over")
        .problem(409, "CONTACT_NOT_ALLOWED", "the event takes no contacts from winners")
        .problem(429, "TRY_AGAIN", "over the member's limit")
        .problem(503, "OUTCOME_UNKNOWN", "no answer in time; ask again, it replaces")
}

pub(crate) fn get_entry() -> Operation {
    Operation::new("getEntry", "What became of an entry")
        .about("By its receipt, exact from the first moment; or by its member's token, once it is decided.")
        .tag(ENTRIES)
        .member()
        .receipt(false)
        .path("entry_id", "Entry", uuid(), ENTRY)
        .answer::<EntryJson>(200, "The entry as it stands", won())
        .problem(
            404,
            "ENTRY_NOT_FOUND",
            "no such entry, somebody else's, or by token one that is not decided yet",
        )
}

pub(crate) fn my_entries() -> Operation {
    Operation::new("listMyEntries", "A member's own entries, newest first")
        .about(
            "Decided and pending ones, by the time at which they were accepted; none of deleted events. One that is still \
             queued shows up once it is decided, at most a second later.",
        )
        .tag(ENTRIES)
        .member()
        .page()
        .violation("INVALID_REQUEST", "query:cursor", "is not one of ours")
        .answer::<EntriesJson>(200, "A page", json!({"entries": [won()], "next_cursor": null}))
}

pub(crate) fn stream_entry() -> Operation {
    Operation::new("streamEntry", "The place in the queue, then the result, pushed")
        .about(
            "Server-Sent Events: `position` with `{entry_id, ahead}` while queued, at most one a second; one `result` with \
             the Entry (of a raffle, the PENDING one), then the end. A comment every 15 s keeps proxies awake. Who comes back \
             says by `Last-Event-ID` what is known already. Who is refused, or cannot hold a connection, polls \
             `GET /v1/entries/{entry_id}` every second or two: it tells the same.",
        )
        .tag(ENTRIES)
        .member()
        .receipt(true)
        .path("entry_id", "Entry", uuid(), ENTRY)
        .header("Last-Event-ID", "What an EventSource saw last: that is not told again", text())
        .event::<Position>("position", "while queued", Some("p17"), json!({"entry_id": ENTRY, "ahead": 17}))
        .event::<EntryJson>("result", "once, then the stream ends", Some("result"), won())
        .empty(204, "`Last-Event-ID` says that the result is known: do not come back")
        .problem(404, "ENTRY_NOT_FOUND", "no such entry, somebody else's, or by token one that is not decided yet")
        .problem(429, "TRY_AGAIN", "too many open streams of this member, or of this entry; poll meanwhile")
        .problem(503, "UNAVAILABLE", "too many streams, starting, or the database does not answer")
}

fn event() -> Value {
    json!({
        "event_id": 42, "title": "Ten mugs", "content": "One each.", "type": "FIRST_COME", "status": "OPEN",
        "starts_at": "2026-03-01T09:00:00.000Z", "ends_at": "2026-03-02T09:00:00.000Z",
        "options": [{"name": "DEFAULT", "remaining": 7}], "max_winners": 10, "duplicate_participation_allowed": false,
        "review_number": "R-2026-7", "contact_collection": "AFTER_WIN",
    })
}

fn won() -> Value {
    json!({
        "entry_id": ENTRY, "event_id": 42, "status": "WIN", "option": "DEFAULT", "reward_amount": 7, "seq": 3, "rank": 3,
        "accepted_at": "2026-03-01T09:00:00.123Z", "decided_at": "2026-03-01T09:00:00.240Z",
    })
}
