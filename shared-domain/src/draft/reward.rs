//! The reward policy of a draft.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Violation;
use crate::{AMOUNT_MAX, AmountRange, Reward, RuleError, TargetRange};

/// Reward policy of a draft.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RewardDraft {
    /// `FIXED`, `RANDOM` or `AVERAGE_RANDOM`.
    #[schema(pattern = "^(FIXED|RANDOM|AVERAGE_RANDOM)$")]
    pub reward_type: String,
    /// FIXED: points a winner gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub fixed_amount: Option<i64>,
    /// RANDOM, AVERAGE_RANDOM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub min_amount: Option<i64>,
    /// RANDOM, AVERAGE_RANDOM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub max_amount: Option<i64>,
    /// AVERAGE_RANDOM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub target_average: Option<i64>,
}

/// The fields of a policy that are given, with their names.
type Field = (&'static str, Option<i64>);

impl RewardDraft {
    /// The policy, or `None` with at least one violation added.
    pub(super) fn check(&self, violations: &mut Vec<Violation>) -> Option<Reward> {
        let fixed = ("fixed_amount", self.fixed_amount);
        let min = ("min_amount", self.min_amount);
        let max = ("max_amount", self.max_amount);
        let target = ("target_average", self.target_average);
        let (own, foreign): (Vec<Field>, Vec<Field>) = match self.reward_type.as_str() {
            "FIXED" => (vec![fixed], vec![min, max, target]),
            "RANDOM" => (vec![min, max], vec![fixed, target]),
            "AVERAGE_RANDOM" => (vec![min, max, target], vec![fixed]),
            _ => {
                let types = "must be FIXED, RANDOM or AVERAGE_RANDOM";
                violations.push(Violation::new("/reward/reward_type", types));
                return None;
            }
        };
        let before = violations.len();
        let mut fail =
            |name: &str, what: String| violations.push(Violation::new(format!("/reward/{name}"), what));
        for (name, value) in own {
            match value {
                None => fail(name, format!("is required for {}", self.reward_type)),
                Some(amount) if !(0..=AMOUNT_MAX).contains(&amount) => {
                    fail(name, RuleError::OutOfRange(0, AMOUNT_MAX).to_string());
                }
                Some(_) => {}
            }
        }
        for (name, _) in foreign.iter().filter(|(_, value)| value.is_some()) {
            fail(name, format!("is not for {}", self.reward_type));
        }
        if violations.len() > before {
            return None;
        }
        self.policy()
            .map_err(|(name, rule)| violations.push(Violation::new(format!("/reward/{name}"), rule)))
            .ok()
    }

    /// The policy of fields that are there and within 0..=[`AMOUNT_MAX`]; the error names the field that is wrong.
    fn policy(&self) -> Result<Reward, (&'static str, RuleError)> {
        if let Some(amount) = self.fixed_amount {
            return Reward::fixed(amount).map_err(|e| ("fixed_amount", e));
        }
        let (min, max) = (self.min_amount.unwrap_or_default(), self.max_amount.unwrap_or_default());
        let range = AmountRange::new(min, max).map_err(|e| ("max_amount", e))?;
        match self.target_average {
            None => Ok(Reward::Random(range)),
            Some(target) => {
                TargetRange::new(range, target).map(Reward::AverageRandom).map_err(|e| ("target_average", e))
            }
        }
    }
}

impl From<&Reward> for RewardDraft {
    fn from(reward: &Reward) -> Self {
        let (reward_type, fixed, range, target) = match reward {
            Reward::Fixed(amount) => ("FIXED", Some(*amount), None, None),
            Reward::Random(range) => ("RANDOM", None, Some(*range), None),
            Reward::AverageRandom(of) => ("AVERAGE_RANDOM", None, Some(of.range()), Some(of.target())),
        };
        Self {
            reward_type: reward_type.to_owned(),
            fixed_amount: fixed,
            min_amount: range.map(AmountRange::min),
            max_amount: range.map(AmountRange::max),
            target_average: target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_as_a_draft_is_the_same_policy() {
        let range = AmountRange::new(2, 9).expect("a range");
        let average = Reward::AverageRandom(TargetRange::new(range, 4).expect("a target"));
        for reward in [Reward::Fixed(7), Reward::Random(range), average] {
            assert_eq!(RewardDraft::from(&reward).check(&mut Vec::new()), Some(reward));
        }
    }
}
