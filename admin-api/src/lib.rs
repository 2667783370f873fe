//! The staff's HTTP edge and the relay that carries their commands to the log.

mod args;
mod change;
mod commands;
mod cursor;
mod desk;
mod docs;
mod events;
mod mirror;
mod problem;
mod relay;
mod routes;
mod stats;
mod view;
mod winners;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared_proto::TopicNames;
use shared_runtime::auth::Verifier;
use shared_runtime::clock::{SharedClock, SharedRandom};
use shared_runtime::config::ConfigError;
use shared_runtime::http::{HttpLimits, Router};
use shared_runtime::lifecycle::Lifecycle;
use shared_runtime::log::LogEnds;
use shared_runtime::log::producer::Producer;
use shared_runtime::redis::RedisClient;
use shared_runtime::service;
use shared_runtime::store::Store;
use tokio::sync::Notify;

pub use args::AdminArgs;
pub use mirror::{Mirror, MirrorError};
pub use relay::Relay;

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
    /// Partitions of the apply topic.
    pub apply_lanes: i32,
    /// How long the log keeps records; `None`: as long as it lives.
    pub log_retention: Option<Duration>,
    /// Between an event's end and its `Closed` records.
    pub close_grace: Duration,
}

/// The admin API. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    parts: Arc<AdminParts>,
    board: Arc<stats::Board>,
    wake: Arc<Notify>,
}

impl Admin {
    /// From its parts.
    pub fn new(parts: AdminParts) -> Self {
        let parts = Arc::new(parts);
        Self { board: stats::Board::new(Arc::clone(&parts)), parts, wake: Arc::new(Notify::new()) }
    }

    /// Listens, and runs the relay over a producer and the mirror of live limits. Gives the address. Errors: an address
    /// that cannot be bound, a CORS origin that is none.
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
        service::spawn_http(life, "admin-listener", listener, router);
        Ok(addr)
    }

    /// The listener's routes. Errors: a CORS origin that is none.
    pub fn router(&self, limits: HttpLimits) -> Result<Router<Admin>, ConfigError> {
        routes::router(Arc::new(self.clone()), limits)
    }

    /// The relay over a producer, woken by this API's commands.
    pub fn relay<P: Producer>(&self, producer: Arc<P>) -> Relay<P> {
        let parts = &self.parts;
        Relay::new(
            parts.store.clone(),
            producer,
            Arc::clone(&parts.clock),
            Arc::clone(&parts.random),
            Arc::clone(&self.wake),
            parts.close_grace,
        )
    }

    /// Runs the relay, and the mirror of live limits, for the life of the process.
    pub fn spawn_background<P: Producer>(&self, life: &Lifecycle, producer: Arc<P>) {
        let (relay, shutdown) = (self.relay(producer), life.shutdown_token());
        life.spawn("relay", async move {
            relay.run(shutdown).await;
            Ok(())
        });
        if let Some(redis) = self.parts.redis.clone() {
            let (mirror, shutdown) = (Mirror::new(self.parts.store.clone(), redis), life.shutdown_token());
            life.spawn("limits mirror", async move {
                mirror.run(shutdown).await;
                Ok(())
            });
        }
    }
}
