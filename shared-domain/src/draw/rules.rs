//! What a raffle's definition says about its draw.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Hex32;

/// The most alternates a draw may have.
pub const ALTERNATES_MAX: u32 = 1_000_000;

/// How winners are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DrawMethod {
    /// By ticket: every chance the same (times the weight).
    #[default]
    Random,
    /// The first in the log.
    Arrival,
}

/// One round of a drand chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BeaconRound {
    /// SHA-256 of the chain's parameters, drand's name for it.
    pub chain_hash: Hex32,
    /// From 1.
    pub round: u64,
}

/// The draw's part of a definition; fixed at scheduling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DrawRules {
    /// How winners are found.
    pub method: DrawMethod,
    /// How many stand behind them, at most [`ALTERNATES_MAX`].
    pub alternates: u32,
    /// Public randomness that the draw waits for.
    pub beacon: Option<BeaconRound>,
}
