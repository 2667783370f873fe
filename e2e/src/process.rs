//! Real processes: started from the built binaries, killed by signal.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::column::Column;

/// A running binary of this workspace. Killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts `apply-worker` on a column, with an ops port of its own.
    pub fn apply_worker(column: &Column, database_url: &str, name: &str) -> Self {
        let mut command = Command::new(binary("apply-worker"));
        command
            .env("KAFKA_BROKERS", column.kafka.kafka_brokers.as_deref().expect("real column"))
            .env("KAFKA_TOPIC_PREFIX", &column.kafka.kafka_topic_prefix)
            .env("KAFKA_SESSION_TIMEOUT", "6s")
            .env("ALLOW_UNSAFE_LOG", "true")
            .env("DATABASE_URL", database_url)
            .env("DATABASE_IDLE_TIMEOUT", "4s")
            .env("OPS_ADDR", "127.0.0.1:0")
            .env("LOG", "info,librdkafka=off");
        Self::spawn(command, name)
    }

    fn spawn(mut command: Command, name: &str) -> Self {
        let log = std::env::var("E2E_LOG_DIR").ok().map(|dir| {
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(format!("{dir}/{name}.log"))
                .expect("log file")
        });
        let err = log.map_or_else(Stdio::null, Stdio::from);
        Self(command.stdout(Stdio::null()).stderr(err).spawn().expect("binary starts"))
    }

    /// Sends a signal by name (KILL, STOP, CONT, TERM).
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.0.id().to_string()).status();
        assert!(status.expect("kill").success());
    }

    /// Waits for the end and gives the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.0.wait().expect("wait").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone in most scenarios.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Path of a binary beside the test's own.
pub fn binary(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().expect("own path");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing; run `cargo build --workspace --bins` first", path.display());
    path
}
