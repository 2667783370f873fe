//! Kafka with TLS and SASL, Redis and MariaDB with TLS, users and rights: the whole path, each program as its own user;
//! then each wrong thing in turn. The servers are this test's own.
#![allow(clippy::expect_used)]

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use e2e::personal_data;
use e2e::process::{Process, run, run_to_end};
use e2e::secured::{Role, SecuredStack};
use e2e::system::System;
use serde_json::json;
use tokio::task::JoinSet;

const BUDGET: Duration = Duration::from_secs(60);
const WORKER: (&str, Role) = ("apply-worker", Role::Worker);
const KAFKA: &str = "KAFKA_BROKERS: cannot be reached: ";
const DATABASE: &str = "DATABASE_URL: cannot be reached: ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_proves_who_they_are_or_is_told_why_not() {
    let Some(stack) = SecuredStack::start() else { return };
    let mut system = stack.system().await;
    whole_path(&system).await;
    tools(&stack, &system).await;
    client_certificates(&stack, &mut system).await;
    wrong_at_kafka_and_database(&stack).await;
    wrong_at_redis(&stack, &system).await;
    expired(&stack).await;
    system.is_sound().await;
}

/// Entries, outcomes, sealed contacts, an export that opens them, a raffle and dead letters: as users that may no more.
async fn whole_path(system: &System) {
    let (event, winners) = personal_data::claimed(system).await;
    assert_eq!(personal_data::shown(system, event, "claim", &winners).await, winners.len());
    let raffle = system.open(json!({"type": "RAFFLE", "max_winners": 1})).await;
    system.enter(raffle, 1).await.is(201, "APPLIED_RAFFLE");
    for process in &system.processes[2..] {
        // Redis refuses nothing that they ask for.
        process.wait_for_metric("event_redis_requests_total", &["outcome=\"ok\""], 1.0, BUDGET).await;
        let refused = process.metric("event_redis_requests_total", &["outcome=\"error\""]).await;
        assert_eq!(refused, Some(0.0), "{}", process.log());
    }
}

/// The operator's tools, as a user that may read.
async fn tools(stack: &SecuredStack, system: &System) {
    let beside = |name: &str| system.key_file().with_file_name(name);
    let again = format!("sqlite://{}", beside("again.db").display());
    for args in [
        &["lanes", "list"][..],
        &["parked", "list"],
        &["replay", "--into", &again],
        &["reconcile", "--without-redis"],
    ] {
        let mut tool = stack.program("event-system", Role::Operator);
        tool.args(args).env("DECISION_KEY_FILE", beside("decision.key"));
        let (code, said) = run(tool).await;
        assert_eq!(code, Some(0), "{args:?}: {said}");
    }
}

/// A gateway whose user, at every server, is its certificate, or has to show it.
async fn client_certificates(stack: &SecuredStack, system: &mut System) {
    stack.redis(&["CONFIG", "SET", "tls-auth-clients", "yes"]);
    let event = system.open_event(1).await;
    let (mut second, addr) = stack.gateway_by_certificate(system);
    set(&mut second, "REDIS_CONNECT_TIMEOUT", "5s");
    let mut gateway = Process::spawn(second, "by-certificate");
    gateway.wait_until_ready(BUDGET).await;
    let first = std::mem::replace(&mut system.public, addr);
    system.until_status(event, "OPEN").await;
    let accepted = system.enter(event, 1).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(system.outcome(&accepted).await["status"], "WIN");
    gateway.wait_for_metric("event_redis_requests_total", &["outcome=\"ok\""], 1.0, BUDGET).await;
    system.public = first;

    // A sound gateway, but for the certificate.
    let (mut none, _) = stack.gateway(system);
    stack.at_certificate_port(&mut none);
    let (stranger, key) = stack.stranger();
    let (mut strange, _) = stack.gateway(system);
    stack.at_certificate_port(&mut strange);
    strange.env("KAFKA_CLIENT_CERT_FILE", &stranger).env("KAFKA_CLIENT_KEY_FILE", &key);
    let database = start(stack, |c| set(c, "DATABASE_URL", stack.url_by_certificate(Role::Worker)));
    ends_with_3(vec![
        (none, KAFKA, "alert bad certificate"),
        (strange, KAFKA, "alert bad certificate"),
        (database, DATABASE, "Access denied"),
    ])
    .await;
    redis_is_left_out(stack, system, |_| {}, "CertificateRequired").await;
    stack.redis(&["CONFIG", "SET", "tls-auth-clients", "optional"]);
}

/// A start with a change to good settings.
fn start(stack: &SecuredStack, change: impl FnOnce(&mut Command)) -> Command {
    let mut command = stack.program(WORKER.0, WORKER.1);
    change(&mut command);
    command
}

fn set(command: &mut Command, name: &str, value: impl AsRef<OsStr>) {
    command.env(name, value);
}

fn unset(command: &mut Command, name: &str) {
    command.env_remove(name);
}

/// Changes a part of a setting.
fn replace(command: &mut Command, name: &str, from: &str, to: &str) {
    let good = command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value?.to_str());
    let changed = good.expect("a setting").replacen(from, to, 1);
    assert!(changed.contains(to), "{changed}");
    command.env(name, changed);
}

async fn wrong_at_kafka_and_database(stack: &SecuredStack) {
    let (stranger, _) = stack.stranger();
    // The tool asks nobody but Kafka.
    let kafka = |change: &dyn Fn(&mut Command), why| {
        let mut command = stack.program("event-system", WORKER.1);
        command.args(["topics", "check"]);
        change(&mut command);
        (command, KAFKA, why)
    };
    let database = |change: &dyn Fn(&mut Command), why| (start(stack, change), DATABASE, why);
    let other_password = stack.tls("admin.password");
    let mut topics = stack.program("event-system", Role::Gateway);
    topics.args(["topics", "create"]).env("KAFKA_TOPIC_PREFIX", "another-");
    ends_with_3(vec![
        kafka(&|c| set(c, "KAFKA_CA_FILE", &stranger), "certificate verify failed"),
        // The system's authorities do not know these servers either.
        kafka(&|c| unset(c, "KAFKA_CA_FILE"), "certificate verify failed"),
        kafka(&|c| replace(c, "KAFKA_BROKERS", "127.0.0.1", "localhost"), "certificate verify failed"),
        kafka(&|c| set(c, "KAFKA_SASL_PASSWORD_FILE", &other_password), "Authentication failed"),
        kafka(
            &|c| {
                c.env("KAFKA_SASL_PASSWORD_FILE", &other_password)
                    .env("KAFKA_SASL_MECHANISM", "SCRAM-SHA-256");
            },
            "invalid credentials",
        ),
        kafka(&|c| set(c, "KAFKA_SASL_USERNAME", "nobody"), "Authentication failed"),
        kafka(
            &|c| {
                for name in
                    ["SECURITY_PROTOCOL", "SASL_MECHANISM", "SASL_USERNAME", "SASL_PASSWORD_FILE", "CA_FILE"]
                {
                    c.env_remove(format!("KAFKA_{name}"));
                }
            },
            "",
        ),
        (topics, KAFKA, "Topic authorization failed"),
        database(&|c| set(c, "DATABASE_CA_FILE", &stranger), "UnknownIssuer"),
        database(&|c| replace(c, "DATABASE_URL", "127.0.0.1", "localhost"), "not valid for name"),
        database(&|c| unset(c, "DATABASE_CA_FILE"), "Access denied"),
        database(&|c| replace(c, "DATABASE_URL", "event_worker:", "event_worker:wrong"), "Access denied"),
    ])
    .await;
}

/// Redis is a hint: a gateway that it does not take runs without it, and says why.
async fn wrong_at_redis(stack: &SecuredStack, system: &System) {
    let (stranger, _) = stack.stranger();
    let left_out =
        async |change: &dyn Fn(&mut Command), why| redis_is_left_out(stack, system, change, why).await;
    left_out(&|c| set(c, "REDIS_CA_FILE", &stranger), "UnknownIssuer").await;
    left_out(&|c| replace(c, "REDIS_URL", "gateway:", "gateway:wrong"), "Password authentication failed")
        .await;
    left_out(&|c| replace(c, "REDIS_URL", "127.0.0.1", "localhost"), "not valid for name").await;
    left_out(
        &|c| {
            replace(c, "REDIS_URL", "rediss:", "redis:");
            c.env_remove("REDIS_CA_FILE");
        },
        "",
    )
    .await;
}

async fn redis_is_left_out(
    stack: &SecuredStack,
    system: &System,
    change: impl FnOnce(&mut Command),
    why: &str,
) {
    let (mut command, _) = stack.gateway(system);
    change(&mut command);
    // A handshake that fails, and not one that takes too long.
    set(&mut command, "REDIS_CONNECT_TIMEOUT", "5s");
    let mut gateway = Process::spawn(command, "without-redis");
    gateway.wait_until_ready(BUDGET).await;
    gateway.wait_for_metric("event_redis_breaker_open", &[], 1.0, BUDGET).await;
    let log = gateway.log();
    let told = log.lines().find(|line| line.contains("Redis is not asked for a while")).expect("a word");
    assert!(says(told, why), "{why}: {told}");
    assert_eq!(gateway.metric("event_redis_requests_total", &["outcome=\"ok\""]).await, Some(0.0), "{log}");
}

/// The drivers write the same reason with capitals or without.
fn says(line: &str, why: &str) -> bool {
    line.to_lowercase().contains(&why.to_lowercase())
}

/// Certificates end. (All of them, so that a gateway, which wants Kafka first, cannot tell of Redis.)
async fn expired(stack: &SecuredStack) {
    stack.expire();
    let mut topics = stack.program("event-system", Role::Operator);
    topics.args(["topics", "check"]);
    ends_with_3(vec![
        (start(stack, |_| {}), DATABASE, "expired"),
        (topics, KAFKA, "certificate verify failed"),
    ])
    .await;
}

/// Every start ends with 3, names the store and says why; and the password is in none of it.
async fn ends_with_3(starts: Vec<(Command, &'static str, &'static str)>) {
    let mut runs = JoinSet::new();
    let mut wrong: Vec<String> = Vec::new();
    for (command, store, why) in starts {
        if runs.len() >= 4 {
            wrong.extend(runs.join_next().await.expect("one").expect("no panic"));
        }
        runs.spawn(async move {
            let settings = format!("{command:?}");
            let url =
                command.get_envs().find(|(key, _)| *key == "DATABASE_URL").and_then(|(_, url)| url?.to_str());
            let password = url.and_then(|url| url.split([':', '@']).nth(2)).expect("a password").to_owned();
            let output = run_to_end(command, BUDGET).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let line = said.lines().last().unwrap_or_default();
            let told = line.contains(store) && says(line, why) && !said.contains(&password);
            let ok = output.status.code() == Some(3) && told;
            (!ok).then(|| format!("{settings}: not {store}… {why}: {:?}: {said}", output.status.code()))
        });
    }
    wrong.extend(runs.join_all().await.into_iter().flatten());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
