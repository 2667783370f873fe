//! Browsers of other origins, named one by one.

use std::collections::HashSet;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::Response;
use crate::config::ConfigError;

const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Idempotency-Key, X-Entry-Receipt, X-Request-Id, Last-Event-ID",
);
const EXPOSE_HEADERS: HeaderValue = HeaderValue::from_static("Location, Retry-After, X-Request-Id");
const SETTING: &str = "CORS_ALLOWED_ORIGINS";

/// The origins that may call from a browser. Empty: the listener knows no CORS.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    origins: HashSet<HeaderValue>,
}

impl Cors {
    /// Checks the list: each is `scheme://host[:port]`, exactly as browsers send it.
    pub fn new(origins: &[String]) -> Result<Self, ConfigError> {
        let origins = origins.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        Ok(Self { origins: origins.map(origin).collect::<Result<_, _>>()? })
    }

    /// The request's origin, if it is one of ours.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.origins.is_empty() {
            return None;
        }
        headers.get(header::ORIGIN).filter(|origin| self.origins.contains(*origin)).cloned()
    }

    pub(super) fn is_preflight(&self, method: &Method, headers: &HeaderMap) -> bool {
        method == Method::OPTIONS
            && !self.origins.is_empty()
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The answer to a preflight; what is allowed is said only to an allowed origin.
    pub(super) fn preflight(&self, allowed: Option<&HeaderValue>, methods: &HeaderValue) -> Response {
        let mut response = Response::empty(StatusCode::NO_CONTENT);
        if allowed.is_some() {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
        response
    }

    /// Marks an answer for the origin. `Vary` stands on every answer, so that no cache mixes origins up.
    pub(super) fn mark(&self, allowed: Option<HeaderValue>, headers: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
        }
    }
}

fn origin(text: &str) -> Result<HeaderValue, ConfigError> {
    let wrong = || ConfigError::new(SETTING, format!("{text:?} is no origin like https://shop.example"));
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let exact = url.origin().ascii_serialization();
    if !matches!(url.scheme(), "http" | "https") || exact != text.trim_end_matches('/') {
        return Err(wrong());
    }
    HeaderValue::from_str(&exact).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_checked_when_they_are_read() {
        let cors = |text: &str| Cors::new(&[text.to_owned()]);
        assert!(cors("https://shop.example").is_ok() && cors("http://localhost:3000").is_ok());
        for bad in
            ["*", "null", "shop.example", "https://shop.example/path", "ftp://x", "https://u@shop.example"]
        {
            assert_eq!(cors(bad).unwrap_err().setting, SETTING, "{bad}");
        }
        assert!(cors("").is_ok_and(|c| c.origins.is_empty()));
    }
}
