//! Figures, winners, the support desk and the audit log.

use serde_json::{Value, json};
use shared_runtime::http::Operation;
use shared_runtime::http::openapi::{integer, text, time};

use super::{COMMAND, Common, ENTRY, approval_example};
use crate::desk::{AuditLinesJson, MemberEntriesJson};
use crate::routes::READ;
use crate::stats::Stats;
use crate::winners::{COLUMNS, WinnersJson};

const FIGURES: &str = "Figures";
const DESK: &str = "Desk";

pub(crate) fn winners() -> Operation {
    let csv = format!("{}\r\n{ENTRY},1001,1,DEFAULT,7,2026-03-01T09:00:00.240Z,,,\r\n", COLUMNS.join(","));
    Operation::new("listWinners", "Winners, as JSON pages or as one CSV file")
        .about(
            "`Accept: text/csv` streams the whole list (RFC 4180; then neither `limit` nor `cursor`); text that a \
             spreadsheet would take for a formula begins with an apostrophe. A list that breaks off cuts the connection. Contacts are shown with scope `contacts:read`; one that does not open is \
             `UNREADABLE` in its row.",
        )
        .tag(FIGURES)
        .staff(&[READ])
        .of_event()
        .page()
        .answer::<WinnersJson>(200, "A page", json!({
            "winners": [{
                "entry_id": ENTRY, "member_id": 1001, "rank": 1, "option": "DEFAULT", "reward_amount": 7,
                "decided_at": "2026-03-01T09:00:00.240Z", "contact": {"phone_number": "+821012345678"},
            }],
            "next_cursor": null,
        }))
        .content(200, "text/csv", "All of them", text(), Value::from(csv))
        .answer_header(200, "Content-Disposition", "A file name, for CSV", text(), false)
}

fn figures() -> Value {
    json!({
        "accepted": 1500, "decided": 1480, "won": 10, "lost": 1470, "rejected": 0, "pending": 0,
        "remaining": {"DEFAULT": 0}, "paid": 70, "backlog": 20, "entries_per_second": 350,
        "sold_out_at": "2026-03-01T09:00:00.240Z",
    })
}

pub(crate) fn stats() -> Operation {
    Operation::new("getStats", "Live figures, at most a second old")
        .about("`accepted` = `decided` + `backlog`; both are exact once the lanes are read.")
        .tag(FIGURES)
        .staff(&[READ])
        .of_event()
        .answer::<Stats>(200, "The figures", figures())
}

pub(crate) fn stats_stream() -> Operation {
    Operation::new("streamStats", "Live figures once a second, until the token expires")
        .tag(FIGURES)
        .staff(&[READ])
        .of_event()
        .event::<Stats>("stats", "once a second", None, figures())
}

pub(crate) fn member_entries() -> Operation {
    Operation::new("listMemberEntries", "Why did this member lose? All decided entries of a member")
        .tag(DESK)
        .staff(&[READ])
        .path("member_id", "Member", integer(i64::MIN, i64::MAX), 1001)
        .page()
        .answer::<MemberEntriesJson>(200, "A page", json!({
            "entries": [{
                "entry_id": ENTRY, "event_id": 42, "event_title": "Ten mugs", "status": "LOSE", "lane": 3, "seq": 11,
                "offset": 1218, "accepted_at": "2026-03-01T09:00:00.123Z", "decided_at": "2026-03-01T09:00:00.240Z",
                "review_number": "R-2026-7", "approval": approval_example(),
            }],
            "next_cursor": null,
        }))
        .problem(404, "MEMBER_NOT_FOUND", "this is no member id")
}

pub(crate) fn audit() -> Operation {
    Operation::new("listAudit", "Who did what, when")
        .about("A line `ACCEPTED` with each change, a second one when the log has settled its command, one for each export.")
        .tag(DESK)
        .staff(&[READ])
        .page()
        .query("event_id", "Only of this event", integer(i64::MIN, i64::MAX))
        .query("actor", "Only by this name", text())
        .query("action", "Only these, e.g. `CREATED`", text())
        .query("from", "At this moment or later", time())
        .query("until", "Before this moment", time())
        .answer::<AuditLinesJson>(200, "A page", json!({
            "audit": [{
                "at": "2026-02-21T10:00:00.000Z", "actor": "ann", "action": "SCHEDULED", "event_id": 42,
                "request_id": "6b0a7d0e-3c1f-4c55-9f5e-2a0c6f4f0b1e", "outcome": "ACCEPTED",
                "detail": {"command_id": COMMAND},
            }],
            "next_cursor": null,
        }))
}
