//! Entries per second and event over all gateways: the count is in Redis, tokens are leased in small blocks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use metrics::Counter;

use super::{Presence, RedisClient};
use crate::clock::SharedRandom;

/// A window's count lives longer than any request that could still ask for it.
const KEY_TTL_S: i64 = 10;
/// Blocks in a window. What a gateway has leased and does not use is lost, so that a block is small beside the limit.
const BLOCKS: i64 = 20;
/// A block of that size is as many answers of Redis a second as a gateway can well wait for; only where the limit is so high
/// that all gateways' blocks together are one of the window's, they are larger.
const LARGE_BLOCK: i64 = 250;
/// Windows that a request may lag behind the newest one and still be counted in that.
const LAG_S: i64 = 2;
/// An event nobody asked about for this long is forgotten here.
const IDLE_S: i64 = 60;

/// May this request go on?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allowed,
    /// No.
    Limited {
        /// When to ask again, in seconds; spread, so that the refused do not return in step.
        retry_after_s: u32,
    },
}

/// A rate limit over all gateways, per event and one-second window. Clones share it.
///
/// While Redis works, no window admits more than its limit in total. A block that was leased and not used by the end
/// of the window is lost, so that a window may admit a little less. Without Redis each gateway admits its share of
/// the limit, by the number of gateways that were last alive, less what it has admitted in that window before.
#[derive(Debug, Clone)]
pub struct LeasedRateLimit {
    inner: Arc<Inner>,
}

struct Inner {
    redis: RedisClient,
    presence: Presence,
    random: SharedRandom,
    /// By local and allowed.
    decisions: [[Counter; 2]; 2],
    events: DashMap<i64, Arc<Event>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("events", &self.events.len()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Event {
    window: Mutex<Window>,
    /// Held by whoever leases; the others of this event wait here and mostly find tokens after it.
    lease: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    /// Seconds since 1970.
    second: i64,
    tokens: i64,
    admitted: i64,
    /// Nothing more is to be had in this window.
    exhausted: bool,
    /// Redis failed in this window: the tokens are this gateway's own share.
    local: bool,
}

enum Try {
    Decided { allowed: bool, local: bool },
    Lease { second: i64 },
}

impl Event {
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, now_s: i64) -> Try {
        let mut window = self.window();
        // A request that is a little late is counted in the newest window; a clock that was set back starts anew,
        // which Redis' own count keeps exact.
        if now_s > window.second || now_s < window.second - LAG_S {
            *window = Window { second: now_s, ..Window::default() };
        }
        if window.tokens > 0 {
            window.tokens -= 1;
            window.admitted += 1;
            Try::Decided { allowed: true, local: window.local }
        } else if window.exhausted {
            Try::Decided { allowed: false, local: window.local }
        } else {
            Try::Lease { second: window.second }
        }
    }
}

impl LeasedRateLimit {
    /// A limit over the gateways that share this Redis.
    pub fn new(redis: RedisClient, presence: Presence, random: SharedRandom) -> Self {
        // Looked up once: a look-up hashes the labels.
        let decision =
            |name: &'static str| metrics::counter!("event_rate_limit_decisions_total", "decision" => name);
        let decisions =
            [["limited", "allowed"], ["local_limited", "local_allowed"]].map(|pair| pair.map(decision));
        Self { inner: Arc::new(Inner { redis, presence, random, decisions, events: DashMap::new() }) }
    }

    /// Counts one request for an event. `limit_per_second` is over all gateways, 0 or less admits nobody; `now_ms`
    /// is the gateway's clock, in milliseconds since 1970. With tokens at hand, or none left in this second, it does
    /// not wait; otherwise one request leases for all.
    pub async fn acquire(&self, event_id: i64, limit_per_second: i64, now_ms: i64) -> Decision {
        if limit_per_second <= 0 {
            return self.decide(false, false);
        }
        let event = self.event(event_id);
        let now_s = now_ms.div_euclid(1000);
        if let Try::Decided { allowed, local } = event.take(now_s) {
            return self.decide(allowed, local);
        }
        // Boxed, so that the requests that find a token are not moved about with the room for leasing.
        Box::pin(async move {
            let _lease = event.lease.lock().await;
            loop {
                match event.take(now_s) {
                    Try::Decided { allowed, local } => return self.decide(allowed, local),
                    Try::Lease { second } => self.lease(&event, event_id, limit_per_second, second).await,
                }
            }
        })
        .await
    }

    /// Fills the window of `second`, or marks it exhausted.
    async fn lease(&self, event: &Event, event_id: i64, limit: i64, second: i64) {
        let block = block_of(limit, self.inner.presence.live());
        let key = format!("event:rate:{event_id}:{second}");
        let answer = self.inner.redis.incr_by_with_expiry(&key, block, KEY_TTL_S).await;
        let mut window = event.window();
        if window.second != second {
            // The second ended meanwhile: these tokens are worth nothing now.
            return;
        }
        match answer {
            Ok(total) => {
                let before = total.saturating_sub(block);
                window.tokens = limit.saturating_sub(before).clamp(0, block);
                window.exhausted = window.tokens < block;
            }
            Err(error) => {
                let share = (limit / self.inner.presence.live()).max(1);
                window.tokens = share.saturating_sub(window.admitted).max(0);
                window.exhausted = true;
                window.local = true;
                tracing::debug!(event_id, %error, share, "rate limit by this gateway's own share");
            }
        }
    }

    /// Forgets events nobody asked about for a minute. Call it now and then.
    pub fn sweep(&self, now_ms: i64) {
        let oldest = now_ms.div_euclid(1000) - IDLE_S;
        self.inner.events.retain(|_, event| event.window().second >= oldest);
    }

    fn event(&self, event_id: i64) -> Arc<Event> {
        if let Some(event) = self.inner.events.get(&event_id) {
            return event.clone();
        }
        self.inner.events.entry(event_id).or_default().clone()
    }

    fn decide(&self, allowed: bool, local: bool) -> Decision {
        self.inner.decisions[usize::from(local)][usize::from(allowed)].increment(1);
        if allowed {
            return Decision::Allowed;
        }
        Decision::Limited { retry_after_s: retry_after(&self.inner.random) }
    }
}

/// Tokens to lease at once, of a limit that so many gateways share.
fn block_of(limit: i64, gateways: i64) -> i64 {
    (limit / BLOCKS).clamp(1, LARGE_BLOCK).max(limit / BLOCKS / gateways.max(1))
}

/// 1 to 3 seconds.
pub(super) fn retry_after(random: &SharedRandom) -> u32 {
    // `below(3)` is 0, 1 or 2.
    1 + random.below(3) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_a_small_part_of_the_limit_for_all_gateways_together() {
        assert_eq!([1, 19, 40, 5_000].map(|limit| block_of(limit, 1)), [1, 1, 2, 250]);
        for gateways in [1, 2, 12] {
            assert_eq!(block_of(5_000, gateways), 250);
            for limit in [5_000 * gateways, 100_000, 1_000_000_000] {
                let block = block_of(limit, gateways);
                assert!(block == 250 || block * gateways * BLOCKS <= limit, "{block} of {limit}");
            }
        }
        assert_eq!(block_of(1_000_000, 2), 25_000);
        assert_eq!(block_of(1_000, 0), 50, "at least this gateway lives");
    }
}
