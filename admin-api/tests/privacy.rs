//! Contacts, deletion, erasure and what a restored database is told, over a real socket.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use admin_api::check_key_encryption_key;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use shared_domain::{Contact, EntryStatus, EventDefinition, Reason};
use shared_proto::v1::log_record::Kind;
use shared_runtime::contact::seal;
use shared_runtime::keys::KeyEncryptionKey;
use shared_runtime::lifecycle::Lifecycle;
use shared_runtime::store::Claimed;
use shared_runtime::store::rows::Subject;
use support::{GRACE_MS, KEY_ENCRYPTION_KEY, NOW, World, draft, entry_id, open_to_all, world};

const EVERYTHING: &str = "events:read events:write contacts:read ops:write";

fn contact(member: i64) -> Contact {
    Contact { phone_number: None, email: Some(format!("canary-{member}@mail.example")), address: None }
}

async fn definition(w: &World, event: i64) -> EventDefinition {
    let record = w.store.event(event).await.unwrap().unwrap().scheduled.unwrap();
    match shared_proto::decode(&record).unwrap() {
        (_, Kind::Scheduled(scheduled)) => EventDefinition::from_record(&scheduled).unwrap(),
        _ => panic!("no Scheduled"),
    }
}

/// As a gateway would have sealed it.
async fn sealed(w: &World, event: i64, member: i64) -> Vec<u8> {
    let key = definition(w, event).await.contact_key.unwrap();
    seal(&key, event, entry_id(event, member), &contact(member)).unwrap()
}

/// An event that takes contacts with the entries, scheduled in its lane.
async fn at_apply(w: &World) -> (i64, i32) {
    let mut draft = draft();
    draft["contact_collection"] = json!("AT_APPLY");
    draft["stock"] = json!([{"option": "A", "count": 100}]);
    let id = w.scheduled(&draft).await;
    w.decide().await;
    (id, definition(w, id).await.lanes[0])
}

async fn enter(w: &World, (event, lane): (i64, i32), member: i64, at: i64) {
    w.log.enter_with(event, lane, member, at, &[0], sealed(w, event, member).await);
}

async fn call(w: &World, method: &str, path: &str) -> (u16, Value) {
    w.send(method, path, Some(&w.staff(EVERYTHING)), None, &Value::Null).await
}

/// Whose contacts an authorised export shows.
async fn shown(w: &World, event: i64) -> Vec<i64> {
    let (status, body) = call(w, "GET", &format!("/admin/v1/events/{event}/winners?limit=200")).await;
    assert_eq!(status, 200, "{body}");
    let winners = body["winners"].as_array().unwrap();
    let with = winners.iter().filter(|winner| winner.get("contact").is_some());
    with.map(|winner| {
        let member = winner["member_id"].as_i64().unwrap();
        assert_eq!(winner["contact"], json!(contact(member)), "{winner}");
        member
    })
    .collect()
}

async fn certificate(w: &World, event: i64) -> Value {
    let (status, body) = call(w, "GET", &format!("/admin/v1/events/{event}/deletion")).await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn a_deletion_ends_when_every_lane_knows_and_nothing_comes_back_behind_it() {
    let w = world(None).await;
    let event = at_apply(&w).await;
    for member in 1..=3 {
        enter(&w, event, member, NOW).await;
    }
    w.decide().await;
    assert_eq!(shown(&w, event.0).await, [1, 2, 3]);
    let taken = w.get("/admin/v1/audit?action=WINNERS_EXPORTED").await["audit"][0].clone();
    assert_eq!((&taken["actor"], &taken["event_id"]), (&json!("ann"), &json!(event.0)), "{taken}");
    assert_eq!(taken["detail"], json!({"format": "json", "contacts": true}), "the audit log tells of it");
    let key = w.keys.key(event.0).await.unwrap().unwrap();
    // In the log before the deletion, and not decided yet.
    enter(&w, event, 4, NOW).await;

    let (status, command) = call(&w, "DELETE", &format!("/admin/v1/events/{}", event.0)).await;
    assert_eq!((status, &command["status"]), (202, &json!("PENDING")), "{command}");
    w.admin.eraser().pass().await.unwrap();
    let so_far = certificate(&w, event.0).await;
    assert_eq!(
        (&so_far["state"], &so_far["contacts_destroyed"], &so_far["signature"]),
        (&json!("IN_PROGRESS"), &json!(3), &Value::Null),
        "{so_far}"
    );
    assert_eq!(w.keys.key(event.0).await.unwrap().unwrap().wrapped_key, None);
    assert_eq!(shown(&w, event.0).await, [0; 0]);

    w.decide().await;
    enter(&w, event, 5, NOW).await;
    w.decide().await;
    w.admin.eraser().pass().await.unwrap();
    let rows = w.store.entries_of_lane(event.0, event.1, None, 0, 100).await.unwrap();
    let outcome: Vec<_> = rows.iter().map(|row| (row.status, row.reason)).collect();
    let won = (i16::from(EntryStatus::Win.code()), None);
    let rejected = (i16::from(EntryStatus::Rejected.code()), Some(i16::from(Reason::Deleted.code())));
    assert_eq!(outcome, [won, won, won, won, rejected], "the record's place decides");
    let ids: Vec<Vec<u8>> = rows.iter().map(|row| row.entry_id.clone()).collect();
    assert_eq!(
        w.store.contacts_of(event.0, &ids).await.unwrap(),
        [],
        "a late decision brings no contact back"
    );

    let done = certificate(&w, event.0).await;
    assert_eq!(done["state"], "COMPLETE", "{done}");
    assert_eq!((&done["contacts_destroyed"], &done["entries_kept"]), (&json!(3), &json!(5)), "{done}");
    assert_eq!(done["key_ids"][0], json!(uuid::Uuid::from_slice(&key.key_id).unwrap()));
    assert_eq!(done["backups_expire_at"], "2026-01-11T00:00:00.000Z", "{done}");
    let signed = json!([
        "deletion-certificate/v1",
        event.0,
        done["key_ids"],
        3,
        5,
        [["event-apply-topic", event.1, done["log_ranges"][0]["from"], done["log_ranges"][0]["to"]]],
        "2026-01-11T00:00:00.000Z",
    ])
    .to_string();
    let hex = |name: &str| {
        let text = done[name].as_str().unwrap();
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect::<Vec<_>>()
    };
    let own = KeyEncryptionKey::new(&KEY_ENCRYPTION_KEY).verifying_key();
    assert_eq!(hex("signed_by"), own);
    let verifying = UnparsedPublicKey::new(&ED25519, own);
    assert!(verifying.verify(signed.as_bytes(), &hex("signature")).is_ok(), "{signed}");

    let path = format!("/admin/v1/commands/{}", command["command_id"].as_str().unwrap());
    assert_eq!(call(&w, "GET", &path).await.1["status"], "APPLIED");
    let row = w.store.event(event.0).await.unwrap().unwrap();
    let salt = definition(&w, event.0).await.salt;
    assert!(row.deleted_at.is_some() && salt.is_empty(), "the definition has lost its salt too");
    for (path, code) in [("/pause", "EVENT_DELETED"), ("/schedule", "EVENT_DELETED")] {
        let (status, body) = call(&w, "POST", &format!("/admin/v1/events/{}{path}", event.0)).await;
        assert_eq!((status, &body["code"]), (409, &json!(code)));
    }
}

#[tokio::test]
async fn a_draft_goes_at_once() {
    let w = world(None).await;
    let id = w.created(&draft()).await;
    let path = format!("/admin/v1/events/{id}");
    assert_eq!(call(&w, "GET", &format!("{path}/deletion")).await.1["code"], "DELETION_NOT_FOUND");
    let (status, command) = call(&w, "DELETE", &path).await;
    assert_eq!((status, &command["status"]), (202, &json!("APPLIED")), "{command}");
    assert_eq!(call(&w, "DELETE", &path).await.1["command_id"], command["command_id"]);
    let done = certificate(&w, id).await;
    assert_eq!((&done["state"], &done["key_ids"]), (&json!("COMPLETE"), &json!([])), "{done}");
    assert_eq!(call(&w, "DELETE", "/admin/v1/events/999").await.1["code"], "EVENT_NOT_FOUND");
    w.admin.eraser().restore().await.unwrap();
    assert_eq!(w.created(&draft()).await, id + 1, "its number is not given again");
}

#[tokio::test]
async fn an_erased_contact_stays_away_and_a_new_one_may_come() {
    let w = world(None).await;
    let event = at_apply(&w).await;
    enter(&w, event, 1, NOW).await;
    enter(&w, event, 2, NOW).await;
    w.decide().await;
    // In the log, and decided only behind the erasure.
    let (late, lane) = at_apply(&w).await;
    enter(&w, (late, lane), 1, NOW).await;
    enter(&w, (late, lane), 2, NOW).await;

    let path = "/admin/v1/members/1/contacts";
    for scopes in ["events:write", "contacts:read"] {
        let (status, body) = w.send("DELETE", path, Some(&w.staff(scopes)), None, &Value::Null).await;
        assert_eq!((status, &body["code"]), (403, &json!("FORBIDDEN")));
    }
    assert_eq!(call(&w, "DELETE", "/admin/v1/members/01/contacts").await.1["code"], "MEMBER_NOT_FOUND");
    let refused =
        w.send("DELETE", path, Some(&w.staff(EVERYTHING)), Some(&"k".repeat(65)), &Value::Null).await;
    assert_eq!((refused.0, &refused.1["code"]), (422, &json!("INVALID_REQUEST")));
    let listed = async || w.keys.erasures_of(Subject::Member, 1).await.unwrap().len();
    assert_eq!(listed().await, 0, "what is refused is not listed");
    let once = async || {
        let token = w.staff(EVERYTHING);
        w.send("DELETE", path, Some(&token), Some("once"), &Value::Null).await
    };
    let (status, record) = once().await;
    assert_eq!(status, 200, "{record}");
    assert_eq!(
        (&record["contacts_destroyed"], &record["events"]),
        (&json!(1), &json!([event.0])),
        "{record}"
    );
    assert_eq!(record["sealed_copies_until"], "2026-01-08T00:00:00.000Z", "{record}");
    assert_eq!(record["backups_expire_at"], "2026-01-11T00:00:00.000Z", "{record}");
    assert_eq!(once().await.1, record, "the same request is the same erasure");
    assert_eq!(listed().await, 1);
    w.decide().await;
    assert_eq!(shown(&w, event.0).await, [2]);
    assert_eq!(shown(&w, late).await, [2], "the worker leaves out what was given before");
    let entries = w.get("/admin/v1/members/1/entries").await;
    assert_eq!(entries["entries"].as_array().unwrap().len(), 2, "entries stay");

    // A claim that was on its way; and one by the member's own will later.
    let id = entry_id(event.0, 1);
    let copy = sealed(&w, event.0, 1).await;
    let claim = async |at: i64| w.store.claim(event.0, id, 1, &copy, at).await.unwrap();
    assert_eq!(claim(NOW - 1).await, Claimed::ErasedSince);
    assert_eq!(w.store.claim(event.0, id, 2, &copy, NOW).await.unwrap(), Claimed::NotAWinner);
    assert_eq!(claim(NOW + 60_000).await, Claimed::Kept);
    assert_eq!(shown(&w, event.0).await, [1, 2]);
    let audit = w.get("/admin/v1/audit?action=CONTACTS_ERASED").await;
    assert_eq!(audit["audit"].as_array().unwrap().len(), 1, "{audit}");
    assert_eq!(audit["audit"][0]["detail"]["member_id"], 1, "{audit}");
    assert!(!audit.to_string().contains("canary"));
}

#[tokio::test]
async fn a_restored_database_is_told_again_before_anybody_is_answered() {
    let w = world(None).await;
    let (gone, stays) = (at_apply(&w).await, at_apply(&w).await);
    for member in 1..=3 {
        enter(&w, gone, member, NOW).await;
        enter(&w, stays, member, NOW).await;
    }
    w.decide().await;
    let backup = w.backup();
    let unknown = at_apply(&w).await;
    enter(&w, unknown, 1, NOW).await;
    let mut draft = open_to_all();
    draft["reward"] =
        json!({"reward_type": "AVERAGE_RANDOM", "min_amount": 1, "max_amount": 9, "target_average": 4});
    draft["stock"] = json!([{"count": 3}]);
    let later = w.scheduled(&draft).await;
    w.decide().await;
    w.clock.advance(60_000);
    for path in [
        format!("/admin/v1/events/{}", gone.0),
        format!("/admin/v1/events/{}", unknown.0),
        "/admin/v1/members/2/contacts".to_owned(),
    ] {
        let (status, body) = call(&w, "DELETE", &path).await;
        assert!(status == 200 || status == 202, "{body}");
    }
    w.decide().await;
    w.admin.eraser().pass().await.unwrap();
    let told = certificate(&w, gone.0).await;

    let r = w.restored(backup, KEY_ENCRYPTION_KEY).await;
    let ids: Vec<Vec<u8>> = (1..=3).map(|m| entry_id(gone.0, m).as_bytes().to_vec()).collect();
    assert_eq!(r.store.contacts_of(gone.0, &ids).await.unwrap().len(), 3, "the backup has them");
    let key = r.keys.secret_key(gone.0, &KeyEncryptionKey::new(&KEY_ENCRYPTION_KEY)).await.unwrap();
    assert!(key.is_none(), "and nothing opens them");
    assert!(r.store.event(unknown.0).await.unwrap().is_none(), "made after the backup");
    let life = Lifecycle::new(Duration::from_secs(5), Duration::from_secs(5));
    r.admin.eraser().spawn(&life);
    let (status, body) = call(&r, "GET", "/admin/v1/events").await;
    assert!(status == 503 || status == 200, "{body}");
    r.admin.eraser().opened().await;
    assert_eq!(r.store.contacts_of(gone.0, &ids).await.unwrap(), []);
    assert_eq!(shown(&r, gone.0).await, [0; 0]);
    assert_eq!(shown(&r, stays.0).await, [1, 3]);
    assert_eq!(certificate(&r, gone.0).await, told, "the certificate is the first one");
    let waits: Vec<String> = life.not_ready().into_iter().map(|n| n.component).collect();
    assert_eq!(waits, ["lanes"], "the lanes are behind the log");
    // The worker catches up: what the backup did not know comes deleted, and without contacts.
    r.decide().await;
    tokio::time::timeout(Duration::from_secs(10), async {
        while !life.not_ready().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("ready when every lane has passed the end");
    let row = r.store.event(unknown.0).await.unwrap().unwrap();
    assert!(row.deleted_at.is_some());
    let seen = r.get(&format!("/admin/v1/events/{later}")).await;
    assert_eq!((&seen["reward"], &seen["status"]), (&draft["reward"], &json!("OPEN")), "made from the log");
    let id = entry_id(unknown.0, 1).as_bytes().to_vec();
    assert_eq!(r.store.contacts_of(unknown.0, &[id]).await.unwrap(), []);
    assert_eq!(shown(&r, stays.0).await, [1, 3]);
    life.begin_shutdown();
    assert!(life.finish().await);
}

#[tokio::test]
async fn a_deletion_behind_a_draw_is_told_again_to_a_backup_of_before_its_publication() {
    let w = world(None).await;
    let mut draft = open_to_all();
    (draft["type"], draft["max_winners"]) = (json!("RAFFLE"), json!(1));
    draft["contact_collection"] = json!("AT_APPLY");
    let id = w.scheduled(&draft).await;
    w.decide().await;
    for member in 1..=3 {
        let copy = sealed(&w, id, member).await;
        w.log.enter_with(id, 0, member, NOW + 1, &[], copy);
    }
    let path = format!("/admin/v1/events/{id}");
    let ask = async |w: &World, method: &str, path: &str, body: Value| {
        let token = w.staff("events:read events:write draws:run contacts:read");
        w.send(method, path, Some(&token), None, &body).await
    };
    assert_eq!(ask(&w, "POST", &format!("{path}/close"), Value::Null).await.0, 202);
    w.clock.advance(GRACE_MS);
    w.decide().await;
    assert_eq!(ask(&w, "POST", &format!("{path}/draw"), json!({"publish": false})).await.0, 202);
    w.admin.draw_runs().pass().await.unwrap();
    let (status, refused) = ask(&w, "DELETE", &path, Value::Null).await;
    assert_eq!((status, &refused["code"]), (409, &json!("DRAW_RUNNING")), "{refused}");
    let backup = w.backup();
    // The relay's lease in the backup is over by then.
    w.clock.advance(60_000);

    assert_eq!(ask(&w, "POST", &format!("{path}/draw/publish"), Value::Null).await.0, 202);
    w.admin.draw_runs().pass().await.unwrap();
    assert_eq!(shown(&w, id).await.len(), 1);
    let (status, command) = ask(&w, "DELETE", &path, Value::Null).await;
    assert_eq!(status, 202, "{command}");
    w.decide().await;
    w.admin.eraser().pass().await.unwrap();

    let r = w.restored(backup, KEY_ENCRYPTION_KEY).await;
    let ids: Vec<Vec<u8>> = (1..=3).map(|m| entry_id(id, m).as_bytes().to_vec()).collect();
    assert_eq!(r.store.contacts_of(id, &ids).await.unwrap().len(), 3, "the backup has them");
    r.admin.eraser().restore().await.unwrap();
    assert_eq!(r.store.contacts_of(id, &ids).await.unwrap(), []);
    assert_eq!(certificate(&r, id).await, certificate(&w, id).await);
    r.decide().await;
    r.admin.eraser().pass().await.unwrap();
    let command = format!("/admin/v1/commands/{}", command["command_id"].as_str().unwrap());
    assert_eq!(call(&r, "GET", &command).await.1["status"], "APPLIED", "and it comes to its end");
}

#[tokio::test]
async fn a_key_store_that_forgot_learns_from_the_database() {
    let w = world(None).await;
    let event = at_apply(&w).await;
    enter(&w, event, 1, NOW).await;
    w.decide().await;
    call(&w, "DELETE", &format!("/admin/v1/events/{}", event.0)).await;
    w.decide().await;
    w.admin.eraser().pass().await.unwrap();
    // Another, empty key store stands for an old backup of the first.
    let other = world(None).await;
    let r = other.restored(w.backup(), KEY_ENCRYPTION_KEY).await;
    r.admin.eraser().restore().await.unwrap();
    let listed = r.keys.erasures_of(Subject::Event, event.0).await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn contact_keys_are_wrapped_by_the_new_key_after_a_rotation() {
    let w = world(None).await;
    let event = at_apply(&w).await;
    enter(&w, event, 1, NOW).await;
    w.decide().await;
    let mut draft = open_to_all();
    draft["contact_collection"] = json!("NONE");
    let none = w.scheduled(&draft).await;
    assert_eq!(w.keys.key(none).await.unwrap(), None, "no contacts, no key");

    let (old, new) = (KeyEncryptionKey::new(&KEY_ENCRYPTION_KEY), KeyEncryptionKey::new(&[6; 32]));
    assert!(check_key_encryption_key(&w.keys, &old).await.is_ok());
    let refused = check_key_encryption_key(&w.keys, &new).await.unwrap_err();
    assert!(refused.to_string().starts_with("KEY_ENCRYPTION_KEY_FILE: "), "{refused}");
    assert_eq!(refused.exit_code(), 2);
    assert!(w.keys.rotate(&KeyEncryptionKey::new(&[9; 32]), &new).await.is_err(), "neither wraps it");
    assert_eq!(w.keys.rotate(&old, &new).await.unwrap(), 1);
    assert_eq!(w.keys.rotate(&old, &new).await.unwrap(), 0, "again does nothing");
    assert!(check_key_encryption_key(&w.keys, &old).await.is_err());
    assert!(w.keys.secret_key(event.0, &old).await.is_err());
    let r = w.restored(w.backup(), [6; 32]).await;
    assert_eq!(shown(&r, event.0).await, [1]);
}
