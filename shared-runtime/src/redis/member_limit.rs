//! Requests per member and event, counted in this process.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::rate_limit::{Decision, retry_after};
use crate::clock::SharedRandom;

/// Members that were silent for a second are forgotten every so many checks.
const SWEEP_EVERY: u64 = 65_536;

type Keyed = DefaultKeyedRateLimiter<(i64, i64)>;

/// Bounds what one member sends to one event. A member may use a second's quota at once.
///
/// Memory: one entry for each member seen since the last sweep.
pub struct MemberRateLimit {
    /// By quota: the limiter's state depends on it, and there are as many as staff have set.
    limiters: DashMap<NonZeroU32, Arc<Keyed>>,
    checks: AtomicU64,
    random: SharedRandom,
}

impl std::fmt::Debug for MemberRateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberRateLimit").field("members", &self.members()).finish_non_exhaustive()
    }
}

impl MemberRateLimit {
    /// Nobody counted yet.
    pub fn new(random: SharedRandom) -> Self {
        Self { limiters: DashMap::new(), checks: AtomicU64::new(0), random }
    }

    /// Counts one request. `per_second` of 0 or less admits nobody.
    pub fn check(&self, event_id: i64, member_id: i64, per_second: i64) -> Decision {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.sweep();
        }
        let quota = NonZeroU32::new(u32::try_from(per_second.max(0)).unwrap_or(u32::MAX));
        if quota.is_some_and(|quota| self.limiter(quota).check_key(&(event_id, member_id)).is_ok()) {
            return Decision::Allowed;
        }
        metrics::counter!("event_member_rate_limited_total").increment(1);
        Decision::Limited { retry_after_s: retry_after(&self.random) }
    }

    /// Forgets members that were silent long enough to have their whole quota again. `check` does it now and then.
    pub fn sweep(&self) {
        let limiters: Vec<Arc<Keyed>> = self.limiters.iter().map(|limiter| limiter.clone()).collect();
        for limiter in limiters {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        self.limiters.retain(|_, limiter| !limiter.is_empty());
    }

    /// Members counted now.
    pub fn members(&self) -> usize {
        self.limiters.iter().map(|limiter| limiter.len()).sum()
    }

    fn limiter(&self, quota: NonZeroU32) -> Arc<Keyed> {
        if let Some(limiter) = self.limiters.get(&quota) {
            return limiter.clone();
        }
        let new = || Arc::new(RateLimiter::keyed(Quota::per_second(quota)));
        self.limiters.entry(quota).or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededRandom;

    fn allowed(limit: &MemberRateLimit, event: i64, member: i64, per_second: i64, tries: usize) -> usize {
        (0..tries).filter(|_| limit.check(event, member, per_second) == Decision::Allowed).count()
    }

    #[test]
    fn each_member_and_event_has_its_own_quota() {
        let limit = MemberRateLimit::new(Arc::new(SeededRandom::new(1)));
        assert_eq!(allowed(&limit, 1, 1, 0, 5), 0);
        assert_eq!(allowed(&limit, 1, 1, -1, 5), 0);
        assert_eq!(allowed(&limit, 1, 1, 1, 5), 1);
        assert_eq!(allowed(&limit, 2, 1, 1, 5), 1);
        assert_eq!(allowed(&limit, 1, 2, 1, 5), 1);
        assert_eq!(allowed(&limit, 3, 1, i64::MAX, 1000), 1000);
    }

    #[test]
    fn silent_members_are_forgotten() {
        let limit = MemberRateLimit::new(Arc::new(SeededRandom::new(1)));
        (0..1000).for_each(|member| assert_eq!(limit.check(1, member, 1000), Decision::Allowed));
        assert!(limit.members() > 0);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        limit.sweep();
        assert_eq!(limit.members(), 0);
        assert_eq!(allowed(&limit, 1, 1, 1, 5), 1);
    }
}
