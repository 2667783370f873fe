//! `event-system keys` as operators run it: the key-encryption key is rotated, and nothing sealed before is lost.
#![allow(clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use shared_domain::{Contact, EntryId};
use shared_runtime::clock::SystemRandom;
use shared_runtime::contact::seal;
use shared_runtime::keys::KeyEncryptionKey;
use shared_runtime::store::{DatabaseArgs, KeyStore, KeyStoreArgs};

/// Exit code, and all that was printed.
fn run(args: &[&str], key_store: &str, key: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_event-system"))
        .env_clear()
        .args(args)
        .env("DATABASE_URL", key_store)
        .env("KEY_STORE_URL", key_store)
        .env("KEY_ENCRYPTION_KEY_FILE", key)
        .output()
        .expect("starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), text.concat())
}

#[tokio::test]
async fn a_rotation_leaves_every_contact_to_the_new_key() {
    const EVENT: i64 = 7;
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("keys.db").display());
    let dir = |name: &str| folder.path().join(name);
    let file = |name: &str| dir(name).join("key-encryption.key");
    for name in ["old", "new", "other"] {
        let made = run(&["keys", "init", "--dir", dir(name).to_str().expect("UTF-8")], &url, &file("old"));
        assert_eq!(made.0, Some(0), "{}", made.1);
    }
    let migrated = run(&["migrate"], &url, &file("old"));
    assert_eq!(migrated.0, Some(0), "{}", migrated.1);

    let args = KeyStoreArgs { key_store_url: Some(url.clone()) };
    let keys = KeyStore::of(&args, &DatabaseArgs::default()).expect("key store");
    let read = |name: &str| KeyEncryptionKey::read(&file(name)).expect("a key");
    let public = keys.public_key(EVENT, &read("old"), &SystemRandom, 0).await.expect("made");
    let entry = EntryId::from_bytes([3; 16]);
    let given = Contact { phone_number: None, email: Some("a@b.example".to_owned()), address: None };
    let sealed = seal(&public, EVENT, entry, &given).expect("sealed");

    let rotate = |to: &str, key: PathBuf| {
        let to = file(to);
        run(&["keys", "rotate", "--to", to.to_str().expect("UTF-8")], &url, &key)
    };
    let refused = rotate("old", file("old"));
    assert!(refused.0 == Some(2) && refused.1.contains("--to: is the same key"), "{refused:?}");
    let refused = rotate("new", file("other"));
    assert!(refused.0 == Some(2) && refused.1.contains("KEY_ENCRYPTION_KEY_FILE: "), "{refused:?}");
    let refused = rotate("nowhere", file("old"));
    assert!(refused.0 == Some(2) && refused.1.contains("--to: "), "{refused:?}");
    let done = rotate("new", file("old"));
    assert!(done.0 == Some(0) && done.1.starts_with("1 keys are wrapped by "), "{done:?}");
    let again = rotate("new", file("old"));
    assert!(again.0 == Some(0) && again.1.starts_with("0 keys"), "{again:?}");

    let opened = keys.secret_key(EVENT, &read("new")).await.expect("the new key").expect("it lives");
    assert!(opened.open(EVENT, entry, &sealed) == Ok(given), "the contact opens");
    assert!(keys.secret_key(EVENT, &read("old")).await.is_err(), "the old file opens nothing");
    let shown = |name: &str| run(&["keys", "show"], &url, &file(name)).1;
    assert!(shown("old") != shown("new") && shown("new").trim().len() == 64, "{}", shown("new"));
}
