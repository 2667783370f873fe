//! Faults of the servers themselves, by the stack's own script, and backups of a database.

use std::process::{Command, Stdio};

/// Runs `stack.sh COMMAND NAME`.
pub async fn stack(command: &'static str, name: &'static str) {
    let script = std::env::var("STACK_SCRIPT").expect("STACK_SCRIPT is not set; run `make test`");
    let run = move || Command::new(script).args([command, name]).stdout(Stdio::null()).status();
    let status = tokio::task::spawn_blocking(run).await.expect("no panic").expect("the script starts");
    assert!(status.success(), "{command} {name}: {status}");
}

/// Client arguments of a `mysql://` URL, and its database.
fn client(program: &str, url: &str) -> (Command, String) {
    let rest = url.strip_prefix("mysql://").expect("mysql://");
    let (login, rest) = rest.split_once('@').expect("a login in the URL");
    let (user, password) = login.split_once(':').expect("a password in the URL");
    let (server, database) = rest.split_once('/').expect("a database in the URL");
    let (host, port) = server.split_once(':').expect("a port in the URL");
    let mut command = Command::new(program);
    command.args(["--no-defaults", "-h", host, "-P", port, "-u", user, &format!("-p{password}")]);
    (command, database.to_owned())
}

/// A consistent backup of a database while it is in use.
pub async fn backup(url: &str) -> Vec<u8> {
    let (mut command, database) = client("mariadb-dump", url);
    command.args(["--single-transaction", "--skip-lock-tables", &database]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let output = output.expect("mariadb-dump starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Loads a backup into an empty database.
pub async fn load_backup(url: &str, dump: Vec<u8>) {
    let (mut command, database) = client("mariadb", url);
    command.arg(&database).stdin(Stdio::piped());
    let run = move || {
        let mut child = command.spawn().expect("mariadb starts");
        std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), &dump).expect("dump");
        child.wait().expect("wait")
    };
    assert!(tokio::task::spawn_blocking(run).await.expect("no panic").success());
}
