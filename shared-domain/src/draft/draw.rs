//! The draw of a raffle's draft.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Violation;
use crate::RuleError;
use crate::draw::{ALTERNATES_MAX, BeaconRound, DrawMethod, DrawRules};

/// How a raffle's winners are drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrawDraft {
    /// Defaults to RANDOM.
    #[serde(default)]
    pub method: DrawMethod,
    /// How many alternates stand behind the winners.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub alternates: i64,
    /// A drand round that nobody knows before the list is frozen; RANDOM only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beacon: Option<BeaconDraft>,
}

/// A named drand round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeaconDraft {
    /// 64 lower-case hexadecimal digits.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub chain_hash: String,
    /// From 1.
    #[schema(minimum = 1)]
    pub round: i64,
}

impl DrawDraft {
    /// The rules, or `None` with at least one violation added.
    pub(super) fn check(&self, violations: &mut Vec<Violation>) -> Option<DrawRules> {
        let before = violations.len();
        let mut fail = |name: &str, what: &dyn ToString| {
            violations.push(Violation::new(format!("/draw/{name}"), what.to_string()))
        };
        let alternates = u32::try_from(self.alternates).ok().filter(|n| *n <= ALTERNATES_MAX);
        if alternates.is_none() {
            fail("alternates", &RuleError::OutOfRange(0, ALTERNATES_MAX.into()));
        }
        let mut round = None;
        if let Some(beacon) = &self.beacon {
            if self.method == DrawMethod::Arrival {
                fail("beacon", &"is only for the method RANDOM");
            }
            let number = u64::try_from(beacon.round).ok().filter(|n| *n > 0);
            if number.is_none() {
                fail("beacon/round", &RuleError::NotPositive);
            }
            match beacon.chain_hash.parse() {
                Ok(chain_hash) => round = number.map(|round| BeaconRound { chain_hash, round }),
                Err(error) => fail("beacon/chain_hash", &error),
            }
        }
        (violations.len() == before).then_some(DrawRules {
            method: self.method,
            alternates: alternates.unwrap_or_default(),
            beacon: round,
        })
    }
}

impl From<&DrawRules> for DrawDraft {
    fn from(rules: &DrawRules) -> Self {
        let beacon = |beacon: &BeaconRound| BeaconDraft {
            chain_hash: beacon.chain_hash.to_string(),
            round: i64::try_from(beacon.round).unwrap_or(i64::MAX),
        };
        Self {
            method: rules.method,
            alternates: rules.alternates.into(),
            beacon: rules.beacon.as_ref().map(beacon),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hex32;

    #[test]
    fn rules_as_a_draft_are_the_same_rules() {
        let beacon = Some(BeaconRound { chain_hash: Hex32([0xab; 32]), round: 7 });
        for rules in [
            DrawRules { method: DrawMethod::Random, alternates: 3, beacon },
            DrawRules { method: DrawMethod::Arrival, alternates: 0, beacon: None },
        ] {
            assert_eq!(DrawDraft::from(&rules).check(&mut Vec::new()), Some(rules));
        }
    }
}
