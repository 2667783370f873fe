//! Every rule that a draft must keep: all violations at once, each with a JSON pointer.

use chrono::{DateTime, Utc};

use super::{EventDraft, RewardDraft, Violation};
use crate::{
    AMOUNT_MAX, Approval, ContactCollection, EventDefinition, EventPeriod, EventType, OptionName,
    RULES_VERSION, Reward, RuleError, Stock,
};

const TITLE_MAX: usize = 200;
const CONTENT_MAX: usize = 20_000;
const OPTIONS_MAX: usize = 1_000;
const CLAIM_DAYS: i64 = 30;

/// Rules of what members read.
pub(crate) fn check_text(title: &str, content: &str) -> Vec<Violation> {
    let mut check = Check::default();
    check.text("/title", title, TITLE_MAX, true);
    check.text("/content", content, CONTENT_MAX, false);
    check.0
}

/// Checks a draft. The definition still lacks what scheduling fixes: topic, lanes and salt are empty.
pub fn check_draft(draft: &EventDraft) -> Result<EventDefinition, Vec<Violation>> {
    let mut check = Check::default();
    check.0.extend(check_text(&draft.title, &draft.content));
    if draft.time_zone.parse::<chrono_tz::Tz>().is_err() {
        check.fail("/time_zone", "is not a known time zone (IANA name)");
    }
    let period = check.period("/ends_at", &draft.starts_at, &draft.ends_at);
    let approval = check.approval(draft, period.as_ref());
    let options = check.stock(draft);
    let reward = check.reward(draft.reward.as_ref());
    check.reward_budget(reward, &options);
    check.participation(draft);
    check.contacts(draft);
    check.unsupported(draft);
    if let Some(limits) = &draft.limits {
        check.0.extend(limits.violations("/limits"));
    }
    if draft.lane.is_some_and(|lane| lane < 0) {
        check.fail("/lane", RuleError::Negative);
    }
    let claim_until = draft.claim_until.unwrap_or(draft.ends_at + chrono::TimeDelta::days(CLAIM_DAYS));
    if draft.claim_until.is_some() && claim_until <= draft.starts_at {
        check.fail("/claim_until", RuleError::EndNotAfterStart);
    }
    let (Some(period), true) = (period, check.0.is_empty()) else {
        return Err(check.0);
    };
    Ok(EventDefinition {
        rules_version: RULES_VERSION,
        event_type: draft.event_type,
        title: draft.title.trim().to_owned(),
        content: draft.content.clone(),
        period,
        time_zone: draft.time_zone.clone(),
        approval,
        internal_test: draft.internal_test,
        max_winners: match draft.event_type {
            EventType::FirstCome => Some(options.iter().map(|(_, granted)| granted).sum()),
            EventType::General | EventType::Raffle => draft.max_winners,
        },
        target_condition: draft.target_condition.clone().unwrap_or_default(),
        duplicates_allowed: draft.duplicate_participation_allowed,
        max_entries_per_member: draft.max_entries_per_member,
        options,
        reward: reward.unwrap_or(Reward::DEFAULT),
        contact_collection: draft.contact_collection,
        claim_until: claim_until.timestamp_millis(),
        topic: String::new(),
        lanes: Vec::new(),
        salt: Vec::new(),
    })
}

#[derive(Default)]
struct Check(Vec<Violation>);

impl Check {
    fn fail(&mut self, pointer: impl Into<String>, detail: impl ToString) {
        self.0.push(Violation::new(pointer, detail));
    }

    fn text(&mut self, pointer: &str, text: &str, max: usize, required: bool) {
        if required && text.trim().is_empty() {
            self.fail(pointer, RuleError::Blank);
        } else if text.chars().count() > max {
            self.fail(pointer, RuleError::TooLong(max));
        }
    }

    fn period(&mut self, pointer: &str, from: &DateTime<Utc>, until: &DateTime<Utc>) -> Option<EventPeriod> {
        EventPeriod::new(from.timestamp_millis(), until.timestamp_millis())
            .map_err(|e| self.fail(pointer, e))
            .ok()
    }

    fn approval(&mut self, draft: &EventDraft, period: Option<&EventPeriod>) -> Option<Approval> {
        let Some(compliance) = &draft.compliance else {
            if !draft.internal_test {
                self.fail("/compliance", "is required unless internal_test is true");
            }
            return None;
        };
        let approval = compliance.check("/compliance").map_err(|wrong| self.0.extend(wrong)).ok();
        if let (Some(approved), Some(period)) = (approval.as_ref().map(Approval::period), period)
            && !approved.covers(period)
        {
            let (pointer, what) = if period.starts_at() < approved.starts_at() {
                ("/starts_at", "must not be before compliance.approved_from")
            } else {
                ("/ends_at", "must not be after compliance.approved_until")
            };
            self.fail(pointer, what);
        }
        approval
    }

    fn stock(&mut self, draft: &EventDraft) -> Vec<(OptionName, i64)> {
        if draft.stock.is_empty() && draft.event_type == EventType::FirstCome {
            self.fail("/stock", "is required for FIRST_COME");
        }
        if !draft.stock.is_empty() && draft.event_type == EventType::Raffle {
            self.fail("/stock", "must be empty for RAFFLE");
        }
        if draft.stock.len() > OPTIONS_MAX {
            self.fail("/stock", format!("must have at most {OPTIONS_MAX} options"));
        }
        let mut options: Vec<(OptionName, i64)> = Vec::with_capacity(draft.stock.len());
        let mut total = 0i64;
        for (i, stock) in draft.stock.iter().enumerate() {
            if let Err(e) = Stock::new(stock.count) {
                self.fail(format!("/stock/{i}/count"), e);
            }
            match total.checked_add(stock.count.max(0)) {
                Some(sum) => total = sum,
                None => self.fail(format!("/stock/{i}/count"), RuleError::TooLarge),
            }
            match OptionName::new(&stock.option) {
                Err(e) => self.fail(format!("/stock/{i}/option"), e),
                Ok(name) if options.iter().any(|(other, _)| *other == name) => {
                    self.fail(format!("/stock/{i}/option"), "must be unique");
                }
                Ok(name) => options.push((name, stock.count)),
            }
        }
        match draft.max_winners {
            Some(winners) if winners < 0 => self.fail("/max_winners", RuleError::Negative),
            Some(winners) if draft.event_type == EventType::FirstCome && winners != total => {
                self.fail("/max_winners", "must be the sum of the stock, or left out");
            }
            Some(_) if draft.event_type == EventType::General => {
                self.fail("/max_winners", "is for RAFFLE and FIRST_COME");
            }
            None if draft.event_type == EventType::Raffle => {
                self.fail("/max_winners", "is required for RAFFLE");
            }
            _ => {}
        }
        options
    }

    fn reward(&mut self, draft: Option<&RewardDraft>) -> Option<Reward> {
        let draft = draft?;
        if draft.reward_type != "FIXED" {
            self.fail("/reward/reward_type", "must be FIXED (others are not supported yet)");
            return None;
        }
        for (name, value) in [
            ("min_amount", draft.min_amount),
            ("max_amount", draft.max_amount),
            ("target_average", draft.target_average),
        ] {
            if value.is_some() {
                self.fail(format!("/reward/{name}"), "is not for FIXED");
            }
        }
        match draft.fixed_amount {
            None => self.fail("/reward/fixed_amount", "is required for FIXED"),
            Some(amount) if !(0..=AMOUNT_MAX).contains(&amount) => {
                self.fail("/reward/fixed_amount", format!("must be between 0 and {AMOUNT_MAX}"));
            }
            Some(amount) => return Some(Reward::Fixed(amount)),
        }
        None
    }

    fn reward_budget(&mut self, reward: Option<Reward>, options: &[(OptionName, i64)]) {
        let winners = options.iter().try_fold(0i64, |sum, (_, n)| sum.checked_add(*n));
        if let (Some(reward), Some(winners)) = (reward, winners)
            && reward.budget(winners).is_none()
        {
            self.fail("/reward/fixed_amount", "times the stock is too large");
        }
    }

    fn participation(&mut self, draft: &EventDraft) {
        match draft.max_entries_per_member {
            Some(0) => self.fail("/max_entries_per_member", RuleError::NotPositive),
            Some(_) if !draft.duplicate_participation_allowed => self
                .fail("/max_entries_per_member", "is only for events with duplicate_participation_allowed"),
            _ => {}
        }
    }

    /// Contact data that nobody could give, or until a moment that means nothing.
    fn contacts(&mut self, draft: &EventDraft) {
        if draft.contact_collection == ContactCollection::AtApply && !draft.missions.is_empty() {
            self.fail(
                "/contact_collection",
                "must not be AT_APPLY with missions: their entries carry no contact",
            );
        }
        // In raffles it also bounds how long alternates may move up.
        if draft.contact_collection == ContactCollection::None
            && draft.claim_until.is_some()
            && draft.event_type != EventType::Raffle
        {
            self.fail("/claim_until", "is only for events that collect contact data");
        }
    }

    /// Parts of the contract that this build does not serve are refused, never half-done.
    fn unsupported(&mut self, draft: &EventDraft) {
        if draft.event_type == EventType::Raffle {
            self.fail("/type", "RAFFLE is not supported yet");
        }
        if !draft.missions.is_empty() {
            self.fail("/missions", "are not supported yet");
        }
        if draft.draw.is_some() {
            self.fail("/draw", "is only for RAFFLE");
        }
        if draft.contact_collection == ContactCollection::AtApply {
            self.fail("/contact_collection", "AT_APPLY is not supported yet");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn draft(patch: serde_json::Value) -> EventDraft {
        let mut draft = json!({
            "title": "t", "type": "FIRST_COME",
            "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z",
            "compliance": {"review_number": "R-1", "approved_from": "2026-01-01T00:00:00Z",
                           "approved_until": "2026-01-03T00:00:00Z"},
            "stock": [{"option": "A", "count": 2}, {"option": "B", "count": 3}]
        });
        for (key, value) in patch.as_object().expect("object") {
            draft[key] = value.clone();
        }
        serde_json::from_value(draft).expect("well-formed")
    }

    fn pointers(patch: serde_json::Value) -> Vec<String> {
        match check_draft(&draft(patch)) {
            Ok(_) => vec![],
            Err(violations) => violations.into_iter().map(|v| v.pointer).collect(),
        }
    }

    #[test]
    fn a_good_draft_becomes_a_definition() {
        let d = check_draft(&draft(json!({"reward": {"reward_type": "FIXED", "fixed_amount": 5}})))
            .expect("valid");
        assert_eq!((d.max_winners, d.reward, d.options.len()), (Some(5), Reward::Fixed(5), 2));
    }

    #[test]
    fn each_rule_names_its_place() {
        let big = i64::MAX;
        for (patch, expected) in [
            (json!({"title": " "}), "/title"),
            (json!({"ends_at": "2026-01-01T00:00:00Z"}), "/ends_at"),
            (json!({"ends_at": "2026-01-04T00:00:00Z"}), "/ends_at"),
            (json!({"starts_at": "2025-01-04T00:00:00Z"}), "/starts_at"),
            (json!({"time_zone": "Mars/Olympus"}), "/time_zone"),
            (json!({"stock": []}), "/stock"),
            (json!({"stock": [{"option": "", "count": 1}]}), "/stock/0/option"),
            (json!({"stock": [{"count": 1}, {"count": 1}]}), "/stock/1/option"),
            (json!({"stock": [{"count": -1}]}), "/stock/0/count"),
            (json!({"stock": [{"count": big}, {"option": "B", "count": 1}]}), "/stock/1/count"),
            (json!({"max_winners": 4}), "/max_winners"),
            (json!({"max_entries_per_member": 2}), "/max_entries_per_member"),
            (json!({"reward": {"reward_type": "FIXED"}}), "/reward/fixed_amount"),
            (json!({"reward": {"reward_type": "RANDOM"}}), "/reward/reward_type"),
            (json!({"missions": [{}]}), "/missions"),
            (json!({"lane": -1}), "/lane"),
            (json!({"limits": {"per_second": -1}}), "/limits/per_second"),
            (json!({"claim_until": "2025-01-01T00:00:00Z"}), "/claim_until"),
            (json!({"claim_until": "2026-02-01T00:00:00Z", "contact_collection": "NONE"}), "/claim_until"),
        ] {
            assert_eq!(pointers(patch.clone()), [expected], "{patch}");
        }
        let blank_review = json!({"compliance": {"review_number": " ",
            "approved_from": "2026-01-01T00:00:00Z", "approved_until": "2026-01-03T00:00:00Z"}});
        assert_eq!(pointers(blank_review), ["/compliance/review_number"]);
        assert_eq!(pointers(json!({"compliance": null})), ["/compliance"]);
        assert!(pointers(json!({"compliance": null, "internal_test": true})).is_empty());
    }

    #[test]
    fn all_violations_come_at_once() {
        let both = pointers(json!({"title": "", "stock": [{"count": -1}]}));
        assert_eq!(both, ["/title", "/stock/0/count"]);
    }
}
