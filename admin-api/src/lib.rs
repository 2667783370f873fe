//! The staff's HTTP edge and the relay that carries their commands to the log.

mod alarms;
mod args;
mod certificate;
mod change;
mod commands;
mod cursor;
mod deletion;
mod desk;
mod docs;
mod draw_runs;
mod draws;
mod eraser;
mod events;
mod mirror;
mod oversight;
mod problem;
mod ranking;
mod relay;
mod reward_totals;
mod routes;
mod stats;
mod view;
mod winners;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared_domain::draw::Chains;
use shared_proto::{Topic, TopicNames};
use shared_runtime::auth::Verifier;
use shared_runtime::clock::{SharedClock, SharedRandom};
use shared_runtime::config::ConfigError;
use shared_runtime::draw::DrawRunner;
use shared_runtime::http::{HttpLimits, Router, ServingThreads};
use shared_runtime::keys::{DecisionKey, KeyEncryptionKey};
use shared_runtime::lifecycle::Lifecycle;
use shared_runtime::log::LogEnds;
use shared_runtime::log::producer::Producer;
use shared_runtime::redis::RedisClient;
use shared_runtime::service;
use shared_runtime::store::commands::EventTopics;
use shared_runtime::store::{KeyStore, Store};
use tokio::sync::Notify;

use alarms::Alarms;
pub use args::AdminArgs;
pub use draw_runs::DrawRuns;
pub use eraser::{EraseError, Eraser, check_key_encryption_key};
pub use mirror::{Mirror, MirrorError};
pub use oversight::Oversight;
pub use ranking::Ranking;
pub use relay::Relay;
use relay::RelayParts;
pub use reward_totals::RewardTotals;

/// What the admin API is made of.
pub struct AdminParts {
    /// The database.
    pub store: Store,
    /// Mirrors live limits for the gateways; only a hint.
    pub redis: Option<RedisClient>,
    /// Who is asking.
    pub verifier: Arc<Verifier>,
    /// Time.
    pub clock: SharedClock,
    /// Ids and salts: the system's cryptographic generator, except in tests.
    pub random: SharedRandom,
    /// Where the lanes end: for the backlog in the figures.
    pub ends: Arc<dyn LogEnds>,
    /// Names of the topics.
    pub topics: TopicNames,
    /// Topics that events go to, with their partitions.
    pub event_topics: EventTopics,
    /// Seals reward keys and seeds of draws.
    pub decision_key: Arc<DecisionKey>,
    /// Beacons that draws may name.
    pub chains: Arc<Chains>,
    /// How long the log keeps records; `None`: as long as it lives.
    pub log_retention: Option<Duration>,
    /// Between an event's end and its `Closed` records.
    pub close_grace: Duration,
    /// Contact keys of events, and the list of deletions and erasures.
    pub keys: KeyStore,
    /// Wraps the contact keys, and signs certificates.
    pub wrapping: Arc<KeyEncryptionKey>,
    /// How long the longest-lived backup of either database is kept.
    pub backup_life: Duration,
    /// When a record of the log is gone at the latest; `None`: never.
    pub log_life: Option<Duration>,
}

/// The admin API. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    parts: Arc<AdminParts>,
    board: Arc<stats::Board>,
    wake: Arc<Notify>,
    wake_draws: Arc<Notify>,
    alarms: Alarms,
    eraser: Eraser,
}

impl Admin {
    /// From its parts.
    pub fn new(parts: AdminParts) -> Self {
        let parts = Arc::new(parts);
        Self {
            board: stats::Board::new(Arc::clone(&parts)),
            eraser: Eraser::new(Arc::clone(&parts)),
            parts,
            wake: Arc::default(),
            wake_draws: Arc::default(),
            alarms: Alarms::default(),
        }
    }

    /// Listens, and runs the relay over a producer, the draws, the eraser and the mirrors. Gives the address. Errors: an
    /// address that cannot be bound, a CORS origin that is none.
    pub async fn start<P: Producer>(
        parts: AdminParts,
        addr: SocketAddr,
        limits: HttpLimits,
        producer: Arc<P>,
        life: &Lifecycle,
    ) -> Result<SocketAddr, ConfigError> {
        let admin = Self::new(parts);
        let router = admin.router(limits)?;
        let (listener, addr) = service::bind("ADMIN_ADDR", addr).await?;
        tracing::info!(%addr, "listening");
        admin.spawn_background(life, producer);
        service::spawn_http(life, "admin-listener", listener, router, ServingThreads::default());
        Ok(addr)
    }

    /// The listener's routes. Errors: a CORS origin that is none.
    pub fn router(&self, limits: HttpLimits) -> Result<Router<Admin>, ConfigError> {
        routes::router(Arc::new(self.clone()), limits)
    }

    /// The relay over a producer, woken by this API's commands.
    pub fn relay<P: Producer>(&self, producer: Arc<P>) -> Relay<P> {
        let parts = &self.parts;
        let relay = RelayParts {
            store: parts.store.clone(),
            clock: Arc::clone(&parts.clock),
            random: Arc::clone(&parts.random),
            wake: Arc::clone(&self.wake),
            close_grace: parts.close_grace,
            alarms: self.alarms.clone(),
            ends: Arc::clone(&parts.ends),
            activity_topic: parts.topics.name(Topic::Activity),
        };
        Relay::new(relay, producer)
    }

    /// What carries deletions out.
    pub fn eraser(&self) -> Eraser {
        self.eraser.clone()
    }

    /// What carries draws on, woken by this API's requests.
    pub fn draw_runs(&self) -> DrawRuns {
        let parts = &self.parts;
        let clock = Arc::clone(&parts.clock);
        let (key, chains) = (Arc::clone(&parts.decision_key), Arc::clone(&parts.chains));
        let runner = DrawRunner::new(parts.store.clone(), key, chains, clock);
        DrawRuns::new(parts.store.clone(), runner, Arc::clone(&self.wake_draws), self.alarms.clone())
    }

    /// What tells the figures over all events.
    pub fn oversight(&self) -> Oversight {
        Oversight::new(Arc::clone(&self.parts))
    }

    /// Runs the relay, the draws, the eraser, the figures over all events, and the mirrors of live limits and reward totals, for the life of the
    /// process. Until the eraser has told the database again what was deleted, requests are answered 503.
    pub fn spawn_background<P: Producer>(&self, life: &Lifecycle, producer: Arc<P>) {
        self.eraser.spawn(life);
        self.alarms.tell(life);
        let (draws, shutdown) = (self.draw_runs(), life.shutdown_token());
        life.spawn("draws", async move {
            draws.run(shutdown).await;
            Ok(())
        });
        let (relay, shutdown) = (self.relay(producer), life.shutdown_token());
        life.spawn("relay", async move {
            relay.run(shutdown).await;
            Ok(())
        });
        let (oversight, shutdown) = (self.oversight(), life.shutdown_token());
        life.spawn("oversight", async move {
            oversight.run(shutdown).await;
            Ok(())
        });
        if let Some(redis) = self.parts.redis.clone() {
            let totals = RewardTotals::new(self.parts.store.clone(), redis.clone(), self.parts.clock.clone());
            let shutdown = life.shutdown_token();
            life.spawn("reward totals", async move {
                totals.run(shutdown).await;
                Ok(())
            });
            let ranking = Ranking::new(self.parts.store.clone(), redis.clone(), self.parts.clock.clone());
            let shutdown = life.shutdown_token();
            life.spawn("ranking", async move {
                ranking.run(shutdown).await;
                Ok(())
            });
            let (mirror, shutdown) = (Mirror::new(self.parts.store.clone(), redis), life.shutdown_token());
            life.spawn("limits mirror", async move {
                mirror.run(shutdown).await;
                Ok(())
            });
        }
    }
}
