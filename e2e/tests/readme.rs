//! The README's first request, as it is written.
#![allow(clippy::expect_used)]

use std::process::{Command, Stdio};

use e2e::process::binary;
use e2e::system::System;

const README: &str = include_str!("../../README.md");

/// The only changes: where the program, its key and its listeners are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_ends_with_202() {
    let system = System::embedded().await;
    let (_, section) = README.split_once("## A first request").expect("the section");
    let script = section.split("```").nth(1).expect("its commands").trim_start();
    for written in ["E=target/release/event-system\n", "127.0.0.1:8080", "127.0.0.1:8081"] {
        assert!(script.contains(written), "{written} is not in the README");
    }
    let script = script
        .replace("E=target/release/event-system", &format!("E='{}'", binary("event-system").display()))
        .replace("127.0.0.1:8080", &system.public.to_string())
        .replace("127.0.0.1:8081", &system.admin.to_string());
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script]).env("AUTH_DEV_KEY_FILE", system.key_file());
    bash.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || bash.output()).await.expect("no panic").expect("bash");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    let answer = said.rsplit_once(r#"{"entry_id""#).expect("the last answer").1;
    for promised in [r#""code":"APPLIED""#, r#""status":"QUEUED""#, r#""receipt":""#] {
        assert!(answer.contains(promised), "{said}");
    }
    assert_eq!(system.event(1).await.text("title"), "Ten mugs");
}
