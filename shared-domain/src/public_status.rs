//! What clients see of an event's life (API "Event").

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{EventPeriod, Millis};

/// The stored part of an event's life cycle; "open" follows from time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Lifecycle {
    /// Being written by staff.
    Draft = 0,
    /// In the log, or on its way there.
    Scheduled = 1,
    /// No more entries are admitted; `Closed` is on its way.
    Closing = 2,
    /// Every lane has applied `Closed`.
    Closed = 3,
    /// A raffle whose results are published.
    Drawn = 4,
}

impl Lifecycle {
    /// The number in the database.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The value of a number.
    pub fn from_code(code: i16) -> Option<Self> {
        [Self::Draft, Self::Scheduled, Self::Closing, Self::Closed, Self::Drawn]
            .into_iter()
            .find(|l| l.code() == code)
    }
}

/// Status of an event in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventStatus {
    /// Seen by staff only.
    Draft,
    /// Will open.
    Scheduled,
    /// Takes entries.
    Open,
    /// Takes none for now.
    Paused,
    /// Every option is exhausted.
    SoldOut,
    /// Takes none any more.
    Closed,
    /// A raffle whose results are published.
    Drawn,
}

/// Status at `now`. `admitting`: `Scheduled` is applied in every lane.
pub fn public_status(
    lifecycle: Lifecycle,
    period: &EventPeriod,
    now: Millis,
    admitting: bool,
    paused: bool,
    exhausted: bool,
) -> EventStatus {
    match lifecycle {
        Lifecycle::Draft => EventStatus::Draft,
        Lifecycle::Closing | Lifecycle::Closed => EventStatus::Closed,
        Lifecycle::Drawn => EventStatus::Drawn,
        Lifecycle::Scheduled if now >= period.ends_at() => EventStatus::Closed,
        Lifecycle::Scheduled if now < period.starts_at() || !admitting => EventStatus::Scheduled,
        Lifecycle::Scheduled if paused => EventStatus::Paused,
        Lifecycle::Scheduled if exhausted => EventStatus::SoldOut,
        Lifecycle::Scheduled => EventStatus::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_follows_time_then_flags() {
        let period = EventPeriod::new(10, 20).expect("valid");
        let at = |now, admitting, paused, out| {
            public_status(Lifecycle::Scheduled, &period, now, admitting, paused, out)
        };
        assert_eq!(at(9, true, true, true), EventStatus::Scheduled);
        assert_eq!(at(10, false, false, false), EventStatus::Scheduled);
        assert_eq!(at(10, true, false, false), EventStatus::Open);
        assert_eq!(at(10, true, true, true), EventStatus::Paused);
        assert_eq!(at(10, true, false, true), EventStatus::SoldOut);
        assert_eq!(at(20, true, true, true), EventStatus::Closed);
        let closing = public_status(Lifecycle::Closing, &period, 11, true, false, false);
        assert_eq!(closing, EventStatus::Closed);
    }
}
