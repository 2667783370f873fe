//! The worker for FCFS and general entries and for members' activities: two roles of `shared-runtime`'s loop.

use std::borrow::Cow;

use shared_proto::Topic;
use shared_runtime::worker::Role;

/// Entries: what it reads, and as which group.
pub const ROLE: Role = Role { topics: &[Topic::Apply], group: Cow::Borrowed("apply-worker") };

/// Activities, in a group and lanes of their own: a flood of either kind does not hold up the other.
pub const ACTIVITY_ROLE: Role = Role { topics: &[Topic::Activity], group: Cow::Borrowed("activity-worker") };

/// What the binary does.
pub const ROLES: [Role; 2] = [ROLE, ACTIVITY_ROLE];
