//! JSON that does not fit its type, as a violation with a pointer.

use serde_path_to_error::{Error, Path, Segment};

use crate::Violation;

impl Violation {
    /// From serde's error: a missing field is named as if it were there.
    pub fn of_misfit(error: &Error<serde_json::Error>) -> Self {
        let detail = misfit_text(error.inner());
        Self::new(pointer(error.path(), &detail), detail)
    }
}

/// The error without " at line 1 column 9", which says nothing about a place in a document without lines.
pub fn misfit_text(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The place as an RFC 6901 pointer.
fn pointer(path: &Path, message: &str) -> String {
    let mut pointer = String::new();
    let mut push = |part: &str| {
        pointer.push('/');
        pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
    };
    for segment in path {
        match segment {
            Segment::Seq { index } => push(&index.to_string()),
            Segment::Map { key } => push(key),
            Segment::Enum { variant } => push(variant),
            Segment::Unknown => {}
        }
    }
    if let Some(rest) = message.strip_prefix("missing field `") {
        push(rest.trim_end_matches('`'));
    }
    pointer
}
