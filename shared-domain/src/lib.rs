//! The rules, pure: no I/O, no clock, no global randomness (DESIGN sections 4 to 8).
//!
//! Everything that decides an outcome is here, so that a replay, a simulator and the live workers agree.

mod approval_draft;
mod contact;
mod decide;
mod definition;
mod digest;
mod draft;
pub mod draw;
mod entry_id;
mod hex;
mod misfit;
mod mission;
mod outcome;
mod patch;
mod public_status;
mod receipt;
mod reward;
mod rules;
mod value;

pub use approval_draft::ComplianceDraft;
pub use contact::Contact;
pub use decide::{
    CommandOutcome, DecidedCommand, DecidedEntry, Decisions, EventInLane, Fold, Judged, Known, LaneState,
    LogEntry, Undecidable, Weighed, decide,
};
pub use definition::{Ceiling, DefinitionError, EventDefinition, WrappedKeys};
pub use digest::{DIGEST_START, Digest, digest_step, weight_step};
use draft::check_text;
pub use draft::{
    BeaconDraft, DrawDraft, EventDraft, LimitsDraft, MissionDraft, RewardDraft, StockDraft, Violation,
    check_draft,
};
pub use entry_id::{EntryId, EventKeys};
pub use hex::{Hex32, HexBytes, HexError};
pub use misfit::misfit_text;
pub use mission::{
    ActivityReport, Completion, Count, Counted, LatestValue, MAX_AGE_MS, MISSIONS_MAX, MarkKey, Measure,
    Mission, MissionType, MissionWeights, Progress, ProgressKey, SELF_REPORTED_MAX_AGE_MS, SortedCounts,
    StampError, counts, sort_counts, tally,
};
pub use outcome::{EntryStatus, Reason};
pub use patch::{patch_draft, patch_text, patches_text_only};
pub use public_status::{EventStatus, Lifecycle, public_status};
pub use receipt::{Receipt, ReceiptError};
pub use reward::{
    AMOUNT_MAX, AmountRange, BLOCK_PRIZES, Budget, Reward, RewardError, RewardKey, RewardPlace, TargetRange,
};
pub use rules::Rules;
pub use value::{Approval, ContactCollection, EventPeriod, EventType, OptionName, RuleError, Stock};

/// Event id, as in the database and in every URL.
pub type EventId = i64;
/// Member id: the token's `sub`.
pub type MemberId = i64;
/// Milliseconds since 1970-01-01 UTC.
pub type Millis = i64;
