//! The system as `make up-native` starts it, by its own script: every program a process behind the load balancer, watched by
//! Prometheus.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use shared_runtime::auth::DevKey;

use crate::column::Column;
use crate::process::{binary, run};
use crate::rounds::BUDGET;
use crate::staff::Staff;

/// A running native system; stopped when dropped.
pub struct Native {
    /// The load balancer before the gateways.
    pub public: SocketAddr,
    /// The two behind it.
    gateways: [SocketAddr; 2],
    /// At admin-api.
    pub staff: Staff,
    folder: tempfile::TempDir,
    prometheus: String,
    http: reqwest::Client,
}

impl Native {
    /// Starts it on a column's stores. `None`, and a line that says so, where HAProxy or Prometheus is not there and cannot be
    /// installed by this user.
    pub async fn up(column: &Column) -> Option<Self> {
        let folder = tempfile::tempdir().expect("folder");
        let (_, missing) = run(script(folder.path(), &["missing"])).await;
        let root = folder.path().metadata().is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
        if !missing.is_empty() && !root {
            println!("skipped: not installed: {}", missing.trim().replace('\n', ", "));
            return None;
        }
        // The same keys as the column's tools have.
        let keys = folder.path().join("keys");
        std::fs::create_dir(&keys).expect("folder");
        std::fs::copy(&column.decision_key, keys.join("decision.key")).expect("key");
        std::fs::copy(&column.key_encryption_key, keys.join("key-encryption.key")).expect("key");
        let key = DevKey::create(&keys.join("dev.key")).expect("key");
        // Above those of `free_port`, and below those of outgoing connections.
        let ports = 32_000 + 100 * rand::random_range(0..7);
        let at = |offset: u16| SocketAddr::from(([127, 0, 0, 1], ports + offset));
        let mut up = script(folder.path(), &["up"]);
        let programs = binary("event-system");
        let profile = programs.parent().expect("a folder");
        up.env("CARGO_TARGET_DIR", profile.parent().expect("a folder"))
            .env("PROFILE", profile.file_name().expect("a name"))
            .env("SYSTEM_PORT", ports.to_string())
            .env("SYSTEM_PUBLIC_PORT", at(90).port().to_string())
            .env("SYSTEM_ADMIN_PORT", at(91).port().to_string())
            .env("SYSTEM_PROMETHEUS_PORT", at(92).port().to_string())
            .env("DATABASE_URL", &column.database_url)
            .env("KAFKA_BROKERS", column.kafka.kafka_brokers.as_deref().expect("real column"))
            .env("KAFKA_TOPIC_PREFIX", &column.kafka.kafka_topic_prefix)
            .env("ALLOW_UNSAFE_LOG", "true");
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("client");
        let system = Self {
            public: at(90),
            gateways: [at(71), at(72)],
            staff: Staff::at(format!("http://{}", at(91)), &key),
            folder,
            prometheus: format!("http://{}/api/v1/query", at(92)),
            http,
        };
        let (code, said) = run(up).await;
        assert_eq!(code, Some(0), "{said}");
        Some(system)
    }

    /// Signs members' tokens.
    pub fn key(&self) -> DevKey {
        DevKey::read(&self.folder.path().join("keys/dev.key")).expect("key")
    }

    /// Runs the script, which must end well; what it said.
    pub async fn run(&self, args: &[&str]) -> String {
        let (code, said) = run(script(self.folder.path(), args)).await;
        assert_eq!(code, Some(0), "{args:?}: {said}");
        said
    }

    /// Series that Prometheus has for a query now: labels and value.
    pub async fn series(&self, query: &str) -> Vec<(Value, f64)> {
        let url = reqwest::Url::parse_with_params(&self.prometheus, [("query", query)]).expect("an address");
        let answer = self.http.get(url).send().await.expect("Prometheus");
        let mut body: Value = answer.json().await.expect("JSON");
        let Value::Array(series) = body["data"]["result"].take() else { panic!("{query}: {body}") };
        let value = |s: &Value| s["value"][1].as_str().and_then(|v| v.parse().ok()).expect("a number");
        series.into_iter().map(|mut s| (s["metric"].take(), value(&s))).collect()
    }

    /// Waits until Prometheus has these values for a query.
    pub async fn wait_for_values(&self, query: &str, wanted: &[f64]) {
        let until = Instant::now() + BUDGET;
        loop {
            let values: Vec<f64> = self.series(query).await.into_iter().map(|(_, value)| value).collect();
            if values == wanted {
                return;
            }
            assert!(Instant::now() < until, "{query} is {values:?}, not {wanted:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until members see an event in this state, whichever gateway they meet.
    pub async fn wait_for_status(&self, event: i64, status: &str) {
        let until = Instant::now() + BUDGET;
        for gateway in self.gateways {
            let url = format!("http://{gateway}/v1/events/{event}");
            loop {
                let seen: Value =
                    self.http.get(&url).send().await.expect("an answer").json().await.expect("JSON");
                if seen["status"] == status {
                    break;
                }
                assert!(Instant::now() < until, "{status} is awaited: {seen}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // Its output is on the test's own.
        drop(script(self.folder.path(), &["down"]).status());
    }
}

fn script(folder: &Path, args: &[&str]) -> Command {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../compose/system.sh");
    let mut command = Command::new(script);
    command.args(args).env("SYSTEM_DIR", folder);
    command
}
