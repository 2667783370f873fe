//! Replies, and how arguments are read, in Redis' own words.

use bytes::Bytes;
use redis_protocol::resp2::types::BytesFrame;

/// An error reply, code included.
#[derive(Debug, Clone)]
pub(super) struct Failure(pub(super) String);

pub(super) type Reply = Result<BytesFrame, Failure>;

pub(super) const SYNTAX: &str = "ERR syntax error";
pub(super) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
pub(super) const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

pub(super) fn fail<T>(text: &str) -> Result<T, Failure> {
    Err(text.into())
}

pub(super) fn simple(text: &'static str) -> BytesFrame {
    BytesFrame::SimpleString(Bytes::from_static(text.as_bytes()))
}

pub(super) fn ok() -> BytesFrame {
    simple("OK")
}

pub(super) fn bulk(text: impl Into<Bytes>) -> BytesFrame {
    BytesFrame::BulkString(text.into())
}

pub(super) fn bulk_or_nil(text: Option<Bytes>) -> BytesFrame {
    text.map_or(BytesFrame::Null, BytesFrame::BulkString)
}

pub(super) fn count(n: usize) -> BytesFrame {
    BytesFrame::Integer(n as i64)
}

/// A score as text: whole numbers without a fraction.
pub(super) fn score(value: f64) -> Bytes {
    let text = if value.is_infinite() {
        if value > 0.0 { "inf".to_owned() } else { "-inf".to_owned() }
    } else if value.fract() == 0.0 && value.abs() < 1e17 {
        (value as i64).to_string()
    } else {
        value.to_string()
    };
    Bytes::from(text)
}

/// An option's name in upper case.
pub(super) fn word(arg: &[u8]) -> String {
    String::from_utf8_lossy(arg).to_ascii_uppercase()
}

/// An integer as Redis takes it: no sign but `-`, no blanks, no leading zeros.
pub(super) fn strict_integer(arg: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(arg).ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits == "0" && text == "0" || digits.starts_with(|c: char| ('1'..='9').contains(&c));
    if plain { text.parse().ok() } else { None }
}

pub(super) fn integer(arg: &[u8]) -> Result<i64, Failure> {
    strict_integer(arg).ok_or_else(|| NOT_AN_INTEGER.into())
}

/// A float; infinities are allowed, NaN is not.
pub(super) fn float(arg: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(arg).ok()?;
    text.parse::<f64>().ok().filter(|value| !value.is_nan())
}

/// Redis' glob: `*`, `?`, `[a-z]`, `[^a]` and `\` before a literal.
pub(super) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last star if the rest does not match: linear memory, no recursion.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        match one(&pattern[p..], text[t]) {
            Some(used) => {
                p += used;
                t += 1;
            }
            None => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// How many bytes of the pattern match this one character, if it does.
fn one(pattern: &[u8], c: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'\\' if pattern.len() > 1 => (pattern[1] == c).then_some(2),
        b'[' => {
            let end = pattern.iter().position(|b| *b == b']').unwrap_or(pattern.len() - 1);
            let negated = pattern.get(1) == Some(&b'^');
            let set = pattern.get(if negated { 2 } else { 1 }..end).unwrap_or_default();
            let mut found = false;
            let mut i = 0;
            while i < set.len() {
                if i + 2 < set.len() && set[i + 1] == b'-' {
                    found |= (set[i]..=set[i + 2]).contains(&c);
                    i += 3;
                } else {
                    found |= set[i] == c;
                    i += 1;
                }
            }
            (found != negated).then_some(end + 1)
        }
        literal => (literal == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::{glob, strict_integer};

    #[test]
    fn globs() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("event:*", "event:1", true),
            ("event:*:1", "event:rate:7:1", true),
            ("e?ent", "event", true),
            ("[a-f]vent", "event", true),
            ("[^e]vent", "event", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a*b*c", "a-b-b-", false),
            ("[", "[", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn integers() {
        for (text, wanted) in
            [("0", Some(0)), ("-5", Some(-5)), ("007", None), ("+1", None), ("-0", None), (" 1", None)]
        {
            assert_eq!(strict_integer(text.as_bytes()), wanted, "{text}");
        }
        assert_eq!(strict_integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(strict_integer(b"9223372036854775808"), None);
    }
}
