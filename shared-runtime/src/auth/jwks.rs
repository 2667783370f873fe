//! Where the key set comes from, and when it is read again.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::{Host, Url};

use crate::config::{ConfigError, StartError};

const SETTING: &str = "AUTH_JWKS";
const TIMEOUT: Duration = Duration::from_secs(3);
/// A set of a few hundred keys; more is not a key set.
const MAX_BYTES: usize = 1 << 20;
/// An unknown key id makes us look at most this often, whoever sends how many.
const MIN_INTERVAL: Duration = Duration::from_secs(10);
pub(super) const REFRESH: Duration = Duration::from_secs(300);

/// A file or an address.
pub(super) struct Source {
    place: Place,
    last: Mutex<Option<Instant>>,
    min_interval: Duration,
}

enum Place {
    File(PathBuf),
    Web(reqwest::Client, Url),
}

impl Source {
    /// Reads `AUTH_JWKS`: a path, an https address, or http on loopback. Errors: anything else.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let place = if text.contains("://") { web(text)? } else { Place::File(PathBuf::from(text)) };
        Ok(Self { place, last: Mutex::const_new(None), min_interval: MIN_INTERVAL })
    }

    #[cfg(test)]
    pub(super) fn with_min_interval(mut self, interval: Duration) -> Self {
        self.min_interval = interval;
        self
    }

    /// Reads the set. Errors: a missing file is a wrong setting, a silent server an unreachable dependency.
    pub(super) async fn load(&self) -> Result<Bytes, StartError> {
        match &self.place {
            Place::File(path) => tokio::fs::read(path)
                .await
                .map(Bytes::from)
                .map_err(|error| ConfigError::new(SETTING, format!("{}: {error}", path.display())).into()),
            Place::Web(client, url) => {
                fetch(client, url).await.map_err(|problem| StartError::unreachable(SETTING, problem))
            }
        }
    }

    /// Reads the set, unless that was done just now, and gives it to `take`. Whoever asks meanwhile waits, and then finds
    /// what was taken.
    pub(super) async fn load_if_due(&self, take: impl FnOnce(Result<Bytes, StartError>)) {
        let mut last = self.last.lock().await;
        if last.is_none_or(|last| last.elapsed() >= self.min_interval) {
            *last = Some(Instant::now());
            take(self.load().await);
        }
    }
}

fn web(text: &str) -> Result<Place, ConfigError> {
    let wrong = |problem: &str| ConfigError::new(SETTING, format!("{text:?}: {problem}"));
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return Err(wrong("must be a file or an https address (http on loopback only)")),
    }
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        // The keys come from the configured place, not from where it points.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| wrong(&error.to_string()))?;
    Ok(Place::Web(client, url))
}

async fn fetch(client: &reqwest::Client, url: &Url) -> Result<Bytes, String> {
    let words = |error: reqwest::Error| format!("{:#}", anyhow::Error::from(error));
    let mut response = client.get(url.clone()).send().await.map_err(words)?;
    if response.status() != http::StatusCode::OK {
        return Err(format!("{url} answered {}", response.status()));
    }
    let mut all = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(words)? {
        if all.len() + chunk.len() > MAX_BYTES {
            return Err(format!("{url} has more than {MAX_BYTES} bytes"));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.into())
}
