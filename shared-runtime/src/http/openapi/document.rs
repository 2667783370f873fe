//! All operations of a listener as one OpenAPI 3.1 document.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Map, Value, json};

use super::operation::Schemas;
use super::{About, Operation};

const COMMON: &str = "\
Times are RFC 3339 in UTC, amounts integers, fields snake_case. An unknown field or query parameter is refused, so that a \
typo is not silently dropped.\n\n\
Errors are `application/problem+json` (RFC 9457) with a stable `code`; a 422 lists `errors`, each with a `pointer`: a JSON \
pointer into the body, `header:NAME` or `query:NAME`. An id of the wrong form is that resource's 404. An unknown path is 404 \
`NOT_FOUND`; a known path with another method is 405 `METHOD_NOT_ALLOWED` with `Allow`; HEAD is answered where GET is. 429 and \
503 carry `Retry-After`. Every answer carries `X-Request-Id`, yours or a new one.\n\n\
Lists: `limit` (1 to 200, default 50) and `cursor`; the answer's `next_cursor` is null on the last page.";

/// A document under construction.
#[derive(Debug, Default)]
pub(in super::super) struct Document {
    paths: Map<String, Value>,
    schemas: Schemas,
    ids: BTreeSet<&'static str>,
}

impl Document {
    /// Adds a route.
    ///
    /// # Panics
    /// When it contradicts the pattern or another operation: a mistake in the program, seen at its first start.
    pub(in super::super) fn add(&mut self, method: &Method, pattern: &str, operation: Operation) {
        let finished = operation.finish(method, pattern);
        assert!(self.ids.insert(finished.id), "operation {} stands twice", finished.id);
        for (name, schema) in finished.schemas {
            let known = self.schemas.entry(name).or_insert_with(|| schema.clone());
            assert_eq!(*known, schema, "operation {}: two schemas of one name", finished.id);
        }
        let path = self.paths.entry(pattern).or_insert_with(|| json!({}));
        path[method.as_str().to_ascii_lowercase()] = finished.value;
    }

    /// The whole.
    pub(in super::super) fn finish(self, about: &About) -> Value {
        let used: BTreeSet<&String> = (self.paths.values())
            .flat_map(|path| path.as_object().into_iter().flat_map(Map::values))
            .flat_map(|operation| operation["security"].as_array().into_iter().flatten())
            .flat_map(|requirement| requirement.as_object().into_iter().flat_map(Map::keys))
            .collect();
        let mut schemes = security_schemes();
        schemes.retain(|name, _| used.contains(name));
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": about.title,
                "version": about.version,
                "description": format!("{}\n\n{COMMON}", about.description),
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            // Relative: the listener that the document came from.
            "servers": [{"url": "/"}],
            "paths": self.paths,
            "components": {
                "schemas": self.schemas,
                "headers": headers(),
                "securitySchemes": schemes,
            },
        })
    }
}

fn headers() -> Value {
    let text = json!({"type": "string", "minLength": 1, "maxLength": 128});
    json!({
        "X-Request-Id": {"description": "The request's id, or a new one", "required": true, "schema": text},
        "Retry-After": {
            "description": "Whole seconds until asking again makes sense", "required": true,
            "schema": {"type": "integer", "minimum": 1},
        },
        "WWW-Authenticate": {"description": "`Bearer`", "required": true, "schema": {"type": "string"}},
    })
}

fn security_schemes() -> Map<String, Value> {
    let bearer = |about: &str| json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": about});
    let receipt = |place: &str, name: &str| {
        let about = "The `receipt` of the entry's 202; exact from the first moment";
        json!({"type": "apiKey", "in": place, "name": name, "description": about})
    };
    let schemes = [
        ("member", bearer("A member's token: `sub` is the member id")),
        (
            "staff",
            bearer(
                "A staff token: `sub` is the name for the audit log, `scope` lists scopes separated by spaces",
            ),
        ),
        ("receipt", receipt("header", "X-Entry-Receipt")),
        // EventSource of browsers sets no headers.
        ("receipt_in_query", receipt("query", "receipt")),
    ];
    schemes.into_iter().map(|(name, scheme)| (name.to_owned(), scheme)).collect()
}
