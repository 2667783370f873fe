//! Clients made from the listeners' OpenAPI documents work: one of them goes a member's whole way (`make test`).
#![allow(clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::system::System;
use serde_json::json;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/generated_client");
/// Every module of a generated client can be loaded.
const LOAD: &str = "import importlib, pkgutil, admin_client\n\
    names = [m.name for m in pkgutil.walk_packages(admin_client.__path__, 'admin_client.')]\n\
    assert len(names) > 50, names\n\
    [importlib.import_module(name) for name in names]";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_client_goes_a_members_whole_way() {
    let system = System::embedded().await;
    let folder = tempfile::tempdir().expect("folder");
    for (listener, addr) in [("public", system.public), ("admin", system.admin)] {
        let mut generate = Command::new(program("openapi-python-client"));
        generate
            .args(["generate", "--fail-on-warning", "--meta", "none"])
            .args(["--url", &format!("http://{addr}/openapi.json")])
            .args(["--config", &format!("{SOURCES}/config.yaml")])
            .arg("--output-path")
            .arg(folder.path().join(format!("{listener}_client")));
        run(generate, "").await;
    }
    run(python(folder.path(), &["-c", LOAD]), "").await;

    let raffle = json!({"type": "RAFFLE", "max_winners": 1});
    let event = json!({
        "type": "FIRST_COME", "stock": [{"count": 3}], "contact_collection": "AFTER_WIN",
        "reward": {"reward_type": "FIXED", "fixed_amount": 7},
    });
    let walk = json!({"type": "GENERAL", "missions": [
        {"title": "Walk", "mission_type": "STEP_COUNT", "goal_value": 10, "self_reported": true},
    ]});
    let token = |member| system.key.issue_member(member, Duration::from_secs(600)).expect("token");
    let given = json!({
        "url": format!("http://{}", system.public), "token": token(1), "other_token": token(2),
        "event": system.open(event).await, "raffle": system.open(raffle).await, "walk": system.open(walk).await,
    });
    run(python(folder.path(), &[&format!("{SOURCES}/member.py")]), &given.to_string()).await;
    system.is_sound().await;
}

/// A program of the environment that `make test` makes.
fn program(name: &str) -> PathBuf {
    let folder = std::env::var("OPENAPI_CLIENT_BIN").expect("OPENAPI_CLIENT_BIN is not set; run `make test`");
    Path::new(&folder).join(name)
}

/// Python where the generated clients are packages.
fn python(clients: &Path, args: &[&str]) -> Command {
    let mut python = Command::new(program("python3"));
    python.args(args).env("PYTHONPATH", clients).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

async fn run(mut command: Command, input: &str) {
    let input = input.to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().expect("stdin");
        std::io::Write::write_all(&mut stdin, input.as_bytes())?;
        drop(stdin);
        child.wait_with_output()
    });
    let output = ran.await.expect("no panic").expect("it starts");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}: {}", output.status, said.join("\n"));
}
