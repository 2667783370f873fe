//! Value objects of the event aggregate: they cannot hold a value that breaks their rule.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Millis;

/// A rule that a value breaks. The message is for people; `shared-domain::draft` adds the JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The end is not after the start.
    #[error("must be after the start")]
    EndNotAfterStart,
    /// A review number of blanks.
    #[error("must not be blank")]
    Blank,
    /// Longer than the database column.
    #[error("must be at most {0} characters")]
    TooLong(usize),
    /// Below zero.
    #[error("must be at least 0")]
    Negative,
    /// An increase or a decrease by nothing or less.
    #[error("must be greater than 0")]
    NotPositive,
    /// More than is left.
    #[error("only {0} left")]
    NotEnough(i64),
    /// The sum does not fit.
    #[error("is too large")]
    TooLarge,
    /// Outside of bounds that both belong to what is allowed.
    #[error("must be between {0} and {1}")]
    OutOfRange(i64, i64),
}

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventType {
    /// Everyone valid wins, while stock lasts where there is one.
    General,
    /// First come, first served.
    FirstCome,
    /// Winners are drawn after the close.
    Raffle,
}

/// When contact data is asked for (DESIGN section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContactCollection {
    /// Never.
    None,
    /// The winner claims.
    #[default]
    AfterWin,
    /// With every entry.
    AtApply,
}

/// `[starts_at, ends_at)`, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPeriod {
    starts_at: Millis,
    ends_at: Millis,
}

impl EventPeriod {
    /// A period; the end must be after the start.
    pub fn new(starts_at: Millis, ends_at: Millis) -> Result<Self, RuleError> {
        if ends_at > starts_at { Ok(Self { starts_at, ends_at }) } else { Err(RuleError::EndNotAfterStart) }
    }

    /// First instant inside.
    pub fn starts_at(&self) -> Millis {
        self.starts_at
    }

    /// First instant behind.
    pub fn ends_at(&self) -> Millis {
        self.ends_at
    }

    /// Whether `at` is inside.
    pub fn contains(&self, at: Millis) -> bool {
        self.starts_at <= at && at < self.ends_at
    }

    /// Whether `other` lies inside this period.
    pub fn covers(&self, other: &EventPeriod) -> bool {
        self.starts_at <= other.starts_at && other.ends_at <= self.ends_at
    }
}

/// A compliance review and the period it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    review_number: String,
    period: EventPeriod,
}

impl Approval {
    /// Longest review number, in characters.
    pub const REVIEW_NUMBER_MAX: usize = 100;

    /// An approval; the review number must not be blank.
    pub fn new(review_number: impl Into<String>, period: EventPeriod) -> Result<Self, RuleError> {
        let review_number = review_number.into();
        if review_number.trim().is_empty() {
            Err(RuleError::Blank)
        } else if review_number.chars().count() > Self::REVIEW_NUMBER_MAX {
            Err(RuleError::TooLong(Self::REVIEW_NUMBER_MAX))
        } else {
            Ok(Self { review_number, period })
        }
    }

    /// Number of the review.
    pub fn review_number(&self) -> &str {
        &self.review_number
    }

    /// When it holds.
    pub fn period(&self) -> &EventPeriod {
        &self.period
    }
}

/// Name of a stock option: not blank, at most 100 characters, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OptionName(String);

impl OptionName {
    /// Longest name, in characters.
    pub const MAX: usize = 100;
    /// The option of an event that names none.
    pub const DEFAULT: &'static str = "DEFAULT";

    /// A checked name.
    pub fn new(name: impl Into<String>) -> Result<Self, RuleError> {
        let name = name.into();
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            Err(RuleError::Blank)
        } else if name.chars().count() > Self::MAX {
            Err(RuleError::TooLong(Self::MAX))
        } else {
            Ok(Self(name))
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Stock of one option: how much was granted so far and how much is left. `0 <= left <= granted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stock {
    granted: i64,
    left: i64,
}

impl Stock {
    /// A full stock.
    pub fn new(granted: i64) -> Result<Self, RuleError> {
        Self::restore(granted, granted)
    }

    /// A stock as the database has it.
    pub fn restore(granted: i64, left: i64) -> Result<Self, RuleError> {
        if granted < 0 || left < 0 {
            Err(RuleError::Negative)
        } else if left > granted {
            Err(RuleError::TooLarge)
        } else {
            Ok(Self { granted, left })
        }
    }

    /// Granted so far, additions included.
    pub fn granted(&self) -> i64 {
        self.granted
    }

    /// Still to be won.
    pub fn left(&self) -> i64 {
        self.left
    }

    /// Takes `by` prizes away.
    pub fn decrease(&mut self, by: i64) -> Result<(), RuleError> {
        if by <= 0 {
            Err(RuleError::NotPositive)
        } else if by > self.left {
            Err(RuleError::NotEnough(self.left))
        } else {
            self.left -= by;
            Ok(())
        }
    }

    /// Adds `by` prizes.
    pub fn increase(&mut self, by: i64) -> Result<(), RuleError> {
        if by <= 0 {
            return Err(RuleError::NotPositive);
        }
        // left <= granted, so this sum bounds both.
        self.granted = self.granted.checked_add(by).ok_or(RuleError::TooLarge)?;
        self.left += by;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_half_open_and_never_empty() {
        assert_eq!(EventPeriod::new(5, 5), Err(RuleError::EndNotAfterStart));
        let p = EventPeriod::new(5, 10).expect("valid");
        assert_eq!([4, 5, 9, 10].map(|t| p.contains(t)), [false, true, true, false]);
        assert!(p.covers(&p));
        assert!(!p.covers(&EventPeriod::new(5, 11).expect("valid")));
    }

    #[test]
    fn stock_never_leaves_its_bounds() {
        let mut s = Stock::new(2).expect("valid");
        assert_eq!(s.decrease(3), Err(RuleError::NotEnough(2)));
        assert_eq!(s.decrease(0), Err(RuleError::NotPositive));
        s.decrease(2).expect("two left");
        assert_eq!(s.decrease(1), Err(RuleError::NotEnough(0)));
        assert_eq!(s.increase(0), Err(RuleError::NotPositive));
        assert_eq!(s.increase(i64::MAX), Err(RuleError::TooLarge));
        s.increase(3).expect("fits");
        assert_eq!((s.granted(), s.left()), (5, 3));
        assert_eq!(Stock::new(-1), Err(RuleError::Negative));
        assert_eq!(Stock::restore(1, 2), Err(RuleError::TooLarge));
    }

    #[test]
    fn names_and_reviews_are_not_blank() {
        let p = EventPeriod::new(0, 1).expect("valid");
        assert_eq!(Approval::new("  ", p), Err(RuleError::Blank));
        assert_eq!(OptionName::new("\t"), Err(RuleError::Blank));
        assert_eq!(OptionName::new("x".repeat(101)), Err(RuleError::TooLong(100)));
        assert!(OptionName::new("좌석 A").is_ok());
    }
}
