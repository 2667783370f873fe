//! The public listener (DESIGN section 6): takes entries into the log, and tells members what became of them.
//!
//! No entry request touches the database: what it needs to know is in a [`snapshot`] that a background task renews.

mod activities;
mod claim;
mod contact;
mod docs;
mod draw_view;
mod entries;
mod entry_view;
mod events_view;
mod finished;
mod gather;
mod missions_view;
mod my_entries;
mod options;
mod raffle;
mod ranking;
mod recent;
mod results;
mod snapshot;
mod stream;
mod stream_places;
mod stream_wakes;
mod winners;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use metrics::Counter;
use shared_proto::{Topic, TopicNames};
use shared_runtime::auth::Verifier;
use shared_runtime::clock::{SharedClock, SharedRandom};
use shared_runtime::config::ConfigError;
use shared_runtime::embedded::BacklogGuard;
use shared_runtime::http::{HttpLimits, Router, ServingThreads};
use shared_runtime::lifecycle::Lifecycle;
use shared_runtime::log::producer::Producer;
use shared_runtime::redis::{LeasedRateLimit, MemberRateLimit, Presence, RedisClient};
use shared_runtime::service;
use shared_runtime::store::Store;
use shared_runtime::traces::Callers;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::draw_view::Draws;
use crate::missions_view::MissionProgress;
use crate::my_entries::MyEntries;
use crate::ranking::Ranking;
use crate::recent::RecentEntries;
use crate::results::Results;
use crate::snapshot::Snapshots;
use crate::stream_places::StreamPlaces;
use crate::stream_wakes::StreamWakes;
use crate::winners::Winners;

/// No machine has so many processors; a number above is a slip of the hand.
const MAX_SERVING_THREADS: usize = 1_024;
/// What requests read through may end so much later than the listener should have.
const AFTER_LISTENER: Duration = Duration::from_secs(3);

/// Settings of the public listener.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Public listener")]
pub struct GatewayArgs {
    /// Address of the public listener
    #[arg(long, env, default_value = "127.0.0.1:8080")]
    pub public_addr: SocketAddr,
    /// Entries a second for an event without a limit of its own, over all gateways; 0 admits nobody
    #[arg(long, env, default_value_t = 5_000)]
    pub rate_limit_per_second: i64,
    /// The same for raffles
    #[arg(long, env, default_value_t = 5_000)]
    pub raffle_rate_limit_per_second: i64,
    /// Requests a second of one member to one event without a limit of its own; 0 admits nobody
    #[arg(long, env, default_value_t = 5)]
    pub member_rate_limit_per_second: i64,
    /// Activities a second of one member; 0 admits nobody
    #[arg(long, env, default_value_t = 10)]
    pub activity_rate_limit_per_second: i64,
    /// How often definitions, stock and progress are read
    #[arg(long, env, default_value = "200ms", value_parser = humantime::parse_duration)]
    pub snapshot_interval: Duration,
    /// Open result streams; one more is 503 UNAVAILABLE. Below MAX_CONNECTIONS, so that streams leave room for entries
    #[arg(long, env, default_value_t = 12_000)]
    pub max_streams: usize,
    /// Open result streams of one member; one more is 429 TRY_AGAIN
    #[arg(long, env, default_value_t = 8)]
    pub max_streams_per_member: usize,
    /// A result stream that has said nothing for so long says that it lives; stay below what proxies on the way allow
    #[arg(long, env, default_value = "15s", value_parser = humantime::parse_duration)]
    pub stream_heartbeat: Duration,
    /// Threads that serve connections, each with a runtime of its own; 0 leaves that to the program's one
    #[arg(long, env, default_value_t = processors())]
    pub serving_threads: usize,
    /// Bounds of the listener
    #[command(flatten)]
    pub limits: HttpLimits,
}

/// As many as this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

impl Default for GatewayArgs {
    fn default() -> Self {
        Self {
            public_addr: SocketAddr::from(([127, 0, 0, 1], 8080)),
            rate_limit_per_second: 5_000,
            raffle_rate_limit_per_second: 5_000,
            member_rate_limit_per_second: 5,
            activity_rate_limit_per_second: 10,
            snapshot_interval: Duration::from_millis(200),
            max_streams: 12_000,
            max_streams_per_member: 8,
            stream_heartbeat: Duration::from_secs(15),
            serving_threads: processors(),
            limits: HttpLimits::default(),
        }
    }
}

impl GatewayArgs {
    /// Checks what the parser cannot.
    ///
    /// # Errors
    /// A value out of its range, named by its setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (setting, limit) in [
            ("RATE_LIMIT_PER_SECOND", self.rate_limit_per_second),
            ("RAFFLE_RATE_LIMIT_PER_SECOND", self.raffle_rate_limit_per_second),
            ("MEMBER_RATE_LIMIT_PER_SECOND", self.member_rate_limit_per_second),
            ("ACTIVITY_RATE_LIMIT_PER_SECOND", self.activity_rate_limit_per_second),
        ] {
            if limit < 0 {
                return Err(ConfigError::new(setting, "must be at least 0"));
            }
        }
        // Above half the age at which a snapshot is too old to say LOSE, sold-out events would only hear TRY_AGAIN.
        if self.snapshot_interval.is_zero() || self.snapshot_interval > Duration::from_millis(500) {
            return Err(ConfigError::new("SNAPSHOT_INTERVAL", "must be above 0 and at most 500ms"));
        }
        if self.stream_heartbeat.is_zero() {
            return Err(ConfigError::new("STREAM_HEARTBEAT", "must be above 0"));
        }
        if self.serving_threads > MAX_SERVING_THREADS {
            return Err(ConfigError::new("SERVING_THREADS", "is more than 1024"));
        }
        self.limits.check()?;
        if self.max_streams > Semaphore::MAX_PERMITS {
            return Err(ConfigError::new("MAX_STREAMS", "is too large"));
        }
        if self.max_streams_per_member == 0 {
            return Err(ConfigError::new("MAX_STREAMS_PER_MEMBER", "must be above 0"));
        }
        Ok(())
    }
}

/// What a gateway is made of.
pub struct GatewayParts<P> {
    /// The log.
    pub producer: Arc<P>,
    /// The database: read in the background only.
    pub store: Store,
    /// Limits and flags that staff change live.
    pub redis: RedisClient,
    /// Who is asking.
    pub verifier: Arc<Verifier>,
    /// The gateway's clock: it stamps `accepted_at`.
    pub clock: SharedClock,
    /// Spreads retries.
    pub random: SharedRandom,
    /// The embedded log's bound; `None` on Kafka.
    pub backlog: Option<Arc<BacklogGuard>>,
    /// Settings.
    pub args: GatewayArgs,
    /// Names of the topics that events may be carried by.
    pub topics: TopicNames,
    /// Partitions of the activities' topic.
    pub activity_partitions: Vec<i32>,
}

impl<P> std::fmt::Debug for GatewayParts<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayParts").field("args", &self.args).finish_non_exhaustive()
    }
}

/// What every handler sees.
pub struct Edge<P> {
    producer: Arc<P>,
    store: Store,
    redis: RedisClient,
    verifier: Arc<Verifier>,
    clock: SharedClock,
    random: SharedRandom,
    backlog: Option<Arc<BacklogGuard>>,
    args: GatewayArgs,
    topics: TopicNames,
    activity_topic: String,
    activity_partitions: Vec<i32>,
    presence: Presence,
    event_limit: LeasedRateLimit,
    member_limit: MemberRateLimit,
    snapshots: Snapshots,
    recent: RecentEntries,
    winners: Winners,
    results: Results,
    draws: Draws,
    my_entries: MyEntries,
    mission_progress: MissionProgress,
    ranking: Ranking,
    stream_places: Arc<StreamPlaces>,
    stream_wakes: Arc<StreamWakes>,
    accepted: Counter,
    activities_accepted: Counter,
}

impl<P> std::fmt::Debug for Edge<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").field("args", &self.args).finish_non_exhaustive()
    }
}

/// A gateway. Clones share it.
#[derive(Debug)]
pub struct Gateway<P>(Arc<Edge<P>>);

impl<P> Clone for Gateway<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Producer> Gateway<P> {
    /// A gateway that has read nothing yet: until [`spawn_background`](Self::spawn_background) has, it answers 503.
    pub fn new(parts: GatewayParts<P>) -> Self {
        let GatewayParts {
            producer,
            store,
            redis,
            verifier,
            clock,
            random,
            backlog,
            args,
            topics,
            activity_partitions,
        } = parts;
        let presence = Presence::default();
        Self(Arc::new(Edge {
            event_limit: LeasedRateLimit::new(redis.clone(), presence.clone(), Arc::clone(&random)),
            member_limit: MemberRateLimit::new(Arc::clone(&random)),
            presence,
            snapshots: Snapshots::default(),
            recent: RecentEntries::default(),
            winners: Winners::default(),
            results: Results::default(),
            draws: Draws::default(),
            my_entries: MyEntries::default(),
            mission_progress: MissionProgress::default(),
            ranking: Ranking::default(),
            stream_places: StreamPlaces::new(args.max_streams, args.max_streams_per_member),
            stream_wakes: Arc::default(),
            accepted: metrics::counter!("event_entries_accepted_total"),
            activities_accepted: metrics::counter!("event_activities_accepted_total"),
            activity_topic: topics.name(Topic::Activity),
            activity_partitions,
            producer,
            store,
            redis,
            verifier,
            clock,
            random,
            backlog,
            args,
            topics,
        }))
    }

    /// Listens, and starts what runs beside the requests. Gives the address, and what is cancelled when the listener has
    /// drained.
    ///
    /// # Errors
    /// An address that cannot be bound, a CORS origin that is none, threads that the system does not give.
    pub async fn start(
        parts: GatewayParts<P>,
        life: &Lifecycle,
    ) -> Result<(SocketAddr, CancellationToken), ConfigError> {
        let gateway = Self::new(parts);
        let router = gateway.router()?;
        let (listener, addr) = service::bind("PUBLIC_ADDR", gateway.0.args.public_addr).await?;
        let threads = ServingThreads::start(gateway.0.args.serving_threads)
            .map_err(|error| ConfigError::new("SERVING_THREADS", error.to_string()))?;
        tracing::info!(%addr, "listening");
        let drained = service::spawn_http(life, "public-listener", listener, router, threads);
        gateway.spawn_background(life, &drained);
        Ok((addr, drained))
    }

    /// The public listener's routes, for [`shared_runtime::http::serve`].
    ///
    /// # Errors
    /// A CORS origin that is none.
    pub fn router(&self) -> Result<Router<Edge<P>>, ConfigError> {
        let limit = self.0.args.limits.body_limit;
        Ok(Router::new(Arc::clone(&self.0), self.0.args.limits.clone())?
            .route(Method::GET, "/v1/events", events_view::list, docs::list_events())
            .route(Method::GET, "/v1/events/{event_id}", events_view::one, docs::get_event())
            .route(Method::POST, "/v1/events/{event_id}/entries", entries::post, docs::enter(limit))
            .route(Method::GET, "/v1/events/{event_id}/draw", draw_view::record, docs::get_draw())
            .route(Method::GET, "/v1/events/{event_id}/draw/entrants", draw_view::list, docs::get_entrants())
            .route(Method::GET, "/v1/events/{event_id}/missions", missions_view::list, docs::list_missions())
            .route(Method::POST, "/v1/activities", activities::post, docs::report(limit))
            .route(Method::GET, "/v1/entries/{entry_id}", entry_view::get, docs::get_entry())
            .route(Method::GET, "/v1/entries/{entry_id}/stream", stream::get, docs::stream_entry())
            .route(Method::POST, "/v1/entries/{entry_id}/claim", claim::post, docs::claim(limit))
            .route(Method::GET, "/v1/members/me/entries", my_entries::list, docs::my_entries())
            .route(Method::GET, "/v1/ranking", ranking::get, docs::ranking())
            .documented(docs::ABOUT)
            .traced(Callers::Strangers))
    }

    /// Starts what runs beside the requests: the snapshot's refresher (component `snapshot`, ready from the first snapshot
    /// on), the winners' loader and the readers of results, progress and lists, all of them until `drained`, since the
    /// last requests need them too; and the heartbeat that tells other gateways of this one.
    pub fn spawn_background(&self, life: &Lifecycle, drained: &CancellationToken) {
        let component = life.component("snapshot");
        let budget = life.drain_budget() + AFTER_LISTENER;
        let edge = || Arc::clone(&self.0);
        let until = || drained.clone();
        life.spawn_with_budget("snapshot", budget, snapshot::refresh_until(edge(), component, until()));
        life.spawn_with_budget("winners", budget, winners::load_until(edge(), until()));
        life.spawn_with_budget("results", budget, results::read_until(edge(), until()));
        life.spawn_with_budget("mission progress", budget, missions_view::read_until(edge(), until()));
        life.spawn_with_budget("members' entries", budget, my_entries::read_until(edge(), until()));
        let stop = life.shutdown_token();
        let (edge, name) = (&self.0, format!("{:032x}", u128::from_be_bytes(self.0.random.id())));
        let beat = edge.presence.clone().run(edge.redis.clone(), Arc::clone(&edge.clock), name, stop);
        life.spawn("presence", async move {
            beat.await;
            Ok(())
        });
    }
}
