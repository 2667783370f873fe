//! Every rule that a draft must keep: all violations at once, each with a JSON pointer.

use chrono::{DateTime, Datelike, Utc};

use super::{EventDraft, Violation, mission};
use crate::draw::DrawRules;
use crate::{
    Approval, ContactCollection, EventDefinition, EventPeriod, EventType, OptionName, Reward, RuleError,
    Rules, Stock, WrappedKeys,
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

/// Checks a draft. The definition still lacks what scheduling fixes: topic, lanes, salt, draw commitment and wrapped keys
/// are empty. Whether a named beacon is known and late enough is asked of [`crate::draw::Chains::check_round`].
pub fn check_draft(draft: &EventDraft) -> Result<EventDefinition, Vec<Violation>> {
    let mut check = Check::default();
    check.0.extend(check_text(&draft.title, &draft.content));
    if draft.time_zone.parse::<chrono_tz::Tz>().is_err() {
        check.fail("/time_zone", "is not a known time zone (IANA name)");
    }
    let period = check.period("/ends_at", &draft.starts_at, &draft.ends_at);
    let approval = check.approval(draft, period.as_ref());
    let options = check.stock(draft);
    let reward = match &draft.reward {
        None => Some(Reward::DEFAULT),
        Some(reward) => reward.check(&mut check.0),
    };
    if let Some(reward) = reward {
        check.reward_budget(draft, reward, &options);
    }
    let draw = check.draw(draft);
    check.participation(draft);
    check.contacts(draft);
    let missions = mission::check(draft, period.as_ref(), &options, &mut check.0);
    if let Some(limits) = &draft.limits {
        check.0.extend(limits.violations("/limits"));
    }
    if draft.lane.is_some_and(|lane| lane < 0) {
        check.fail("/lane", RuleError::Negative);
    }
    check.years(draft);
    let default = draft.ends_at.checked_add_signed(chrono::TimeDelta::days(CLAIM_DAYS));
    let claim_until = draft.claim_until.or(default).unwrap_or(DateTime::<Utc>::MAX_UTC);
    if draft.claim_until.is_some() && claim_until <= draft.starts_at {
        check.fail("/claim_until", RuleError::EndNotAfterStart);
    }
    let (Some(period), true) = (period, check.0.is_empty()) else {
        return Err(check.0);
    };
    Ok(EventDefinition {
        rules: Rules::NEWEST,
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
        reward: reward.unwrap_or(Reward::DEFAULT), // without one there is a violation
        missions,
        contact_collection: draft.contact_collection,
        claim_until: claim_until.timestamp_millis(),
        topic: String::new(),
        lanes: Vec::new(),
        salt: Vec::new(),
        draw,
        draw_commitment: None,
        wrapped_keys: WrappedKeys::default(),
        contact_key: None,
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

    /// RFC 3339 writes years of four digits.
    fn years(&mut self, draft: &EventDraft) {
        let moments = [
            ("/starts_at", Some(draft.starts_at)),
            ("/ends_at", Some(draft.ends_at)),
            ("/claim_until", draft.claim_until),
        ];
        for (pointer, at) in moments {
            if at.is_some_and(|at| !(1..=9999).contains(&at.year())) {
                self.fail(pointer, "must lie in the years 1 to 9999");
            }
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

    /// The largest reward times all prizes must be countable. Without stock each block of 1,000 is.
    fn reward_budget(&mut self, draft: &EventDraft, reward: Reward, options: &[(OptionName, i64)]) {
        let winners = match draft.event_type {
            EventType::Raffle => draft.max_winners,
            _ => options.iter().try_fold(0i64, |sum, (_, n)| sum.checked_add(*n)),
        };
        if winners.is_some_and(|n| n >= 0 && reward.budget(n).is_none()) {
            let field = if matches!(reward, Reward::Fixed(_)) { "fixed_amount" } else { "max_amount" };
            self.fail(format!("/reward/{field}"), "times the number of prizes is too large");
        }
    }

    fn draw(&mut self, draft: &EventDraft) -> Option<DrawRules> {
        match (&draft.draw, draft.event_type) {
            (None, EventType::Raffle) => Some(DrawRules::default()),
            (Some(draw), EventType::Raffle) => draw.check(&mut self.0),
            (Some(_), _) => {
                self.fail("/draw", "is only for RAFFLE");
                None
            }
            (None, _) => None,
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AMOUNT_MAX;
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
            (json!({"reward": {"reward_type": "GIFT"}}), "/reward/reward_type"),
            (json!({"draw": {"method": "RANDOM", "alternates": 1}}), "/draw"),
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
    fn rewards_name_the_field_that_is_wrong() {
        let most = AMOUNT_MAX;
        let reward = |reward| pointers(json!({ "reward": reward }));
        let average = |min: i64, target: i64, max: i64| {
            reward(
                json!({"reward_type": "AVERAGE_RANDOM", "min_amount": min, "max_amount": max, "target_average": target}),
            )
        };
        let none: [&str; 0] = [];
        assert_eq!(average(1, 5, 9), none);
        assert_eq!(average(0, 0, most), none);
        assert_eq!(average(6, 5, 9), ["/reward/target_average"]);
        assert_eq!(average(1, 10, 9), ["/reward/target_average"]);
        assert_eq!(average(9, 5, 1), ["/reward/max_amount"]);
        assert_eq!(average(-1, 5, most + 1), ["/reward/min_amount", "/reward/max_amount"]);
        assert_eq!(reward(json!({"reward_type": "RANDOM", "min_amount": 3, "max_amount": 3})), none);
        assert_eq!(reward(json!({"reward_type": "RANDOM", "min_amount": 3})), ["/reward/max_amount"]);
        let foreign = json!({"reward_type": "RANDOM", "min_amount": 1, "max_amount": 2, "target_average": 1});
        assert_eq!(reward(foreign), ["/reward/target_average"]);
        let foreign = json!({"reward_type": "FIXED", "fixed_amount": 1, "max_amount": 2});
        assert_eq!(reward(foreign), ["/reward/max_amount"]);
        let dear = json!({"reward_type": "RANDOM", "min_amount": 0, "max_amount": most});
        let many = pointers(
            json!({"reward": dear, "stock": [{"count": 9_000_000}, {"option": "B", "count": 1_000_000}]}),
        );
        assert_eq!(many, ["/reward/max_amount"]);
        let raffle = json!({"type": "RAFFLE", "stock": [], "max_winners": 10_000_000, "reward": dear});
        assert_eq!(pointers(raffle), ["/reward/max_amount"]);
    }

    #[test]
    fn draws_name_the_field_that_is_wrong() {
        let raffle = |draw| pointers(json!({"type": "RAFFLE", "stock": [], "max_winners": 3, "draw": draw}));
        let hash = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971";
        let none: [&str; 0] = [];
        assert_eq!(raffle(json!({"method": "ARRIVAL", "alternates": 2})), none);
        assert_eq!(
            raffle(json!({"method": "RANDOM", "alternates": 0, "beacon": {"chain_hash": hash, "round": 9}})),
            none
        );
        assert_eq!(raffle(json!({"alternates": -1})), ["/draw/alternates"]);
        assert_eq!(raffle(json!({"alternates": 1_000_001})), ["/draw/alternates"]);
        assert_eq!(raffle(json!({"beacon": {"chain_hash": hash, "round": 0}})), ["/draw/beacon/round"]);
        assert_eq!(
            raffle(json!({"beacon": {"chain_hash": "52DB", "round": 9}})),
            ["/draw/beacon/chain_hash"]
        );
        let arrival = json!({"method": "ARRIVAL", "beacon": {"chain_hash": hash, "round": 9}});
        assert_eq!(raffle(arrival), ["/draw/beacon"]);
        let no_winners = pointers(json!({"type": "RAFFLE", "stock": []}));
        assert_eq!(no_winners, ["/max_winners"]);
        assert_eq!(pointers(json!({"type": "RAFFLE", "max_winners": 3})), ["/stock"]);
        let typo = json!({"title": "t", "type": "RAFFLE", "starts_at": "2026-01-01T00:00:00Z",
            "ends_at": "2026-01-02T00:00:00Z", "draw": {"alternate": 1}});
        assert!(serde_json::from_value::<EventDraft>(typo).is_err());
    }

    #[test]
    fn missions_name_the_field_that_is_wrong() {
        let one = |patch: serde_json::Value| {
            let mut mission =
                json!({"title": "Walk", "mission_type": "STEP_COUNT", "goal_value": 10_000, "option": "A"});
            for (key, value) in patch.as_object().expect("object") {
                mission[key] = value.clone();
            }
            mission
        };
        let none: [&str; 0] = [];
        assert_eq!(pointers(json!({"missions": [one(json!({}))]})), none);
        for (patch, field) in [
            (json!({"title": " "}), "title"),
            (json!({"title": "x".repeat(201)}), "title"),
            (json!({"goal_value": 0}), "goal_value"),
            (json!({"goal_value": 200_001}), "goal_value"),
            // The period is one day, and touches two in any time zone.
            (json!({"mission_type": "ATTENDANCE", "goal_value": 4}), "goal_value"),
            (json!({"mission_type": "FRIEND_INVITE", "goal_value": 10_001}), "goal_value"),
            (json!({"option": "C"}), "option"),
            (json!({"option": null}), "option"),
            (json!({"weight": 5}), "weight"),
        ] {
            let missions = json!({"missions": [one(json!({})), one(patch.clone())]});
            assert_eq!(pointers(missions), [format!("/missions/1/{field}")], "{patch}");
        }
        let raffle = |patch: serde_json::Value, missions: &[i64]| {
            let weighed = |weight| one(json!({"option": null, "weight": weight}));
            let mut all = json!({"type": "RAFFLE", "stock": [], "max_winners": 3,
                "missions": missions.iter().map(weighed).collect::<Vec<_>>()});
            for (key, value) in patch.as_object().expect("object") {
                all[key] = value.clone();
            }
            pointers(all)
        };
        assert_eq!(raffle(json!({}), &[500, 499]), none);
        assert_eq!(raffle(json!({}), &[500, 500]), ["/missions/1/weight"]);
        assert_eq!(raffle(json!({}), &[0]), ["/missions/0/weight"]);
        assert_eq!(raffle(json!({}), &[1; 64]), ["/missions"]);
        assert_eq!(raffle(json!({"duplicate_participation_allowed": true}), &[1]), ["/missions/0/weight"]);
        assert_eq!(raffle(json!({"draw": {"method": "ARRIVAL"}}), &[1]), ["/missions/0/weight"]);
    }

    #[test]
    fn all_violations_come_at_once() {
        let both = pointers(json!({"title": "", "stock": [{"count": -1}]}));
        assert_eq!(both, ["/title", "/stock/0/count"]);
    }
}
