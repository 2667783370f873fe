//! A database restored from a dump of before a deletion and of before a member's erasure, on the real column with a key
//! store of its own: the dump's sealed contacts open no more, and admin-api deletes and erases again before it is ready.
#![allow(clippy::expect_used)]

use std::collections::BTreeSet;

use e2e::column::fresh_database;
use e2e::http::{Answer, call};
use e2e::personal_data::{
    EVERYTHING, Entries, canary, claimed, export, given_with_entries, nowhere_else, post, shown,
};
use e2e::process::Process;
use e2e::rounds::{BUDGET, Figures, rounds};
use e2e::sql::number;
use e2e::stack::{backup, load_backup};
use e2e::system::{System, clean, on_column};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use shared_domain::EntryId;
use shared_runtime::contact::ContactSecretKey;
use shared_runtime::keys::KeyEncryptionKey;
use shared_runtime::store::{DatabaseArgs, KeyStore, KeyStoreArgs, Store, migrate_key_store};

/// They enter behind the dump; the first is erased, the second stays.
const LATE: [i64; 2] = [20, 21];

async fn staff(system: &System, method: &str, path: &str) -> Answer {
    let path = format!("/admin/v1{path}");
    call(system.admin, method, &path, &system.staff(EVERYTHING), &Value::Null).await
}

/// Whose contacts an authorised export shows.
async fn members_shown(system: &System, event: i64) -> BTreeSet<i64> {
    let listed = export(system, event, EVERYTHING, "application/json").await.json();
    let winners = listed["winners"].as_array().expect("winners").iter();
    let with = winners.filter(|winner| winner.get("contact").is_some());
    with.map(|winner| winner["member_id"].as_i64().expect("a member")).collect()
}

/// How many of an event's sealed contacts in a database a key opens; all of them are there.
async fn opened(store: &Store, key: &ContactSecretKey, event: i64, owners: &Entries) -> usize {
    let ids: Vec<Vec<u8>> =
        owners.values().map(|id| EntryId::parse(id).expect("an entry id").as_bytes().to_vec()).collect();
    let sealed = store.contacts_of(event, &ids).await.expect("the restored database");
    assert_eq!(sealed.len(), owners.len(), "the dump has them");
    let opens = |(id, sealed): &&(Vec<u8>, Vec<u8>)| {
        key.open(event, EntryId::from_slice(id).expect("16 bytes"), sealed).is_ok()
    };
    sealed.iter().filter(opens).count()
}

/// Members enter an event that was sold out, each with a contact, and win.
async fn enter_late(system: &System, event: i64) -> Entries {
    let body = json!({"option": "DEFAULT", "add": LATE.len()});
    let added = system.command(&format!("/events/{event}/stock"), body).await;
    system.applied(&added).await;
    system.until_status(event, "OPEN").await;
    let mut entries = Entries::new();
    for member in LATE {
        let body = json!({"contact": canary("entry", member)});
        let accepted = post(system, &format!("/v1/events/{event}/entries"), member, &body).await;
        accepted.is(202, "APPLIED");
        assert_eq!(system.row(member, &accepted).await["status"], "WIN");
        entries.insert(member, accepted.text("entry_id"));
    }
    entries
}

/// The deletion's command and its certificate.
async fn deleted(system: &System, event: i64) -> (String, Value) {
    let command = staff(system, "DELETE", &format!("/events/{event}")).await;
    assert_eq!(command.status, 202, "{command:?}");
    let command = format!("/commands/{}", command.text("command_id"));
    system.applied(&command).await;
    let certificate = staff(system, "GET", &format!("/events/{event}/deletion")).await.json();
    assert_eq!(certificate["state"], "COMPLETE", "{certificate}");
    (command, certificate)
}

/// Every service dies, and `admin-api` alone starts on the restored database, with the key store as it is now.
fn restore(system: &mut System, database_url: &str, store: &Store, key_store_url: &str) {
    system.processes.clear();
    let mut command = clean("admin-api");
    on_column(&mut command, system.column().expect("real stores"))
        .env("DATABASE_URL", database_url)
        .env("KEY_STORE_URL", key_store_url)
        .env("ADMIN_ADDR", system.admin.to_string())
        .env("AUTH_DEV_KEY_FILE", system.key_file());
    system.processes.push(Process::spawn(command, "restored"));
    system.database_url = database_url.to_owned();
    system.store = store.clone();
}

async fn dump_restored(seed: u64) -> Figures {
    let erased = StdRng::seed_from_u64(seed).random_range(2..=12);
    let base = std::env::var("DATABASE_URL").expect("DATABASE_URL is not set; run `make test`");
    let unique: u32 = rand::random();
    let key_store_url = fresh_database(&base, &format!("events_contacts_keys_{unique:08x}")).await;
    migrate_key_store(&key_store_url, false).await.expect("migrations");
    let mut system = System::real_with("contacts", &[("KEY_STORE_URL", &key_store_url)]).await;
    let args = KeyStoreArgs { key_store_url: Some(key_store_url.clone()) };
    let keys = KeyStore::of(&args, &DatabaseArgs::default()).expect("key store");
    let file = &system.column().expect("real stores").key_encryption_key;
    let wrapping = KeyEncryptionKey::read(file).expect("key");
    let key_of = async |event| keys.secret_key(event, &wrapping).await.expect("the key store");

    let (claims, claimed) = claimed(&system).await;
    let (entries, mut given) = given_with_entries(&system).await;
    let before = shown(&system, claims, "claim", &claimed).await;
    assert_eq!(before, claimed.len(), "an authorised export shows all");
    assert_eq!(shown(&system, entries, "entry", &given).await, given.len());

    let dump = backup(&system.database_url).await;
    let (_, name) = system.database_url.rsplit_once('/').expect("a database in the URL");
    let restored_url = fresh_database(&base, &format!("{name}_r")).await;
    load_backup(&restored_url, dump).await;
    let restored = Store::open(&DatabaseArgs::default(), &restored_url).expect("store");
    let (claims_key, entries_key) = (key_of(claims).await, key_of(entries).await.expect("it lives"));
    let opens = opened(&restored, &claims_key.expect("it lives"), claims, &claimed).await;
    assert_eq!(opens, claimed.len(), "while the key lives the dump can be read");

    given.extend(enter_late(&system, entries).await);
    let (command, certificate) = deleted(&system, claims).await;
    for member in [erased, LATE[0]] {
        let record = staff(&system, "DELETE", &format!("/members/{member}/contacts")).await;
        assert_eq!(record.status, 200, "{record:?}");
        given.remove(&member).expect("a winner");
    }
    let left: BTreeSet<i64> = given.keys().copied().collect();
    assert_eq!(members_shown(&system, claims).await, BTreeSet::new());
    assert_eq!(members_shown(&system, entries).await, left);
    nowhere_else(&system).await;
    system.is_sound().await;

    assert!(key_of(claims).await.is_none(), "the key is gone");
    let opens = opened(&restored, &entries_key, claims, &claimed).await;
    assert_eq!(opens, 0, "and no other opens what the dump has");

    // No worker yet, so the lanes stay behind the log, and admin-api cannot be ready.
    restore(&mut system, &restored_url, &restored, &key_store_url);
    let path = format!("/events/{claims}/winners?limit=200");
    let mut refused = 0;
    system
        .until("the list is applied", async || {
            let answer = staff(&system, "GET", &path).await;
            match answer.status {
                0 => {}
                200 => return true,
                _ => {
                    answer.is(503, "UNAVAILABLE");
                    refused += 1;
                }
            }
            false
        })
        .await;
    let contacts = |event: i64| format!("SELECT COUNT(*) AS n FROM contact WHERE event_id = {event}");
    assert_eq!(number(&restored_url, &contacts(claims)).await, 0, "deleted again");
    assert_eq!(members_shown(&system, claims).await, BTreeSet::new());
    let in_dump: BTreeSet<i64> = left.iter().copied().filter(|member| !LATE.contains(member)).collect();
    assert_eq!(members_shown(&system, entries).await, in_dump, "erased again");
    assert_eq!(staff(&system, "GET", &format!("/events/{claims}/deletion")).await.json(), certificate);
    let readiness = system.processes[0].readiness().await.expect("an answer");
    assert!(readiness.starts_with("HTTP/1.1 503"), "{readiness}");
    assert!(readiness.contains("lanes") && !readiness.contains("erasures"), "{readiness}");

    // The worker decides again what the dump did not know.
    let mut worker = clean("apply-worker");
    on_column(&mut worker, system.column().expect("real stores")).env("DATABASE_URL", &restored_url);
    system.processes.push(Process::spawn(worker, "restored"));
    for process in &mut system.processes {
        process.wait_until_ready(BUDGET).await;
    }
    system.applied(&command).await;
    let after = members_shown(&system, claims).await.len();
    assert_eq!((after, number(&restored_url, &contacts(claims)).await), (0, 0));
    assert_eq!(shown(&system, entries, "entry", &given).await, left.len());
    assert_eq!(members_shown(&system, entries).await, left, "the late one who was erased stays away");
    assert_eq!(number(&restored_url, &contacts(entries)).await, left.len() as i64);
    nowhere_else(&system).await;
    for process in &system.processes {
        assert!(!process.log().contains("panicked"), "{}", process.log());
    }
    Figures::default()
        .with("shown_before", before as i64)
        .with("shown_after", after as i64)
        .with("opened_in_dump", opens as i64)
        .with("kept", left.len() as i64)
        .with("refused_before_ready", refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_before_shows_no_contact_that_was_deleted_or_erased() {
    rounds("contacts", async |seed| dump_restored(seed).await).await;
}
