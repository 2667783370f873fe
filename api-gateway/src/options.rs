//! What a request to enter asks for: options by name, and its key.

use http::HeaderMap;
use shared_domain::{EventDefinition, Violation};
use shared_runtime::http::Problem;

const KEY: &str = "idempotency-key";
const KEY_MAX: usize = 64;

/// The indexes of the options named, in order. Errors: 422 `OPTION_REQUIRED`, `UNKNOWN_OPTION`, or a repeat.
pub(crate) fn choose(names: &[String], definition: &EventDefinition) -> Result<Vec<u32>, Problem> {
    if names.is_empty() {
        return match definition.options.len() {
            0 => Ok(Vec::new()),
            1 => Ok(vec![0]),
            _ => Err(Problem::unprocessable("OPTION_REQUIRED", "name an option")
                .with_errors(vec![Violation::new("/options", "name at least one option of the event")])),
        };
    }
    let mut chosen = Vec::with_capacity(names.len().min(definition.options.len()));
    for (place, name) in names.iter().enumerate() {
        let pointer = || format!("/options/{place}");
        let Some(index) = definition.option_index(name) else {
            return Err(Problem::unprocessable("UNKNOWN_OPTION", "the event has no such option")
                .with_errors(vec![Violation::new(pointer(), "the event has no such option")]));
        };
        let index = u32::from(index);
        if chosen.contains(&index) {
            return Err(Problem::invalid(pointer(), "is named twice"));
        }
        chosen.push(index);
    }
    Ok(chosen)
}

/// The Idempotency-Key. Errors: 422 for one that is malformed, or missing where it is `required`.
pub(crate) fn key(headers: &HeaderMap, required: bool) -> Result<Option<&str>, Problem> {
    let violation = |detail: &str| vec![Violation::new("header:Idempotency-Key", detail)];
    let Some(value) = headers.get(KEY) else {
        return if required {
            Err(Problem::unprocessable(
                "IDEMPOTENCY_KEY_REQUIRED",
                "the event takes several entries a member",
            )
            .with_errors(violation("is required by this event")))
        } else {
            Ok(None)
        };
    };
    value
        .to_str()
        .ok()
        .filter(|key| (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|b| (b' '..=b'~').contains(&b)))
        .map(Some)
        .ok_or_else(|| Problem::invalid_request(violation("must be 1 to 64 printable ASCII characters")))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use shared_domain::{ContactCollection, EventPeriod, EventType, OptionName, Reward, Rules, WrappedKeys};

    use super::*;

    fn definition(options: &[&str]) -> EventDefinition {
        EventDefinition {
            rules: Rules::NEWEST,
            event_type: EventType::General,
            title: String::new(),
            content: String::new(),
            period: EventPeriod::new(0, 1).unwrap(),
            time_zone: "UTC".to_owned(),
            approval: None,
            internal_test: true,
            max_winners: None,
            target_condition: String::new(),
            duplicates_allowed: false,
            max_entries_per_member: None,
            options: options.iter().map(|name| (OptionName::new(*name).unwrap(), 1)).collect(),
            reward: Reward::Fixed(1),
            missions: Vec::new(),
            contact_collection: ContactCollection::None,
            claim_until: 1,
            topic: String::new(),
            lanes: vec![0],
            salt: vec![0; 32],
            draw: None,
            draw_commitment: None,
            wrapped_keys: WrappedKeys::default(),
            contact_key: None,
        }
    }

    #[test]
    fn options_become_indexes() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let none: &[u32] = &[];
        for (options, asked, indexes) in [
            (&[][..], &[][..], none),
            (&["DEFAULT"], &[], &[0]),
            (&["DEFAULT"], &["DEFAULT"], &[0]),
            (&["A", "B"], &["B", "A"], &[1, 0]),
        ] {
            assert_eq!(choose(&names(asked), &definition(options)).unwrap(), indexes, "{asked:?}");
        }
        for (options, asked, code, pointer) in [
            (&["A", "B"][..], &[][..], "OPTION_REQUIRED", "/options"),
            (&["A", "B"], &["A", "C"], "UNKNOWN_OPTION", "/options/1"),
            (&[], &["A"], "UNKNOWN_OPTION", "/options/0"),
            (&["A", "B"], &["A", "A"], "INVALID_REQUEST", "/options/1"),
        ] {
            let problem = choose(&names(asked), &definition(options)).unwrap_err();
            assert_eq!((problem.code(), &*problem.errors()[0].pointer), (code, pointer), "{asked:?}");
        }
    }

    #[test]
    fn keys_are_short_and_printable() {
        let with = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(KEY, HeaderValue::from_bytes(value).unwrap());
            headers
        };
        assert_eq!(key(&with(b"a b~"), true).unwrap(), Some("a b~"));
        assert_eq!(key(&HeaderMap::new(), false).unwrap(), None);
        assert_eq!(key(&HeaderMap::new(), true).unwrap_err().code(), "IDEMPOTENCY_KEY_REQUIRED");
        for bad in [&b""[..], b"a\tb", "é".as_bytes(), &[b'x'; 65]] {
            assert_eq!(key(&with(bad), false).unwrap_err().code(), "INVALID_REQUEST");
        }
    }
}
