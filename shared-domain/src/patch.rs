//! Changes to an event that staff wrote: JSON merge patches (RFC 7396).

use serde_json::{Map, Value};

use crate::{EventDefinition, EventDraft, Violation, check_draft, check_text};

/// What may change once an event is in the log: text that decides nothing.
const TEXT: [&str; 2] = ["title", "content"];

/// The draft with a patch, checked as a new one is. Errors: all violations.
pub fn patch_draft(
    draft: &EventDraft,
    patch: &Map<String, Value>,
) -> Result<(EventDraft, EventDefinition), Vec<Violation>> {
    let mut merged =
        serde_json::to_value(draft).map_err(|error| vec![Violation::new("", error.to_string())])?;
    merge(&mut merged, patch);
    let draft: EventDraft =
        serde_path_to_error::deserialize(merged).map_err(|error| vec![Violation::of_misfit(&error)])?;
    let definition = check_draft(&draft)?;
    Ok((draft, definition))
}

/// Whether a patch touches text alone.
pub fn patches_text_only(patch: &Map<String, Value>) -> bool {
    patch.keys().all(|field| TEXT.contains(&field.as_str()))
}

/// Title and content with a patch. Errors: all violations.
pub fn patch_text(
    title: &str,
    content: &str,
    patch: &Map<String, Value>,
) -> Result<(String, String), Vec<Violation>> {
    let mut wrong = Vec::new();
    let mut text = |field: &str, old: &str, default: Option<&str>| match (patch.get(field), default) {
        (None, _) => old.to_owned(),
        (Some(Value::String(text)), _) => text.clone(),
        (Some(Value::Null), Some(default)) => default.to_owned(),
        (Some(_), _) => {
            wrong.push(Violation::new(format!("/{field}"), "must be a string"));
            old.to_owned()
        }
    };
    let (title, content) = (text("title", title, None), text("content", content, Some("")));
    wrong.extend(check_text(&title, &content));
    if wrong.is_empty() { Ok((title.trim().to_owned(), content)) } else { Err(wrong) }
}

/// RFC 7396, section 2: null removes, objects merge, anything else replaces.
fn merge(target: &mut Value, patch: &Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.remove(name)),
            Value::Object(inner) => merge(target.entry(name.clone()).or_insert(Value::Null), inner),
            value => drop(target.insert(name.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merges_as_the_rfc_shows() {
        for (mut target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let Value::Object(patch) = patch else { unreachable!() };
            merge(&mut target, &patch);
            assert_eq!(target, expected);
        }
    }

    #[test]
    fn a_patch_keeps_the_rules_and_names_places() {
        let draft: EventDraft = serde_json::from_value(json!({
            "title": "t", "type": "FIRST_COME", "internal_test": true,
            "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z",
            "stock": [{"option": "A", "count": 2}],
        }))
        .expect("well-formed");
        let patched = |patch: Value| {
            let Value::Object(patch) = patch else { unreachable!() };
            patch_draft(&draft, &patch)
                .map(|(draft, _)| draft)
                .map_err(|wrong| wrong.into_iter().map(|v| v.pointer).collect::<Vec<_>>())
        };
        let more = patched(json!({"stock": [{"option": "A", "count": 9}], "content": "c"})).expect("good");
        assert_eq!((more.stock[0].count, &*more.content, &*more.title), (9, "c", "t"));
        for (patch, pointers) in [
            (json!({"title": "", "stock": []}), vec!["/title", "/stock"]),
            (json!({"title": null}), vec!["/title"]),
            (json!({"nmae": 1}), vec!["/nmae"]),
            (json!({"stock": [{"count": "x"}]}), vec!["/stock/0/count"]),
            (json!({"internal_test": false}), vec!["/compliance"]),
        ] {
            assert_eq!(patched(patch.clone()).expect_err("bad"), pointers, "{patch}");
        }
    }

    #[test]
    fn text_alone() {
        let of = |patch: Value| match patch {
            Value::Object(patch) => patch,
            _ => unreachable!(),
        };
        assert!(patches_text_only(&of(json!({"title": "x", "content": ""}))));
        assert!(!patches_text_only(&of(json!({"title": "x", "ends_at": ""}))));
        let new = patch_text("old", "c", &of(json!({"title": " new "})));
        assert_eq!(new, Ok(("new".to_owned(), "c".to_owned())));
        let wrong = patch_text("old", "c", &of(json!({"title": null, "content": 5}))).expect_err("bad");
        assert_eq!(wrong.iter().map(|v| &*v.pointer).collect::<Vec<_>>(), ["/title", "/content"]);
        assert_eq!(
            patch_text("old", "c", &of(json!({"title": " "}))).expect_err("blank")[0].pointer,
            "/title"
        );
    }
}
