//! The variable parts of a path.

use uuid::Uuid;

/// The values of a route's `{name}` parts, as they stand in the path.
#[derive(Debug, Clone, Default)]
pub struct Params(pub(super) Vec<(&'static str, String)>);

impl Params {
    /// A value, or "" for a name that the route does not have.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }

    /// A positive integer id in plain decimal. Anything else (sign, leading zero, too large) is None: that resource's 404.
    pub fn id(&self, name: &str) -> Option<i64> {
        let text = self.get(name);
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        plain.then(|| text.parse().ok()).flatten()
    }

    /// A UUID in its hyphenated form; anything else is None.
    pub fn uuid(&self, name: &str) -> Option<Uuid> {
        let text = self.get(name);
        (text.len() == uuid::fmt::Hyphenated::LENGTH).then(|| Uuid::try_parse(text).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_form() {
        let params = |text: &str| Params(vec![("id", text.to_owned())]);
        assert_eq!(params("42").id("id"), Some(42));
        for bad in ["", "0", "+1", "-1", "01", "1.0", "x", "9223372036854775808"] {
            assert_eq!(params(bad).id("id"), None, "{bad}");
        }
        let id = "0191d0e6-8f6a-8abc-8def-0123456789ab";
        assert_eq!(params(id).uuid("id"), Uuid::try_parse(id).ok());
        assert_eq!(params(&id.replace('-', "")).uuid("id"), None);
        assert_eq!(params("x").get("other"), "");
    }
}
