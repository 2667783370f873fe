//! One thing that is not as it should be, by its place.

use std::fmt;

use shared_domain::{EntryStatus, EventId, Reason};

use crate::store::rows::{EntryRow, LaneRow, StockRow};

/// What says how it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// The log, decided again.
    Log,
    /// The rows of `event_entry`.
    Rows,
    /// The draw's own rows.
    Draw,
    /// The database, of what is kept in Redis.
    Database,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Event.
    pub event_id: EventId,
    /// Lane, where it is of one.
    pub lane: Option<i32>,
    /// Place in the lane, of an entry.
    pub seq: Option<i64>,
    /// Table and column, or the key in Redis.
    pub what: String,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub expected: String,
    /// Who says so.
    pub by: Witness,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}", self.event_id)?;
        if let Some(lane) = self.lane {
            write!(f, " lane {lane}")?;
        }
        if let Some(seq) = self.seq {
            write!(f, " seq {seq}")?;
        }
        let by = match self.by {
            Witness::Log => "the log",
            Witness::Rows => "the entries",
            Witness::Draw => "the draw",
            Witness::Database => "the database",
        };
        write!(f, ": {} is {}, by {by} {}", self.what, self.found, self.expected)
    }
}

impl Difference {
    pub(super) fn of_event(
        event_id: EventId,
        what: &str,
        found: String,
        expected: String,
        by: Witness,
    ) -> Self {
        Self { event_id, lane: None, seq: None, what: what.to_owned(), found, expected, by }
    }

    pub(super) fn in_lane(
        (event_id, lane): (EventId, i32),
        what: &str,
        found: String,
        expected: String,
        by: Witness,
    ) -> Self {
        Self { lane: Some(lane), ..Self::of_event(event_id, what, found, expected, by) }
    }

    pub(super) fn of_entry(row: &EntryRow, what: &str, found: String, expected: String, by: Witness) -> Self {
        Self {
            lane: Some(row.lane),
            seq: Some(row.seq),
            ..Self::of_event(row.event_id, what, found, expected, by)
        }
    }
}

/// How a place is named in a line.
pub(super) fn entry_text(row: &EntryRow) -> String {
    let id = row.id().map_or_else(|_| "?".to_owned(), |id| id.to_string());
    format!("entry {id} of offset {}", row.log_offset)
}

/// Whether an entry is PENDING by the log and has been drawn since, in the database alone.
fn drawn_since(found: &EntryRow, expected: &EntryRow) -> bool {
    let taken_out = Some(i16::from(Reason::Disqualified.code()));
    expected.status == i16::from(EntryStatus::Pending.code())
        && (found.status != i16::from(EntryStatus::Rejected.code()) || found.reason == taken_out)
}

/// Columns in which a row differs from what was decided at its place: column, found, expected. What only a draw writes is
/// the draw's. With `missions`, the chances too.
pub fn row_differences(
    found: &EntryRow,
    expected: &EntryRow,
    missions: bool,
) -> Vec<(&'static str, String, String)> {
    let mut differ = Vec::new();
    let mut column = |name, found: String, expected: String| {
        if found != expected {
            differ.push((name, found, expected));
        }
    };
    column("event_entry.entry_id", hex(&found.entry_id), hex(&expected.entry_id));
    column("event_entry.member_id", found.member_id.to_string(), expected.member_id.to_string());
    column("event_entry.log_offset", found.log_offset.to_string(), expected.log_offset.to_string());
    column("event_entry.accepted_at", found.accepted_at.to_string(), expected.accepted_at.to_string());
    if missions {
        column("event_entry.missions", found.missions.to_string(), expected.missions.to_string());
    }
    if !drawn_since(found, expected) {
        column("event_entry.status", status(found.status), status(expected.status));
        column("event_entry.reason", reason(found.reason), reason(expected.reason));
        column("event_entry.option_index", some(found.option_index), some(expected.option_index));
        column(
            "event_entry.reward_amount",
            found.reward_amount.to_string(),
            expected.reward_amount.to_string(),
        );
        column("event_entry.entry_rank", some(found.entry_rank), some(expected.entry_rank));
    }
    differ
}

/// Columns of a lane's row that follow from the log, likewise.
pub(super) fn lane_differences(found: &LaneRow, expected: &LaneRow) -> Vec<(&'static str, String, String)> {
    let columns = [
        ("event_lane.seq", found.seq.to_string(), expected.seq.to_string()),
        ("event_lane.wins", found.wins.to_string(), expected.wins.to_string()),
        ("event_lane.losses", found.losses.to_string(), expected.losses.to_string()),
        ("event_lane.rejections", found.rejections.to_string(), expected.rejections.to_string()),
        ("event_lane.paid", found.paid.to_string(), expected.paid.to_string()),
        ("event_lane.block_paid", found.block_paid.to_string(), expected.block_paid.to_string()),
        ("event_lane.digest", hex(&found.digest), hex(&expected.digest)),
        (
            "event_lane.review_number",
            some(found.review_number.as_ref()),
            some(expected.review_number.as_ref()),
        ),
        ("event_lane.approved_from", some(found.approved_from), some(expected.approved_from)),
        ("event_lane.approved_until", some(found.approved_until), some(expected.approved_until)),
        ("event_lane.closed_offset", some(found.closed_offset), some(expected.closed_offset)),
        ("event_lane.deleted_offset", some(found.deleted_offset), some(expected.deleted_offset)),
        ("event_lane.exhausted_offset", some(found.exhausted_offset), some(expected.exhausted_offset)),
    ];
    columns.into_iter().filter(|(_, found, expected)| found != expected).collect()
}

/// Stock that is not as it should be, option by option.
pub(super) fn stock_differences(found: &[StockRow], expected: &[StockRow]) -> Vec<(String, String, String)> {
    let mut differ = Vec::new();
    for row in expected {
        let option = row.option_index;
        let Some(there) = found.iter().find(|there| there.option_index == option) else {
            differ.push((format!("event_stock option {option}"), "missing".to_owned(), "there".to_owned()));
            continue;
        };
        for (column, found, expected) in
            [("granted", there.granted, row.granted), ("stock_count", there.stock_count, row.stock_count)]
        {
            if found != expected {
                let what = format!("event_stock.{column} of option {option}");
                differ.push((what, found.to_string(), expected.to_string()));
            }
        }
    }
    differ
}

fn status(code: i16) -> String {
    let known = EntryStatus::from_code(code).map(|status| format!("{status:?}").to_uppercase());
    known.unwrap_or_else(|| code.to_string())
}

fn reason(code: Option<i16>) -> String {
    some(code.map(|code| Reason::from_code(code).map_or_else(|| code.to_string(), |r| format!("{r:?}"))))
}

fn some(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
