//! Contacts at the edge: sealed before they leave the handler, and claims only where and while they are taken.

mod support;

use api_gateway::GatewayArgs;
use shared_domain::{Contact, ContactCollection, EntryId, EventDefinition};
use shared_proto::v1::{self, log_record::Kind};
use shared_runtime::contact::ContactSecretKey;
use support::{Edge, definition, now};

const MINUTE: i64 = 60_000;

fn secret() -> ContactSecretKey {
    ContactSecretKey::from_seed(&[4; 32])
}

fn collecting(id: i64, collection: ContactCollection) -> EventDefinition {
    EventDefinition {
        contact_collection: collection,
        contact_key: Some(secret().public_key()),
        ..definition(id, &[("DEFAULT", 5)])
    }
}

fn args() -> GatewayArgs {
    GatewayArgs { member_rate_limit_per_second: 1_000, ..GatewayArgs::default() }
}

async fn claim(edge: &Edge, entry: &str, member: i64, body: &str) -> support::Answer {
    let headers = format!("{}content-type: application/json\r\n", edge.token(member));
    edge.ask("POST", &format!("/v1/entries/{entry}/claim"), &headers, body).await
}

/// A member's entry, decided; its id.
async fn decided(edge: &Edge, event: i64, member: i64) -> String {
    let answer = edge.enter(event, &edge.token(member), "").await;
    answer.is(202, "APPLIED");
    let end = edge.log.len(event as i32) as i64;
    edge.decide(event, end - 1).await;
    let id = answer.text("entry_id");
    edge.until("GET", &format!("/v1/entries/{id}"), &edge.token(member), 200, "WIN").await;
    id
}

/// Two enter an event with one prize before anything is decided; the entry of member 2.
async fn lost(edge: &Edge, event: i64) -> String {
    edge.enter(event, &edge.token(1), "").await.is(202, "APPLIED");
    let answer = edge.enter(event, &edge.token(2), "").await;
    answer.is(202, "APPLIED");
    let end = edge.log.len(event as i32) as i64;
    edge.decide(event, end - 2).await;
    let id = answer.text("entry_id");
    edge.until("GET", &format!("/v1/entries/{id}"), &edge.token(2), 200, "LOSE").await;
    id
}

#[tokio::test]
async fn claims_are_taken_where_and_while_the_event_takes_them() {
    let closed =
        EventDefinition { claim_until: now() - MINUTE, ..collecting(2, ContactCollection::AfterWin) };
    let keyless = EventDefinition { contact_key: None, ..collecting(4, ContactCollection::AfterWin) };
    let one_prize = EventDefinition {
        contact_collection: ContactCollection::AfterWin,
        contact_key: Some(secret().public_key()),
        ..definition(5, &[("DEFAULT", 1)])
    };
    let events = vec![
        (1, collecting(1, ContactCollection::AfterWin)),
        (2, closed),
        (3, collecting(3, ContactCollection::None)),
        (4, keyless),
        (5, one_prize),
    ];
    let edge = Edge::start(events, args()).await;
    let good = r#"{"email":"canary@mail.example"}"#;
    for (event, code) in [(2, "CLAIM_CLOSED"), (3, "CONTACT_NOT_ALLOWED"), (4, "CONTACT_NOT_ALLOWED")] {
        let entry = decided(&edge, event, 1).await;
        claim(&edge, &entry, 1, good).await.is(409, code);
    }
    let entry = decided(&edge, 1, 1).await;
    claim(&edge, &entry, 1, "").await.is(400, "INVALID_JSON");
    let plain = edge.token(1);
    edge.ask("POST", &format!("/v1/entries/{entry}/claim"), &plain, good)
        .await
        .is(415, "UNSUPPORTED_MEDIA_TYPE");
    claim(&edge, &entry, 1, r#"{"email":"a@b","phone_number":"x"}"#).await.is(422, "/phone_number");
    claim(&edge, "00000000-0000-8000-8000-000000000000", 1, good).await.is(404, "ENTRY_NOT_FOUND");
    claim(&edge, "x", 1, good).await.is(404, "ENTRY_NOT_FOUND");
    claim(&edge, &lost(&edge, 5).await, 2, good).await.is(409, "NOT_A_WINNER");
    assert_eq!(claim(&edge, &entry, 1, good).await.status, 204);
    let id = EntryId::parse(&entry).unwrap();
    let kept = edge.store.contacts_of(1, &[id.as_bytes().to_vec()]).await.unwrap();
    let opened: Contact = secret().open(1, id, &kept[0].1).unwrap();
    assert_eq!(opened.email.as_deref(), Some("canary@mail.example"));
    assert_eq!(edge.log.len(1), 2, "a claim never enters the log");

    // The log says that it is deleted before the database does: nothing of it is to be had any more.
    edge.append(1, Kind::Deleted(v1::Deleted { command_id: vec![9; 16] }));
    edge.decide(1, 2).await;
    edge.until("GET", "/v1/events/1", "", 404, "EVENT_NOT_FOUND").await;
    claim(&edge, &entry, 1, good).await.is(404, "ENTRY_NOT_FOUND");
    edge.enter(1, &edge.token(2), "").await.is(404, "EVENT_NOT_FOUND");
}

#[tokio::test]
async fn a_contact_goes_sealed_into_the_entry() {
    let duplicates =
        EventDefinition { duplicates_allowed: true, ..collecting(1, ContactCollection::AtApply) };
    let edge = Edge::start(vec![(1, duplicates)], args()).await;
    let headers = format!("{}idempotency-key: k\r\n", edge.token(1));
    let enter = async |body: &str| edge.enter(1, &headers, body).await;
    for none in ["", "{}", r#"{"contact":null}"#] {
        enter(none).await.is(422, "CONTACT_REQUIRED").is(422, "/contact");
    }
    let body = r#"{"contact":{"phone_number":"+821012345678"}}"#;
    let accepted = enter(body).await;
    accepted.is(202, "APPLIED");
    enter(body).await.is(200, "ALREADY_APPLIED");
    let other = enter(r#"{"contact":{"phone_number":"+821012345679"}}"#).await;
    other.is(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(edge.log.len(1), 2, "once");
    let (_, kind) = shared_proto::decode(&edge.log.record(1, 1)).unwrap();
    let Kind::Entry(entry) = kind else { panic!("an entry") };
    let id = EntryId::parse(&accepted.text("entry_id")).unwrap();
    let opened = secret().open(1, id, &entry.sealed_contact).unwrap();
    assert_eq!(opened.phone_number.as_deref(), Some("+821012345678"));
}
