//! Draws that anyone can recompute (DESIGN section 7; the byte layouts, what a draw proves and test vectors are in
//! `shared-domain/DRAW.md`).
//!
//! What a store does with it, phase by phase:
//! - **scheduling**: a random [`Seed`]; its [`Seed::commitment`] becomes public, the seed is wrapped into the record.
//! - **FROZEN**: stream the PENDING entries in (lane, seq) order through a [`ListDigest`]; [`trust`] says whether the
//!   named beacon counts.
//! - **DECIDED**: [`Seed::draw_key`], then stream the same list through a [`Selection`] of [`needed`] winners and the
//!   alternates; amounts by [`crate::Reward::by_rank`].
//! - **PUBLISHED**: the [`DrawRecord`] shows seed, winners and alternates; [`Standing::disqualify`] moves alternates up.
//! - anyone, later: [`Verifier`].

mod beacon;
mod list;
mod record;
mod rules;
mod selection;
mod standing;
mod ticket;
mod verify;

pub use beacon::{BEACON_LEAD_MS, BeaconError, Chain, Chains, ChainsError, trust};
pub use list::{ENTRANTS_HEADER, Entrant, EntrantError, ListDigest, ListError, WEIGHT_MAX};
pub use record::{BeaconRecord, DisqualifiedRecord, DrawPhase, DrawRecord, Trust};
pub use rules::{ALTERNATES_MAX, BeaconRound, DrawMethod, DrawRules};
pub use selection::{Selected, Selection};
pub use standing::{Disqualified, Standing, needed};
pub use ticket::{DrawKey, NO_BEACON, Seed, Ticket};
pub use verify::{Check, CheckName, CheckOutcome, Report, Verifier};
