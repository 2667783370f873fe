//! The embedded stack: the log, the cache and what bounds them, inside one process.

pub mod backlog;
pub mod fake_redis;
pub mod mock_log;

pub use backlog::{BacklogGuard, CountedProducer, ReaderPosition};
pub use fake_redis::FakeRedis;
pub use mock_log::{MockLog, MockLogError};
