//! Lanes: one partition of one topic (DESIGN section 4).

use std::fmt;

/// One partition of one topic, by full topic name: the unit of order, of ownership and of digests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// Full topic name, prefix included.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
}

impl Lane {
    /// A lane from its parts.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// The lane rule: which of an event's lanes (fixed when it was scheduled) a member's records go to.
///
/// The finaliser of SplitMix64 over the member id, modulo the number of lanes: stable for ever, independent of
/// how many partitions the topic has now. `None` when the event has no lanes.
pub fn lane_of_member(member_id: i64, lanes: &[i32]) -> Option<i32> {
    if let [only] = lanes {
        return Some(*only);
    }
    let mut x = (member_id as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^= x >> 31;
    lanes.get(usize::try_from(x.checked_rem(lanes.len() as u64)?).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_pinned_and_spreads_members() {
        // Pinned: a change here would move members of scheduled events to other lanes.
        let lanes = [3, 5, 8, 13];
        let pinned: Vec<_> = (0..8).map(|m| lane_of_member(m, &lanes)).collect();
        assert_eq!(pinned, [13, 5, 8, 5, 8, 8, 3, 13].map(Some));
        let mut counts = [0usize; 14];
        for m in 0..10_000 {
            counts[lane_of_member(m, &lanes).expect("four lanes") as usize] += 1;
        }
        assert!(lanes.iter().all(|l| (2_300..2_700).contains(&counts[*l as usize])), "{counts:?}");
    }

    #[test]
    fn one_lane_takes_everyone_and_none_takes_nobody() {
        assert_eq!(lane_of_member(i64::MIN, &[7]), Some(7));
        assert_eq!(lane_of_member(1, &[]), None);
    }
}
