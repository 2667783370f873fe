//! Reward policies (DESIGN section 7). This build knows FIXED; the others arrive with raffles and budgets.

/// The largest amount of points one reward may have.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// How much a winner gets, in points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reward {
    /// The same for every winner.
    Fixed(i64),
}

impl Reward {
    /// What an event without a policy pays: one point.
    pub const DEFAULT: Reward = Reward::Fixed(1);

    /// Amount of the next winner.
    pub fn amount(self) -> i64 {
        match self {
            Self::Fixed(amount) => amount,
        }
    }

    /// The most this policy pays for `winners` prizes; `None` when that does not fit an i64.
    pub fn budget(self, winners: i64) -> Option<i64> {
        match self {
            Self::Fixed(amount) => amount.checked_mul(winners),
        }
    }
}
