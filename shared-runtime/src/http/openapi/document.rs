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

#[cfg(test)]
mod tests {
    use super::super::{id, text};
    use super::*;

    fn document(routes: Vec<(Method, &str, Operation)>) -> Value {
        let mut document = Document::default();
        for (method, pattern, operation) in routes {
            document.add(&method, pattern, operation);
        }
        document.finish(&About { title: "t", version: "1", description: "d" })
    }

    fn thing(id_: &'static str) -> Operation {
        Operation::new(id_, "s").path("id", "Thing", id(), 7).empty(204, "Done")
    }

    #[test]
    fn every_route_answers_what_all_do() {
        let staff = thing("put").staff(&["things:write"]).problem(429, "BUSY", "later");
        let whole =
            document(vec![(Method::GET, "/things/{id}", thing("get")), (Method::PUT, "/things/{id}", staff)]);
        let codes = |method: &str, status: &str| {
            let pointer = format!(
                "/paths/~1things~1{{id}}/{method}/responses/{status}/content/application~1problem+json/schema/properties/code/enum"
            );
            whole.pointer(&pointer).cloned().unwrap_or_default()
        };
        assert_eq!(codes("get", "500"), json!(["INTERNAL"]));
        assert_eq!(codes("get", "503"), json!(["UNAVAILABLE"]));
        assert_eq!(codes("put", "503"), json!(["OUTCOME_UNKNOWN", "UNAVAILABLE"]));
        assert_eq!(codes("put", "403"), json!(["FORBIDDEN"]));
        assert_eq!(codes("get", "403"), Value::Null);
        let put = &whole["paths"]["/things/{id}"]["put"];
        assert_eq!(put["security"], json!([{"staff": ["things:write"]}]));
        assert!(put["responses"]["429"]["headers"]["Retry-After"].is_object());
        assert!(put["responses"]["401"]["headers"]["WWW-Authenticate"].is_object());
        assert_eq!(
            whole["components"]["securitySchemes"].as_object().map(Map::len),
            Some(1),
            "only what is used"
        );
    }

    #[test]
    #[should_panic(expected = "the parts of the path")]
    fn a_part_of_the_path_must_be_described() {
        document(vec![(Method::GET, "/things/{id}", Operation::new("get", "s").empty(204, "Done"))]);
    }

    #[test]
    #[should_panic(expected = "stands twice")]
    fn an_id_stands_once() {
        document(vec![(Method::GET, "/a/{id}", thing("get")), (Method::GET, "/b/{id}", thing("get"))]);
    }

    #[test]
    #[should_panic(expected = "a good answer")]
    fn something_good_is_answered() {
        let bad = Operation::new("get", "s").query("q", "Any", text()).problem(404, "NO", "never there");
        document(vec![(Method::GET, "/a", bad)]);
    }
}
