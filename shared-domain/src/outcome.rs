//! Outcomes of an entry, with their numbers on the wire and in the digest (DESIGN section 5, "Bytes").

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
        pub enum $name { $($(#[$vdoc])* $variant = $code),+ }

        impl $name {
            /// The number used in the database and in the digest.
            pub fn code(self) -> u8 {
                self as u8
            }

            /// The value of a number.
            pub fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

numbered! {
    /// Status of a persisted entry.
    EntryStatus {
        /// In a raffle that is not published yet.
        Pending = 0,
        /// Won.
        Win = 1,
        /// Did not win; final.
        Lose = 2,
        /// Accepted at the edge, but may not count; see [`Reason`].
        Rejected = 3,
    }
}

numbered! {
    /// Why an accepted entry does not count.
    Reason {
        /// Accepted before the event's start.
        NotStarted = 1,
        /// Behind the lane's `Closed` record, or accepted at or after the end.
        Closed = 2,
        /// Behind the lane's `Deleted` record.
        Deleted = 3,
        /// Outside the approval period in force at its position.
        ApprovalExpired = 4,
        /// Names an option that the event does not have.
        UnknownOption = 5,
        /// The member has as many entries as the event allows.
        EntryLimitReached = 6,
        /// Taken out of a raffle by staff.
        Disqualified = 7,
        /// Given up by an operator (`parked unpark --reject`).
        Undecidable = 8,
    }
}
