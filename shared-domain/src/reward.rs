//! Reward policies in integers (DESIGN section 7). A policy never pays more than its budget: FIXED `amount * N`,
//! RANDOM `max * N`, AVERAGE_RANDOM `target * N`, the last exactly when all N prizes are won.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::entry_id::keyed;
use crate::{EntryId, EventId, RuleError};

/// The largest amount of points one reward may have.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// Without a stock limit every so many prizes have a budget of their own.
pub const BLOCK_PRIZES: i64 = 1_000;

/// How much a winner gets, in points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reward {
    /// The same for every winner.
    Fixed(i64),
    /// Any amount of a range, each as likely as the others.
    Random(AmountRange),
    /// Any amount of a range, but the whole stock costs `target` on average.
    AverageRandom(TargetRange),
}

/// `0 <= min <= max <= AMOUNT_MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmountRange {
    min: i64,
    max: i64,
}

impl AmountRange {
    /// A range of amounts. Errors: a bound below 0 or above [`AMOUNT_MAX`], or `max < min`.
    pub fn new(min: i64, max: i64) -> Result<Self, RuleError> {
        if !(0..=AMOUNT_MAX).contains(&min) {
            Err(RuleError::OutOfRange(0, AMOUNT_MAX))
        } else if !(min..=AMOUNT_MAX).contains(&max) {
            Err(RuleError::OutOfRange(min, AMOUNT_MAX))
        } else {
            Ok(Self { min, max })
        }
    }

    /// Least amount.
    pub fn min(self) -> i64 {
        self.min
    }

    /// Largest amount.
    pub fn max(self) -> i64 {
        self.max
    }
}

/// A range of amounts with the average that the whole stock must have: `min <= target <= max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetRange {
    range: AmountRange,
    target: i64,
}

impl TargetRange {
    /// A range with a target. Errors: the target lies outside.
    pub fn new(range: AmountRange, target: i64) -> Result<Self, RuleError> {
        if (range.min..=range.max).contains(&target) {
            Ok(Self { range, target })
        } else {
            Err(RuleError::OutOfRange(range.min, range.max))
        }
    }

    /// The bounds of each amount.
    pub fn range(self) -> AmountRange {
        self.range
    }

    /// The average.
    pub fn target(self) -> i64 {
        self.target
    }
}

/// One budget and what of it is spent: the stock granted so far over all options, one block of [`BLOCK_PRIZES`] where
/// there is no stock, or the winners of a raffle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// N: prizes it must last for.
    pub prizes: i64,
    /// k: rewards paid.
    pub given: i64,
    /// S: their sum, in points.
    pub paid: i64,
}

/// Where a reward stands, which is what its randomness is made from.
#[derive(Debug, Clone, Copy)]
pub enum RewardPlace<'a> {
    /// In an order: how many rewards of the event came before (in a raffle: rank - 1).
    Index(i64, Budget),
    /// In an event with many lanes, where there is no order between them.
    Entry(&'a EntryId),
}

/// Why a reward cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RewardError {
    /// RANDOM and AVERAGE_RANDOM need the event's key.
    #[error("the event's reward key is not at hand")]
    NoKey,
    /// AVERAGE_RANDOM over many lanes has no running totals.
    #[error("AVERAGE_RANDOM needs one lane")]
    NoOrder,
    /// The totals do not belong to this policy: more given than there are prizes, or a sum out of reach.
    #[error("the totals (N {}, k {}, S {}) do not fit the policy", .0.prizes, .0.given, .0.paid)]
    Totals(Budget),
}

/// The key behind an event's rewards; 32 secret bytes, with the key schedule done once.
#[derive(Clone)]
pub struct RewardKey(Hmac<Sha256>);

impl RewardKey {
    /// From the event's reward_key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(keyed(key))
    }

    /// First 8 bytes (big-endian) of `HMAC-SHA256(reward_key, domain | event | what)`.
    fn number(&self, domain: &[u8], event: EventId, what: &[u8]) -> u64 {
        let mac = self.0.clone().chain_update(domain).chain_update(event.to_be_bytes()).chain_update(what);
        let full = mac.finalize().into_bytes();
        let mut first = [0; 8];
        first.copy_from_slice(&full[..8]);
        u64::from_be_bytes(first)
    }
}

impl std::fmt::Debug for RewardKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RewardKey(..)")
    }
}

impl Reward {
    /// What an event without a policy pays: one point.
    pub const DEFAULT: Reward = Reward::Fixed(1);

    /// FIXED with a checked amount. Errors: below 0 or above [`AMOUNT_MAX`].
    pub fn fixed(amount: i64) -> Result<Self, RuleError> {
        if (0..=AMOUNT_MAX).contains(&amount) {
            Ok(Self::Fixed(amount))
        } else {
            Err(RuleError::OutOfRange(0, AMOUNT_MAX))
        }
    }

    /// Whether amounts are made from the event's reward key.
    pub fn needs_key(self) -> bool {
        !matches!(self, Self::Fixed(_))
    }

    /// The most this policy pays for `winners` prizes; `None` when `max * winners` does not fit an i64.
    pub fn budget(self, winners: i64) -> Option<i64> {
        let (max, dearest) = match self {
            Self::Fixed(amount) => (amount, amount),
            Self::Random(range) => (range.max, range.max),
            Self::AverageRandom(aim) => (aim.range.max, aim.target),
        };
        max.checked_mul(winners)?;
        dearest.checked_mul(winners)
    }

    /// Amount of the reward at a place, in points.
    pub fn amount(
        self,
        event: EventId,
        place: RewardPlace<'_>,
        key: Option<&RewardKey>,
    ) -> Result<i64, RewardError> {
        match (self, place) {
            (Self::Fixed(amount), _) => Ok(amount),
            (Self::Random(range), place) => {
                let key = key.ok_or(RewardError::NoKey)?;
                let u = match place {
                    RewardPlace::Index(index, _) => key.number(b"rnd/v1", event, &index.to_be_bytes()),
                    RewardPlace::Entry(id) => key.number(b"gen/v1", event, id.as_bytes()),
                };
                Ok(spread(range.min, range.max, u))
            }
            (Self::AverageRandom(_), RewardPlace::Entry(_)) => Err(RewardError::NoOrder),
            (Self::AverageRandom(aim), RewardPlace::Index(index, budget)) => {
                let key = key.ok_or(RewardError::NoKey)?;
                let (a, b) = aim.window(budget).ok_or(RewardError::Totals(budget))?;
                Ok(spread(a, b, key.number(b"avg/v1", event, &index.to_be_bytes())))
            }
        }
    }

    /// Amounts of a raffle's winners in rank order, `winners = min(max_winners, entrants)` of them.
    pub fn by_rank(
        self,
        event: EventId,
        winners: i64,
        key: Option<&RewardKey>,
    ) -> impl Iterator<Item = Result<i64, RewardError>> {
        let mut budget = Budget { prizes: winners, given: 0, paid: 0 };
        (0..winners).map(move |index| {
            let amount = self.amount(event, RewardPlace::Index(index, budget), key)?;
            budget.given += 1;
            budget.paid = budget.paid.checked_add(amount).ok_or(RewardError::Totals(budget))?;
            Ok(amount)
        })
    }
}

impl TargetRange {
    /// `[a, b]` of the next reward: whatever is drawn from it, the rest can still end at `target * N` exactly.
    fn window(self, budget: Budget) -> Option<(i64, i64)> {
        let (min, max, target) =
            (i128::from(self.range.min), i128::from(self.range.max), i128::from(self.target));
        let (n, k, s) = (i128::from(budget.prizes), i128::from(budget.given), i128::from(budget.paid));
        let left = n - k;
        let rest = target * n - s;
        // What other rewards must leave over: outside, the totals are not this policy's.
        if k < 0 || left < 1 || !(min * left..=max * left).contains(&rest) {
            return None;
        }
        let behind = left - 1;
        let lo = min.max(rest - max * behind);
        let hi = max.min(rest - min * behind);
        let (a, b) = match () {
            () if k == 0 => (target, target),
            () if s > target * k => (lo, target.min(hi)),
            () => (target.max(lo), hi),
        };
        Some((i64::try_from(a).ok()?, i64::try_from(b).ok()?))
    }
}

/// `a + ((u * (b - a + 1)) >> 64)`: a number of `[a, b]`.
fn spread(a: i64, b: i64, u: u64) -> i64 {
    let width = (b - a) as u128 + 1;
    // width <= AMOUNT_MAX + 1, so the product fits and the quotient is at most b - a.
    a + ((u128::from(u) * width) >> 64) as i64
}
