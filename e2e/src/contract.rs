//! Answers held against the OpenAPI document of the listener that gave them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::http::{Answer, request, send};

/// A listener's document.
pub struct Contract {
    document: Value,
    /// Compiled once for each operation, status and media type.
    validators: Mutex<HashMap<String, Validator>>,
}

impl Contract {
    /// From the document.
    pub fn new(document: Value) -> Self {
        assert_eq!(document["openapi"], "3.1.0", "{document}");
        Self { document, validators: Mutex::default() }
    }

    /// As the listener serves it.
    pub async fn of(addr: SocketAddr) -> Self {
        let answer = send(addr, &request("GET", "/openapi.json", "", b"")).await;
        assert!(answer.status == 200, "{answer:?}");
        Self::new(answer.json())
    }

    /// Path template, method in lower case and operation, for each operation.
    pub fn operations(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        let paths = self.document["paths"].as_object().into_iter().flatten();
        paths.flat_map(|(path, item)| {
            let operations = item.as_object().into_iter().flatten();
            operations.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
    }

    /// What an answer has that the document does not tell of, or lacks. `path` may have a query.
    pub fn faults(&self, method: &str, path: &str, answer: &Answer) -> Vec<String> {
        let path = path.split('?').next().unwrap_or_default();
        let Some((template, item)) = self.path(path) else {
            return same("an unknown path", (answer.status, &answer.text("code")), (404, "NOT_FOUND"));
        };
        let head = method == "HEAD";
        // Methods are case-sensitive: "get" is none.
        let known = |(name, _): &(&String, &Value)| name.to_uppercase() == if head { "GET" } else { method };
        let Some((_, operation)) = item.iter().find(known) else {
            let wanted = (405, "METHOD_NOT_ALLOWED");
            return same("an unknown method", (answer.status, &answer.text("code")), wanted);
        };
        let status = answer.status.to_string();
        let Some(response) = operation["responses"].get(&status) else {
            return vec![format!("{method} {template}: status {status} is not documented")];
        };
        let mut faults = self.missing_headers(response, answer);
        let media_type = header(answer, "content-type").map(essence);
        let contents = response["content"].as_object();
        match (media_type, contents) {
            (None, None) => {}
            (Some(media_type), Some(contents)) => match contents.get(&media_type) {
                None => faults.push(format!("media type {media_type} is not documented")),
                Some(content) if media_type.ends_with("json") && !head => {
                    let key = format!("{method} {template} {status} {media_type}");
                    faults.extend(self.misfits(key, &content["schema"], &answer.json()));
                }
                Some(_) => {}
            },
            (found, _) => faults.push(format!("media type {found:?}; documented: {contents:?}")),
        }
        faults.into_iter().map(|fault| format!("{method} {template} {status}: {fault}")).collect()
    }

    /// A problem for each example that does not fit its schema.
    pub fn wrong_examples(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (path, method, operation) in self.operations() {
            let responses = operation["responses"].as_object().into_iter().flatten();
            let bodies = responses.map(|(status, response)| (status.as_str(), response));
            for (place, body) in bodies.chain([("request", &operation["requestBody"])]) {
                for (media_type, content) in body["content"].as_object().into_iter().flatten() {
                    let examples: Vec<&Value> =
                        content["examples"].as_object().into_iter().flat_map(Map::values).collect();
                    if examples.is_empty() {
                        wrong.push(format!("{method} {path} {place} {media_type}: has no example"));
                    }
                    for example in examples {
                        let key = format!("{method} {path} {place} {media_type}");
                        wrong.extend(self.misfits(key, &content["schema"], &example["value"]));
                    }
                }
            }
        }
        wrong
    }

    /// The template that a path fits; one without variable parts goes first.
    fn path(&self, path: &str) -> Option<(&str, &Map<String, Value>)> {
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |template: &str| {
            let wanted: Vec<&str> = template.split('/').collect();
            let part =
                |(want, have): (&&str, &&str)| want == have || (want.starts_with('{') && !have.is_empty());
            wanted.len() == parts.len() && wanted.iter().zip(&parts).all(part)
        };
        let mut found: Vec<_> =
            self.document["paths"].as_object()?.iter().filter(|(template, _)| fits(template)).collect();
        found.sort_by_key(|(template, _)| template.matches('{').count());
        found.first().and_then(|(template, item)| Some((template.as_str(), item.as_object()?)))
    }

    fn missing_headers(&self, response: &Value, answer: &Answer) -> Vec<String> {
        let headers = response["headers"].as_object().into_iter().flatten();
        let required = headers.filter(|(_, described)| {
            let described = match described["$ref"].as_str() {
                Some(reference) => self.document.pointer(&reference[1..]).expect("a header"),
                None => described,
            };
            described["required"] == true
        });
        required
            .filter(|(name, _)| header(answer, &name.to_lowercase()).is_none())
            .map(|(name, _)| format!("has no {name}"))
            .collect()
    }

    fn misfits(&self, key: String, schema: &Value, value: &Value) -> Vec<String> {
        let mut validators = self.validators.lock().expect("not poisoned");
        let validator = validators.entry(key.clone()).or_insert_with(|| {
            // References are into the document's components.
            let root = json!({"allOf": [schema], "components": self.document["components"]});
            jsonschema::options().build(&root).unwrap_or_else(|error| panic!("{key}: {error}"))
        });
        let misfit =
            |error: jsonschema::ValidationError<'_>| format!("{key}: {}: {error}", error.instance_path());
        validator.iter_errors(value).map(misfit).collect()
    }
}

/// A listener's document tells of every route and of nothing else, its examples fit, and its page needs no other host.
pub async fn agrees_with_routes(addr: SocketAddr) {
    let contract = Contract::of(addr).await;
    let wrong = contract.wrong_examples();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let mut methods: HashMap<&str, Vec<String>> = HashMap::new();
    for (path, method, operation) in contract.operations() {
        methods.entry(path).or_default().push(method.to_uppercase());
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        assert!(operation["responses"]["500"].is_object(), "{method} {path}");
    }
    for (path, mut documented) in methods {
        // The router says what it takes.
        let answer = send(addr, &request("PURGE", path, "", b"")).await;
        answer.is(405, "METHOD_NOT_ALLOWED");
        let mut taken: Vec<_> =
            header(&answer, "allow").expect("Allow").to_uppercase().split(", ").map(str::to_owned).collect();
        if documented.iter().any(|method| method == "GET") {
            documented.push("HEAD".to_owned());
        }
        documented.sort();
        taken.sort();
        assert_eq!(documented, taken, "{path}");
    }

    let page = send(addr, &request("GET", "/docs", "", b"")).await;
    let policy = header(&page, "content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("http"), "{policy}");
    let parts: Vec<&str> = ["href=\"", "src=\""]
        .iter()
        .flat_map(|attribute| page.body.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next().filter(|part| !part.starts_with("data:")))
        .collect();
    assert_eq!(parts.len(), 3, "{page:?}");
    for part in parts {
        let file = send(addr, &request("GET", &format!("/{part}"), "", b"")).await;
        assert_eq!(
            (file.status, contract.faults("GET", &format!("/{part}"), &file)),
            (200, vec![]),
            "{part}"
        );
    }
    send(addr, &request("GET", "/docs/..%2fx", "", b"")).await.is(404, "NOT_FOUND");
}

fn same(what: &str, found: (u16, &str), wanted: (u16, &str)) -> Vec<String> {
    if found == wanted { vec![] } else { vec![format!("{what} is answered {found:?}")] }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The media type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_documented_is_a_fault() {
        let problem = |codes: Value| json!({"schema": {"$ref": "#/components/schemas/Problem", "properties": {"code": {"enum": codes}}}});
        let contract = Contract::new(json!({
            "openapi": "3.1.0",
            "paths": {"/things/{id}": {"get": {"responses": {
                "200": {
                    "headers": {"ETag": {"required": true}},
                    "content": {"application/json": {"schema": {"required": ["id"]}}},
                },
                "404": {"content": {"application/problem+json": problem(json!(["NO_THING"]))}},
            }}}},
            "components": {"schemas": {"Problem": {"required": ["code"]}}},
        }));
        let faults = |method: &str, path: &str, status: u16, head: &str, body: &str| {
            let answer = Answer { status, head: format!("http/1.1 x\r\n{head}"), body: body.to_owned() };
            contract.faults(method, path, &answer).len()
        };
        let (json, tagged) =
            ("content-type: application/json", "content-type: application/json\r\netag: \"1\"");
        let problem = "content-type: application/problem+json";
        assert_eq!(faults("GET", "/things/1?x=y", 200, tagged, r#"{"id":1}"#), 0);
        assert_eq!(faults("HEAD", "/things/1", 200, tagged, ""), 0);
        assert_eq!(faults("GET", "/things/1", 404, problem, r#"{"code":"NO_THING"}"#), 0);
        assert_eq!(faults("POST", "/things/1", 405, problem, r#"{"code":"METHOD_NOT_ALLOWED"}"#), 0);
        assert_eq!(faults("GET", "/other", 404, problem, r#"{"code":"NOT_FOUND"}"#), 0);
        for (what, method, path, status, head, body) in [
            ("status", "GET", "/things/1", 201, tagged, r#"{"id":1}"#),
            ("header", "GET", "/things/1", 200, json, r#"{"id":1}"#),
            ("schema", "GET", "/things/1", 200, tagged, "{}"),
            ("code", "GET", "/things/1", 404, problem, r#"{"code":"OTHER"}"#),
            ("media type", "GET", "/things/1", 404, json, r#"{"code":"NO_THING"}"#),
            ("no body", "GET", "/things/1", 404, "", ""),
            ("method", "POST", "/things/1", 200, tagged, r#"{"id":1}"#),
            ("path", "GET", "/other", 200, tagged, r#"{"id":1}"#),
        ] {
            assert_eq!(faults(method, path, status, head, body), 1, "{what}");
        }
    }
}
