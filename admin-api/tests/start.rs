//! The binary refuses to start open to the world without an issuer.
#![allow(missing_docs, clippy::unwrap_used)]

use std::process::Command;

fn refused(settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_admin-api"));
    command.env_clear().envs([
        ("DATABASE_URL", "mysql://nobody@127.0.0.1:1/none"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("KAFKA_BROKERS", "127.0.0.1:1"),
        ("OPS_ADDR", "127.0.0.1:0"),
    ]);
    let output = command.envs(settings.iter().copied()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn an_open_listener_needs_an_issuer() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("dev.key");
    std::fs::write(&key, [7; 32]).unwrap();
    let key = key.to_str().unwrap();
    let set = folder.path().join("keys.json");
    std::fs::write(&set, r#"{"keys":[]}"#).unwrap();
    let set = set.to_str().unwrap();
    for addr in ["0.0.0.0:0", "[::]:0"] {
        for (settings, named) in [
            (vec![], "AUTH_JWKS"),
            (vec![("AUTH_DEV_KEY_FILE", key)], "AUTH_DEV_KEY_FILE"),
            (vec![("AUTH_JWKS", set)], "AUTH_ISSUER"),
            (vec![("AUTH_JWKS", set), ("AUTH_ISSUER", "https://id.example")], "AUTH_ADMIN_AUDIENCE"),
        ] {
            let settings = [&settings[..], &[("ADMIN_ADDR", addr)]].concat();
            let (code, said) = refused(&settings);
            assert_eq!(code, Some(2), "{settings:?}: {said}");
            assert!(said.contains(named), "{settings:?}: {said}");
        }
    }
}
