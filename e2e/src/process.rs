//! Real processes: started from the built binaries, killed by signal.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::column::Column;

/// A running binary of this workspace. Killed when dropped.
pub struct Process {
    child: Child,
    ops_port: u16,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Process {
    /// Starts `apply-worker` on a column, with an ops port of its own.
    pub fn apply_worker(column: &Column, database_url: &str, name: &str) -> Self {
        Self::apply_worker_with(column, database_url, name, &[])
    }

    /// The same with more settings.
    pub fn apply_worker_with(
        column: &Column,
        database_url: &str,
        name: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::start("apply-worker", column, database_url, name, settings)
    }

    /// Starts one of the binaries on a column; what it needs beyond the three stores is in `settings`.
    pub fn start(
        program: &str,
        column: &Column,
        database_url: &str,
        name: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut command = on_column(program, column, database_url);
        command
            .env("KAFKA_SESSION_TIMEOUT", "6s")
            .env("DATABASE_IDLE_TIMEOUT", "4s")
            .envs(settings.iter().copied());
        Self::spawn(command, name)
    }

    /// Starts a command of this workspace, with an ops port and a log file of its own.
    pub fn spawn(mut command: Command, name: &str) -> Self {
        let ops_port = free_port();
        command.env("OPS_ADDR", format!("127.0.0.1:{ops_port}"));
        let folder = tempfile::tempdir().expect("folder");
        let kept = std::env::var("E2E_LOG_DIR").map_or_else(|_| folder.path().to_owned(), PathBuf::from);
        let log = kept.join(format!("{name}-{ops_port}.log"));
        let err = std::fs::File::create(&log).expect("log file");
        let child = command.stdout(Stdio::null()).stderr(err).spawn().expect("binary starts");
        Self { child, ops_port, log, _folder: folder }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("log file")
    }

    /// All metrics as text; `None` while nobody answers.
    pub async fn metrics(&self) -> Option<String> {
        self.ops("/metrics").await
    }

    /// Whether it is ready, and what it waits for; `None` while nobody answers.
    pub async fn readiness(&self) -> Option<String> {
        self.ops("/readyz").await
    }

    async fn ops(&self, path: &str) -> Option<String> {
        let ask = async {
            let mut conn = tokio::net::TcpStream::connect(("127.0.0.1", self.ops_port)).await?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n");
            conn.write_all(request.as_bytes()).await?;
            let mut text = String::new();
            conn.read_to_string(&mut text).await?;
            std::io::Result::Ok(text)
        };
        tokio::time::timeout(Duration::from_secs(2), ask).await.ok()?.ok()
    }

    /// Sum of a metric's series that have all these labels (`key="value"`); `None` while nobody answers.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let text = self.metrics().await?;
        let series = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        Some(series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    /// Waits until a metric's sum reaches `least`.
    pub async fn wait_for_metric(&self, name: &str, labels: &[&str], least: f64, budget: Duration) {
        let until = Instant::now() + budget;
        loop {
            let value = self.metric(name, labels).await;
            if value.is_some_and(|v| v >= least) {
                return;
            }
            assert!(Instant::now() < until, "{name} {labels:?} is {value:?}; the log: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until /readyz says so.
    pub async fn wait_until_ready(&mut self, budget: Duration) {
        let ops = ([127, 0, 0, 1], self.ops_port).into();
        let until = Instant::now() + budget;
        while !shared_runtime::lifecycle::healthcheck(ops).await {
            assert!(self.is_running() && Instant::now() < until, "not ready; the log: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Waits for the end and gives the exit code.
    pub async fn ended(&mut self, budget: Duration) -> Option<i32> {
        let until = Instant::now() + budget;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code();
            }
            assert!(Instant::now() < until, "still runs after {budget:?}; the log: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a signal by name (KILL, STOP, CONT, TERM).
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill").success());
    }

    /// Waits for the end and gives the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("wait").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone in most scenarios.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a program that is to end by itself; what it said on standard error, and its status.
pub async fn run_to_end(mut command: Command, budget: Duration) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let until = Instant::now() + budget;
    while child.try_wait().expect("wait").is_none() {
        if Instant::now() >= until {
            child.kill().expect("kill");
            let said = child.wait_with_output().expect("output").stderr;
            panic!("{command:?} has started: {}", String::from_utf8_lossy(&said));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.wait_with_output().expect("output")
}

/// A binary of this workspace with a real column's settings.
pub fn on_column(name: &str, column: &Column, database_url: &str) -> Command {
    let mut command = Command::new(binary(name));
    command
        .env("KAFKA_BROKERS", column.kafka.kafka_brokers.as_deref().expect("real column"))
        .env("KAFKA_TOPIC_PREFIX", &column.kafka.kafka_topic_prefix)
        .env("ALLOW_UNSAFE_LOG", "true")
        .env("DATABASE_URL", database_url)
        .env("DECISION_KEY_FILE", &column.decision_key)
        .env("KEY_ENCRYPTION_KEY_FILE", &column.key_encryption_key)
        .env("LOG", "info,librdkafka=off");
    command
}

/// Runs an operator's command to its end: exit code, and all that it printed.
pub async fn run(mut command: Command) -> (Option<i32>, String) {
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let output = output.expect("binary starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), text.concat())
}

/// A port that was free a moment ago. Below the range from which the system takes ports for outgoing connections, so
/// that none of those is in the way when it is bound.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(20_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
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
