//! A running `admin-api` and staff who use it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared_runtime::auth::DevKey;

use crate::column::Column;
use crate::process::{Process, free_port};

const SCOPES: &str = "events:read events:write draws:run contacts:read ops:write";
const BUDGET: Duration = Duration::from_secs(60);

/// Staff at an admin listener.
pub struct Staff {
    base: String,
    client: reqwest::Client,
    token: String,
}

/// A running `admin-api` on the real column, and staff at it.
pub struct AdminApi {
    /// The process.
    pub process: Process,
    staff: Staff,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for AdminApi {
    type Target = Staff;

    fn deref(&self) -> &Staff {
        &self.staff
    }
}

impl AdminApi {
    /// Starts it on a column, its database reached by `database_url`, and waits until it is ready to answer.
    pub async fn start(column: &Column, database_url: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("dev.key");
        let key = DevKey::create(&file).expect("a key");
        let addr = format!("127.0.0.1:{}", free_port());
        let redis = std::env::var("REDIS_URL").expect("REDIS_URL is not set; run `make test`");
        let settings = [
            ("ADMIN_ADDR", addr.as_str()),
            ("REDIS_URL", &redis),
            ("AUTH_DEV_KEY_FILE", file.to_str().expect("UTF-8")),
            ("CLOSE_GRACE", "200ms"),
        ];
        let process = Process::start("admin-api", column, database_url, "admin", &settings);
        let api = Self { process, staff: Staff::at(format!("http://{addr}"), &key), _folder: folder };
        let until = Instant::now() + BUDGET;
        while api.send("GET", "/admin/v1/events?limit=1", None, &Value::Null).await.is_none_or(|a| a.0 != 200)
        {
            assert!(Instant::now() < until, "admin-api is not ready; the log: {}", api.process.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        api
    }

    /// Waits until a command is no longer pending; gives it.
    pub async fn settled(&self, command: &Value) -> Value {
        let path = format!("/admin/v1/commands/{}", command["command_id"].as_str().expect("a command"));
        let until = Instant::now() + BUDGET;
        loop {
            let now = self.get(&path).await;
            if now["status"] != "PENDING" {
                return now;
            }
            assert!(Instant::now() < until, "still pending: {now}; the log: {}", self.process.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Staff {
    /// Staff with every scope at `http://host:port`, whose tokens this key signs.
    pub fn at(base: String, key: &DevKey) -> Self {
        let token = key.issue_staff("ann", SCOPES, Duration::from_secs(3600)).expect("a token");
        Self { base, client: reqwest::Client::new(), token }
    }

    /// Status and body of an answer; `None` when there was none.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Option<(u16, Value)> {
        let answer = self.request(method, path, key, body).send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// A request to send from anywhere.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request =
            self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if body.is_null() { request } else { request.json(body) }
    }

    /// GET that is answered 200.
    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, None, &Value::Null).await.expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// A new draft, FIRST_COME, open for a day; its id.
    pub async fn draft(&self, stock: i64) -> i64 {
        self.drafted(json!({"type": "FIRST_COME", "stock": [{"option": "DEFAULT", "count": stock}]})).await
    }

    /// A new draft with these parts, open for a day; its id.
    pub async fn drafted(&self, parts: Value) -> i64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let at = |s: u64| {
            chrono::DateTime::from_timestamp(i64::try_from(s).expect("fits"), 0).expect("a time").to_rfc3339()
        };
        let mut body = json!({
            "title": "t", "internal_test": true,
            "starts_at": at(now.as_secs() - 60), "ends_at": at(now.as_secs() + 86_400),
        });
        if let (Some(body), Value::Object(parts)) = (body.as_object_mut(), parts) {
            body.extend(parts);
        }
        let (status, event) = self.send("POST", "/admin/v1/events", None, &body).await.expect("an answer");
        assert_eq!(status, 201, "{event}");
        event["event_id"].as_i64().expect("an id")
    }
}
