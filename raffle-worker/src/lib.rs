//! The worker for raffle entries: a role of `shared-runtime`'s loop.

use std::borrow::Cow;

use shared_proto::Topic;
use shared_runtime::worker::Role;

/// What it reads, and as which group.
pub const ROLE: Role = Role { topics: &[Topic::Raffle], group: Cow::Borrowed("raffle-worker") };
