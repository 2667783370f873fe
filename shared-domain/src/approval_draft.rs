//! An approval as staff write it.

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Approval, EventPeriod, Violation};

/// Compliance part of a draft, and body of `PUT …/approval`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ComplianceDraft {
    /// Number of the review.
    #[schema(min_length = 1, max_length = 100)]
    pub review_number: String,
    /// First instant approved.
    pub approved_from: DateTime<Utc>,
    /// First instant behind.
    pub approved_until: DateTime<Utc>,
}

impl ComplianceDraft {
    /// The approval it means. Errors: all violations, with pointers under `base`.
    pub fn check(&self, base: &str) -> Result<Approval, Vec<Violation>> {
        let (from, until) = (self.approved_from.timestamp_millis(), self.approved_until.timestamp_millis());
        let mut wrong = Vec::new();
        // RFC 3339 writes years of four digits.
        for (name, at) in [("approved_from", self.approved_from), ("approved_until", self.approved_until)] {
            if !(1..=9999).contains(&at.year()) {
                wrong.push(Violation::new(format!("{base}/{name}"), "must lie in the years 1 to 9999"));
            }
        }
        // The period does not matter where only the number is checked.
        let (period, any) = (EventPeriod::new(from, until), EventPeriod::new(0, 1));
        if let Err(error) = &period {
            wrong.push(Violation::new(format!("{base}/approved_until"), error));
        }
        let approval = period.clone().or(any).and_then(|period| Approval::new(&self.review_number, period));
        match approval {
            Ok(approval) if wrong.is_empty() => return Ok(approval),
            Ok(_) => {}
            Err(error) => wrong.push(Violation::new(format!("{base}/review_number"), error)),
        }
        Err(wrong)
    }
}
