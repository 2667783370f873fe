//! JSON bodies: does not parse (400), or parses and does not fit (422 with a pointer).

use http::{HeaderMap, header};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_json::error::Category;
use shared_domain::{Violation, misfit_text};

use super::Problem;

/// Whether the content type is `application/json`, in UTF-8 if it says so.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    essence.eq_ignore_ascii_case("application/json")
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
                charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

/// Parses a body, which must be an object. Errors: 400 `INVALID_JSON`, 422 `INVALID_REQUEST`.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // serde would take an array for a struct, field by field.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(match serde_json::from_slice::<IgnoredAny>(body) {
            Ok(_) => Problem::invalid("", "must be an object"),
            Err(syntax) => Problem::invalid_json(syntax.to_string()),
        });
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let error = match serde_path_to_error::deserialize(&mut reader) {
        Ok(value) => match reader.end() {
            Ok(()) => return Ok(value),
            Err(error) => return Err(Problem::invalid_json(error.to_string())),
        },
        Err(error) => error,
    };
    let text = misfit_text(error.inner());
    if error.inner().classify() != Category::Data || text.starts_with("duplicate field") {
        return Err(Problem::invalid_json(error.inner().to_string()));
    }
    // The type was wrong at some place; whether the whole is JSON decides between 422 and 400.
    if let Err(syntax) = serde_json::from_slice::<IgnoredAny>(body) {
        return Err(Problem::invalid_json(syntax.to_string()));
    }
    Err(Problem::invalid_request(vec![Violation::of_misfit(&error)]))
}

/// A part of a body that was kept as JSON until it was known what it must be; an object. Errors: 422 with pointers under
/// `base`.
pub fn part_of_body<T: DeserializeOwned>(part: Value, base: &str) -> Result<T, Problem> {
    if !part.is_object() {
        return Err(Problem::invalid(base, "must be an object"));
    }
    serde_path_to_error::deserialize(part).map_err(|error| {
        let mut violation = Violation::of_misfit(&error);
        violation.pointer.insert_str(0, base);
        Problem::invalid_request(vec![violation])
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code)]
    struct Outer {
        list: Vec<Inner>,
        name: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code)]
    struct Inner {
        #[serde(rename = "a/b")]
        slash: i64,
    }

    fn outcome(body: &str) -> (u16, String) {
        let problem = parse::<Outer>(body.as_bytes()).unwrap_err();
        (problem.status().as_u16(), problem.errors().first().map_or_else(String::new, |e| e.pointer.clone()))
    }

    #[test]
    fn not_json_is_400_and_wrong_json_names_its_place() {
        for bad in [
            "",
            "{",
            "nope",
            r#"{"list":[]} x"#,
            r#"{"list":[],"list":[]}"#,
            r#"{"name":1,"list":[}"#,
            "\u{feff}{}",
        ] {
            assert_eq!(outcome(bad), (400, String::new()), "{bad}");
        }
        assert!(
            parse::<Outer>(b"{\"list\":[],\"name\":\"\xff\"}").is_err_and(|p| p.status().as_u16() == 400)
        );
        for (body, pointer) in [
            (r#"{"list":[{"a/b":1},{"a/b":"x"}]}"#, "/list/1/a~1b"),
            (r#"{"list":[],"name":5}"#, "/name"),
            (r#"{"list":[],"nmae":"x"}"#, "/nmae"),
            (r#"{"list":[{}]}"#, "/list/0/a~1b"),
            ("{}", "/list"),
            ("[1]", ""),
            ("17", ""),
        ] {
            assert_eq!(outcome(body), (422, pointer.to_owned()), "{body}");
        }
    }

    #[test]
    fn content_types() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            is_json(&headers)
        };
        assert!(
            with("application/json")
                && with("Application/JSON; charset=UTF-8")
                && with("application/json;charset=\"utf-8\"")
        );
        assert!(
            !with("text/plain") && !with("application/json; charset=latin1") && !with("application/jsonx")
        );
        assert!(!is_json(&HeaderMap::new()));
    }
}
