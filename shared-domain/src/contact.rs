//! Contact data of a member (DESIGN section 8). It is never printed: not by `Debug`, and not by what it breaks.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{RuleError, Violation};

/// ITU-T E.164: a country code and a number, at most 15 digits together.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 2..=15;
/// RFC 5321, 4.5.3.1: a path of 256 octets holds an address of 254.
const EMAIL_MAX: usize = 254;
const EMAIL_LOCAL_MAX: usize = 64;
const ADDRESS_MAX: usize = 500;

/// How a member can be reached; at least one way. Checked by [`Contact::violations`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// E.164.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub phone_number: Option<String>,
    /// RFC 5321 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub email: Option<String>,
    /// Postal, free text of several lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub address: Option<String>,
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contact(..)")
    }
}

impl Contact {
    /// Every rule that it breaks, with pointers under `base`.
    pub fn violations(&self, base: &str) -> Vec<Violation> {
        if self.phone_number.is_none() && self.email.is_none() && self.address.is_none() {
            return vec![Violation::new(base, "needs phone_number, email or address")];
        }
        let mut wrong = Vec::new();
        let mut fail = |name: &str, detail: &dyn fmt::Display| {
            wrong.push(Violation::new(format!("{base}/{name}"), detail));
        };
        if self.phone_number.as_deref().is_some_and(|phone| !is_e164(phone)) {
            fail("phone_number", &"must be E.164: + and 2 to 15 digits, the first not 0");
        }
        if self.email.as_deref().is_some_and(|email| !is_email(email)) {
            fail("email", &"must be an e-mail address of at most 254 characters");
        }
        match self.address.as_deref() {
            Some(address) if address.trim().is_empty() => fail("address", &RuleError::Blank),
            Some(address) if address.chars().count() > ADDRESS_MAX => {
                fail("address", &RuleError::TooLong(ADDRESS_MAX));
            }
            Some(address) if address.chars().any(|c| c.is_control() && c != '\n') => {
                fail("address", &"must hold no control characters but line feeds");
            }
            _ => {}
        }
        wrong
    }
}

fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        PHONE_DIGITS.contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

/// The form alone: a local part and a domain of labels. Whether it exists, only a letter could tell.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
    text.len() <= EMAIL_MAX
        && (1..=EMAIL_LOCAL_MAX).contains(&local.len())
        && local.chars().all(plain)
        && domain.chars().all(plain)
        && domain.split('.').all(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(phone: Option<&str>, email: Option<&str>, address: Option<&str>) -> Contact {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Contact { phone_number: own(phone), email: own(email), address: own(address) }
    }

    #[test]
    fn each_rule_names_its_place_and_never_the_value() {
        let good = contact(Some("+821012345678"), Some("a.b+c@shop.example"), Some("Seoul\n1-2"));
        assert_eq!(good.violations("/contact"), []);
        assert_eq!(contact(None, None, None).violations("/contact")[0].pointer, "/contact");
        let long = format!("{}@x.example", "a".repeat(65));
        let address = "x".repeat(501);
        for (wrong, pointer) in [
            (contact(Some("010-1234-5678"), None, None), "/phone_number"),
            (contact(Some("+0101234567"), None, None), "/phone_number"),
            (contact(Some("+1234567890123456"), None, None), "/phone_number"),
            (contact(Some("+8210 1234"), None, None), "/phone_number"),
            (contact(Some("+"), None, None), "/phone_number"),
            (contact(None, Some("nobody"), None), "/email"),
            (contact(None, Some("a@b@c.example"), None), "/email"),
            (contact(None, Some("@c.example"), None), "/email"),
            (contact(None, Some("a@c..example"), None), "/email"),
            (contact(None, Some("a b@c.example"), None), "/email"),
            (contact(None, Some(&long), None), "/email"),
            (contact(None, None, Some(" \n")), "/address"),
            (contact(None, None, Some("a\u{7}b")), "/address"),
            (contact(None, None, Some(&address)), "/address"),
        ] {
            let violations = wrong.violations("");
            assert_eq!(violations.len(), 1);
            assert_eq!(violations[0].pointer, pointer);
        }
        assert_eq!(contact(Some("x"), Some("y"), Some("")).violations("").len(), 3, "all at once");
        assert_eq!(format!("{good:?}"), "Contact(..)");
    }
}
