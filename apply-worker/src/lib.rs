//! The worker for FCFS and general entries: a role of `shared-runtime`'s loop.

use std::borrow::Cow;

use shared_proto::Topic;
use shared_runtime::worker::Role;

/// What it reads, and as which group.
pub const ROLE: Role = Role { topics: &[Topic::Apply], group: Cow::Borrowed("apply-worker") };
