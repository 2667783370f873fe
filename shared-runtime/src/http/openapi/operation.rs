//! One route's part of the document: what it takes, what it answers, who may ask.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::super::page;
use super::super::problem::ProblemBody;
use super::{integer, text};

pub(super) type Schemas = BTreeMap<String, Value>;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const PROBLEM_JSON: &str = "application/problem+json";

/// What a route takes and answers. What every route answers (500, 503, the request id) is added by itself.
#[derive(Debug, Clone)]
pub struct Operation {
    id: &'static str,
    summary: &'static str,
    about: &'static str,
    tag: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Answer>,
    security: Vec<Value>,
    schemas: Schemas,
}

#[derive(Debug, Clone, Default)]
struct Answer {
    about: Vec<String>,
    headers: Map<String, Value>,
    /// By media type: its schema, and examples by name.
    contents: BTreeMap<String, (Value, Map<String, Value>)>,
    /// Codes, when they come, and an example of each.
    problems: BTreeMap<&'static str, (String, Value)>,
}

/// An operation ready for the document.
pub(super) struct Finished {
    pub(super) id: &'static str,
    pub(super) value: Value,
    pub(super) schemas: Schemas,
}

impl Operation {
    /// An operation with an id that generated clients may call it by (camelCase, unique), and one line about it.
    pub fn new(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            about: "",
            tag: "",
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            security: Vec::new(),
            schemas: Schemas::new(),
        }
    }

    /// What is to be known beyond the summary (Markdown).
    pub fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// The group it is shown in.
    pub fn tag(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    /// A part of the path, named as in the pattern.
    pub fn path(self, name: &str, about: &str, schema: Value, example: impl Into<Value>) -> Self {
        let example = example.into();
        self.parameter(json!({
            "name": name, "in": "path", "required": true, "description": about, "schema": schema, "example": example,
        }))
    }

    /// A query parameter, which may be left out.
    pub fn query(self, name: &str, about: &str, schema: Value) -> Self {
        self.parameter(json!({"name": name, "in": "query", "description": about, "schema": schema}))
    }

    /// A query parameter that is one of an enum's names.
    pub fn query_of<T: ToSchema>(mut self, name: &str, about: &str) -> Self {
        let schema = self.schema::<T>();
        self.query(name, about, schema)
    }

    /// A request header, which may be left out.
    pub fn header(self, name: &str, about: &str, schema: Value) -> Self {
        self.parameter(json!({"name": name, "in": "header", "description": about, "schema": schema}))
    }

    /// `?limit=` and `?cursor=` of a list.
    pub fn page(self) -> Self {
        let mut limit = integer(1, page::MAX.into());
        limit["default"] = page::DEFAULT.into();
        self.query("limit", "How many at most", limit)
            .query("cursor", "The `next_cursor` of the page before; nothing else", text())
            .violation("INVALID_REQUEST", "query:limit", "must be an integer from 1 to 200")
    }

    /// A JSON body, of at most so many bytes; `required`: an empty one is refused.
    pub fn body<T: ToSchema>(mut self, required: bool, limit: usize, example: Value) -> Self {
        let schema = self.schema::<T>();
        self.body_as(JSON, schema, required, limit, example)
    }

    /// A JSON body with a schema that no type has, e.g. a merge patch.
    pub fn body_as(
        mut self,
        media_type: &str,
        schema: Value,
        required: bool,
        limit: usize,
        example: Value,
    ) -> Self {
        self.body = Some(json!({
            "required": required,
            "description": format!("At most {limit} bytes, UTF-8. Unknown fields are refused."),
            "content": {media_type: {"schema": schema, "examples": {"example": {"value": example}}}},
        }));
        self.problem(400, "INVALID_JSON", "the body does not parse")
            .problem(400, "INCOMPLETE_BODY", "the body broke off")
            .problem(408, "REQUEST_TIMEOUT", "the body did not arrive in time")
            .problem(413, "BODY_TOO_LARGE", "the body has more bytes than the route takes")
            .problem(415, "UNSUPPORTED_MEDIA_TYPE", "send Content-Type: application/json (UTF-8)")
            .violation("INVALID_REQUEST", "/field", "unknown field, expected one of the schema's")
    }

    /// `Idempotency-Key`, and what comes of its misuse.
    pub fn idempotency_key(self, about: &str) -> Self {
        let schema = json!({
            "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[!-~]([ -~]*[!-~])?$",
        });
        self.header("Idempotency-Key", about, schema)
            .violation("INVALID_REQUEST", "header:Idempotency-Key", "must be 1 to 64 printable characters")
            .violation("IDEMPOTENCY_KEY_REUSED", "header:Idempotency-Key", "was used with another body")
    }

    /// A JSON answer of a type. An example with a `code` is named by it; an answer may be told more than once.
    pub fn answer<T: ToSchema>(mut self, status: u16, about: &str, example: Value) -> Self {
        let schema = self.schema::<T>();
        self.content(status, JSON, about, schema, example)
    }

    /// An answer of any media type.
    pub fn content(
        mut self,
        status: u16,
        media_type: &str,
        about: &str,
        schema: Value,
        example: Value,
    ) -> Self {
        let answer = self.answers.entry(status).or_default();
        answer.about.push(about.to_owned());
        let content = answer.contents.entry(media_type.to_owned()).or_insert((schema, Map::new()));
        let name = example["code"].as_str().unwrap_or("example").to_owned();
        content.1.insert(name, json!({"summary": about, "value": example}));
        self
    }

    /// Server-Sent Events of a name, with data of a type; the schema stands for one event. Told once for each name.
    pub fn event<T: ToSchema>(mut self, name: &str, about: &str, id: Option<&str>, data: Value) -> Self {
        let content_schema = self.schema::<T>();
        let answer = self.answers.entry(200).or_default();
        answer.about.push(format!("`{name}`: {about}"));
        let content = answer.contents.entry(EVENTS.to_owned()).or_insert((json!({"oneOf": []}), Map::new()));
        let data_schema =
            json!({"type": "string", "contentMediaType": JSON, "contentSchema": content_schema});
        let schema = json!({
            "type": "object",
            "required": ["event", "data"],
            "properties": {"event": {"const": name}, "id": {"type": "string"}, "data": data_schema},
        });
        if let Some(kinds) = content.0["oneOf"].as_array_mut() {
            kinds.push(schema);
        }
        let mut event = json!({"event": name, "data": data.to_string()});
        if let Some(id) = id {
            event["id"] = id.into();
        }
        content.1.insert(name.to_owned(), json!({"summary": about, "value": event}));
        self
    }

    /// An answer without a body.
    pub fn empty(mut self, status: u16, about: &str) -> Self {
        self.answers.entry(status).or_default().about.push(about.to_owned());
        self
    }

    /// A header of the answers with a status, which has to be described before; `always`: none of them lacks it.
    pub fn answer_header(
        mut self,
        status: u16,
        name: &str,
        about: &str,
        schema: Value,
        always: bool,
    ) -> Self {
        let header = json!({"description": about, "schema": schema, "required": always});
        self.answers.entry(status).or_default().headers.insert(name.to_owned(), header);
        self
    }

    /// `Location` of what was made.
    pub fn location(self, status: u16) -> Self {
        self.answer_header(
            status,
            "Location",
            "Where it can be read",
            json!({"type": "string", "format": "uri-reference"}),
            true,
        )
    }

    /// A problem with its code, and when it comes.
    pub fn problem(mut self, status: u16, code: &'static str, when: &str) -> Self {
        self.insert_problem(status, code, when, None);
        self
    }

    /// 422 with a code, a place (a pointer into the body, `header:NAME` or `query:NAME`) and what must hold there.
    pub fn violation(mut self, code: &'static str, pointer: &str, detail: &str) -> Self {
        self.insert_problem(422, code, detail, Some(pointer));
        self
    }

    fn insert_problem(&mut self, status: u16, code: &'static str, when: &str, pointer: Option<&str>) {
        let title = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error");
        let mut example = json!({"title": title, "status": status, "code": code, "detail": when});
        if let Some(pointer) = pointer {
            example["errors"] = json!([{"pointer": pointer, "detail": when}]);
        }
        let answer = self.answers.entry(status).or_default();
        // The first to name a code knows best when it comes.
        answer.problems.entry(code).or_insert_with(|| (when.to_owned(), example));
    }

    /// For members: their own token.
    pub fn member(mut self) -> Self {
        self.security.push(json!({"member": []}));
        self.unauthenticated()
    }

    /// For whoever holds an entry's receipt, in the header or, with `in_query`, also in the query.
    pub fn receipt(mut self, in_query: bool) -> Self {
        self.security.push(json!({"receipt": []}));
        if in_query {
            self.security.push(json!({"receipt_in_query": []}));
        }
        self.problem(401, "INVALID_RECEIPT", "the receipt is not one of this entry")
    }

    /// For staff with all of these scopes.
    pub fn staff(mut self, scopes: &[&str]) -> Self {
        self.security.push(json!({ "staff": scopes }));
        self.unauthenticated().problem(403, "FORBIDDEN", "a member's token, or one without the scope")
    }

    /// For members, and for whoever has all of these scopes.
    pub fn caller(mut self, scopes: &[&str]) -> Self {
        self.security.push(json!({"member": []}));
        self.security.push(json!({ "staff": scopes }));
        self.unauthenticated()
    }

    fn unauthenticated(self) -> Self {
        self.problem(401, "UNAUTHENTICATED", "no token, or one that is not good here")
    }

    fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// A reference to a type's schema, which is kept with all that it needs.
    fn schema<T: ToSchema>(&mut self) -> Value {
        let (name, mut found) = (T::name(), Vec::new());
        T::schemas(&mut found);
        found.push((name.clone().into_owned(), T::schema()));
        for (name, schema) in found {
            // Schemas always serialise: strings, numbers and maps under string keys.
            self.schemas.insert(name, serde_json::to_value(schema).unwrap_or_default());
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// With what every route answers.
    ///
    /// # Panics
    /// When the parts of the path are not those of the pattern, or nothing good is answered: a mistake in the program.
    pub(super) fn finish(mut self, method: &Method, pattern: &str) -> Finished {
        let named = |p: &Value| {
            let name = p["name"].as_str().filter(|_| p["in"] == "path")?;
            Some(format!("{{{name}}}"))
        };
        let parts: Vec<&str> = pattern.split('/').filter(|part| part.starts_with('{')).collect();
        let described: Vec<String> = self.parameters.iter().filter_map(named).collect();
        assert_eq!(parts, described, "{method} {pattern}: the parts of the path");
        assert!(self.answers.range(..400).next().is_some(), "{method} {pattern}: a good answer");

        self = self
            .header("X-Request-Id", "1 to 128 visible characters; otherwise one is made", text())
            .violation("INVALID_REQUEST", "query:NAME", "unknown parameter")
            .problem(500, "INTERNAL", "an error on our side; it has been logged under the request id")
            .problem(
                503,
                "UNAVAILABLE",
                "starting, shedding load, or a dependency does not answer; nothing was written",
            );
        if !method.is_safe() {
            self = self.problem(
                503,
                "OUTCOME_UNKNOWN",
                "no answer in time; ask again the same way, it counts once",
            );
        }
        let problem = self.schema::<ProblemBody<'_>>();
        let answers: Map<String, Value> = std::mem::take(&mut self.answers)
            .into_iter()
            .map(|(status, answer)| (status.to_string(), answer.finish(status, &problem)))
            .collect();
        let mut value = json!({
            "operationId": self.id,
            "summary": self.summary,
            "tags": [self.tag],
            "parameters": self.parameters,
            "responses": answers,
            "security": self.security,
        });
        if !self.about.is_empty() {
            value["description"] = self.about.into();
        }
        if let Some(body) = self.body {
            value["requestBody"] = body;
        }
        Finished { id: self.id, value, schemas: self.schemas }
    }
}

impl Answer {
    fn finish(mut self, status: u16, problem: &Value) -> Value {
        let header = |name: &str| json!({"$ref": format!("#/components/headers/{name}")});
        self.headers.insert("X-Request-Id".to_owned(), header("X-Request-Id"));
        match status {
            401 => drop(self.headers.insert("WWW-Authenticate".to_owned(), header("WWW-Authenticate"))),
            429 | 503 => drop(self.headers.insert("Retry-After".to_owned(), header("Retry-After"))),
            _ => {}
        }
        let mut contents: Map<String, Value> = self
            .contents
            .into_iter()
            .map(|(media_type, (schema, examples))| {
                (media_type, json!({"schema": schema, "examples": examples}))
            })
            .collect();
        if !self.problems.is_empty() {
            let codes: Vec<&str> = self.problems.keys().copied().collect();
            let examples: Map<String, Value> = self
                .problems
                .iter()
                .map(|(code, (when, example))| {
                    ((*code).to_owned(), json!({"summary": when, "value": example}))
                })
                .collect();
            // Beside the reference, not in an `allOf`: generated clients have one type for all problems.
            let mut schema = problem.clone();
            schema["properties"] = json!({
                "status": {"type": "integer", "const": status}, "code": {"type": "string", "enum": codes},
            });
            contents.insert(PROBLEM_JSON.to_owned(), json!({"schema": schema, "examples": examples}));
        }
        let problems = self.problems.iter().map(|(code, (when, _))| format!("`{code}`: {when}"));
        let about: Vec<String> = self.about.into_iter().chain(problems).collect();
        let mut value = json!({"description": about.join(" · "), "headers": self.headers});
        if !contents.is_empty() {
            value["content"] = contents.into();
        }
        value
    }
}
