//! Contacts as members hand them in: checked, then sealed to the event's key at once. This process cannot open them.

use serde_json::Value;
use shared_domain::{Contact, ContactCollection, EntryId, EventDefinition, EventId, Violation};
use shared_runtime::contact::seal;
use shared_runtime::http::{Problem, part_of_body};

/// The contact that comes with an entry. Errors: 422 where the event takes none with the entry, or wants one.
pub(crate) fn with_entry(
    given: Option<Value>,
    definition: &EventDefinition,
) -> Result<Option<Contact>, Problem> {
    match (given, definition.contact_collection) {
        (None, ContactCollection::None | ContactCollection::AfterWin) => Ok(None),
        (None, ContactCollection::AtApply) => {
            Err(Problem::unprocessable("CONTACT_REQUIRED", "the event takes a contact with the entry")
                .with_errors(vec![Violation::new("/contact", "is required by this event")]))
        }
        (Some(given), ContactCollection::AtApply) => {
            checked(part_of_body(given, "/contact")?, "/contact").map(Some)
        }
        (Some(_), ContactCollection::None | ContactCollection::AfterWin) => {
            Err(Problem::unprocessable("CONTACT_NOT_ALLOWED", "the event takes no contact with the entry")
                .with_errors(vec![Violation::new("/contact", "must be left out")]))
        }
    }
}

/// A contact that keeps every rule. Errors: 422 with pointers under `base`.
pub(crate) fn checked(contact: Contact, base: &str) -> Result<Contact, Problem> {
    let violations = contact.violations(base);
    if violations.is_empty() { Ok(contact) } else { Err(Problem::invalid_request(violations)) }
}

/// Sealed for one entry. Errors: 500 where the event has no key, which scheduling does not allow.
pub(crate) fn sealed(
    event: EventId,
    definition: &EventDefinition,
    entry: EntryId,
    contact: &Contact,
) -> Result<Vec<u8>, Problem> {
    let sealed = definition.contact_key.as_ref().and_then(|key| seal(key, event, entry, contact).ok());
    sealed.ok_or_else(|| {
        tracing::error!(event_id = event, "the event has no key to seal contacts to");
        Problem::internal()
    })
}
