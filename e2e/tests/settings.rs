//! How every program starts with settings that are wrong: exit 2 and a message that names the setting; exit 3 when
//! something that it needs does not answer.
#![allow(clippy::expect_used)]

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use e2e::process::{free_port, run_to_end};
use e2e::system::clean;
use shared_runtime::auth::DevKey;
use shared_runtime::keys::{DecisionKey, KeyEncryptionKey};
use shared_runtime::store::{migrate, migrate_key_store};
use tokio::task::JoinSet;

const BUDGET: Duration = Duration::from_secs(60);
const WORKER: &str = "apply-worker";
const RAFFLES: &str = "raffle-worker";
const ADMIN: &str = "admin-api";
const GATEWAY: &str = "api-gateway";
const SERVE: &str = "event-system";

/// Good settings but for Kafka and Redis, which nobody answers.
async fn ground() -> (tempfile::TempDir, Vec<(&'static str, String)>) {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite://{}", folder.path().join("events.db").display());
    migrate(&url, false).await.expect("migrations");
    let key = folder.path().join("dev.key");
    DevKey::create(&key).expect("key");
    let decision = folder.path().join("decision.key");
    DecisionKey::read_or_create(&decision).expect("key");
    migrate_key_store(&url, false).await.expect("migrations");
    let wrapping = folder.path().join("key-encryption.key");
    KeyEncryptionKey::read_or_create(&wrapping).expect("key");
    let settings = vec![
        ("KEY_ENCRYPTION_KEY_FILE", wrapping.display().to_string()),
        ("DATABASE_URL", url),
        ("REDIS_URL", format!("redis://127.0.0.1:{}", free_port())),
        ("KAFKA_BROKERS", format!("127.0.0.1:{}", free_port())),
        ("AUTH_DEV_KEY_FILE", key.display().to_string()),
        ("DECISION_KEY_FILE", decision.display().to_string()),
        ("DATA_DIR", folder.path().display().to_string()),
        ("PUBLIC_ADDR", "127.0.0.1:0".to_owned()),
        ("ADMIN_ADDR", "127.0.0.1:0".to_owned()),
        ("OPS_ADDR", "127.0.0.1:0".to_owned()),
    ];
    (folder, settings)
}

/// Runs a program to its end, with some settings changed; an empty name adds an argument.
async fn run(program: &str, settings: &[(&'static str, String)], changes: &[(&str, String)]) -> Output {
    let mut command = clean(program);
    if program == SERVE {
        command.arg("serve");
    }
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    for (name, value) in changes {
        match (*name, value.as_str()) {
            ("", argument) => drop(command.arg(argument)),
            (name, "(unset)") => drop(command.env_remove(name)),
            (name, value) => drop(command.env(name, value)),
        }
    }
    run_to_end(command, BUDGET).await
}

/// Programs, the setting, its value, and what the message must name.
type Case = (&'static [&'static str], &'static str, String, &'static str);

fn cases(folder: &Path) -> Vec<Case> {
    const ALL: &[&str] = &[WORKER, RAFFLES, ADMIN, GATEWAY, SERVE];
    const DECIDING: &[&str] = &[WORKER, RAFFLES, ADMIN, SERVE];
    const HTTP: &[&str] = &[ADMIN, GATEWAY, SERVE];
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).expect("file");
        path.display().to_string()
    };
    let missing = folder.join("missing").display().to_string();
    let text = |text: &str| text.to_owned();
    let mut cases = vec![
        // Stores.
        (ALL, "DATABASE_URL", text("postgres://x"), "DATABASE_URL"),
        (ALL, "DATABASE_URL", text(""), "DATABASE_URL"),
        (ALL, "DATABASE_URL", text("(unset)"), "DATABASE_URL"),
        (ALL, "DATABASE_URL", text("mysql://root@127.0.0.1:port/x"), "DATABASE_URL"),
        (ALL, "DATABASE_POOL_SIZE", text("many"), "DATABASE_POOL_SIZE"),
        (ALL, "DATABASE_POOL_SIZE", text("0"), "DATABASE_POOL_SIZE"),
        (ALL, "DATABASE_LOCK_WAIT", text("5"), "DATABASE_LOCK_WAIT"),
        (HTTP, "REDIS_URL", text("http://127.0.0.1"), "REDIS_URL"),
        (HTTP, "REDIS_URL", text(""), "REDIS_URL"),
        (HTTP, "REDIS_URL", text("(unset)"), "REDIS_URL"),
        (HTTP, "REDIS_POOL_SIZE", text("0"), "REDIS_POOL_SIZE"),
        (HTTP, "REDIS_TIMEOUT", text("soon"), "REDIS_TIMEOUT"),
        (ALL, "KAFKA_BROKERS", text(""), "KAFKA_BROKERS"),
        (ALL, "KAFKA_BROKERS", text("(unset)"), "KAFKA_BROKERS"),
        (ALL, "KAFKA_SECURITY_PROTOCOL", text("tls"), "KAFKA_SECURITY_PROTOCOL"),
        (ALL, "KAFKA_SESSION_TIMEOUT", text("-1s"), "KAFKA_SESSION_TIMEOUT"),
        (ALL, "KAFKA_GROUP_INSTANCE_ID", text("worker/0"), "KAFKA_GROUP_INSTANCE_ID"),
        (ALL, "KAFKA_GROUP_INSTANCE_ID", text(""), "KAFKA_GROUP_INSTANCE_ID"),
        (ALL, "KAFKA_MESSAGE_TIMEOUT", text("3 apples"), "KAFKA_MESSAGE_TIMEOUT"),
        (ALL, "MIN_LOG_RETENTION", text("week"), "MIN_LOG_RETENTION"),
        (ALL, "ALLOW_UNSAFE_LOG", text("perhaps"), "ALLOW_UNSAFE_LOG"),
        // Tokens.
        (HTTP, "AUTH_DEV_KEY_FILE", missing.clone(), "AUTH_DEV_KEY_FILE"),
        (HTTP, "AUTH_DEV_KEY_FILE", file("short.key", &[1; 31]), "AUTH_DEV_KEY_FILE"),
        (HTTP, "AUTH_DEV_KEY_FILE", folder.display().to_string(), "AUTH_DEV_KEY_FILE"),
        (HTTP, "AUTH_JWKS", missing.clone(), "AUTH_"),
        (HTTP, "AUTH_CACHE_ENTRIES", text("1e6"), "AUTH_CACHE_ENTRIES"),
        // Keys and beacons.
        (DECIDING, "DECISION_KEY_FILE", missing.clone(), "DECISION_KEY_FILE"),
        (DECIDING, "DECISION_KEY_FILE", file("short-decision.key", &[1; 31]), "DECISION_KEY_FILE"),
        (&[ADMIN, SERVE], "DECISION_KEY_FILE", text("(unset)"), "DECISION_KEY_FILE"),
        (&[ADMIN, SERVE], "DRAND_CHAINS_FILE", missing.clone(), "DRAND_CHAINS_FILE"),
        (&[ADMIN, SERVE], "DRAND_CHAINS_FILE", file("no-chains.json", b"{}"), "DRAND_CHAINS_FILE"),
        // Keys of contacts.
        (&[ADMIN, SERVE], "KEY_ENCRYPTION_KEY_FILE", missing.clone(), "KEY_ENCRYPTION_KEY_FILE"),
        (&[ADMIN, SERVE], "KEY_ENCRYPTION_KEY_FILE", text("(unset)"), "KEY_ENCRYPTION_KEY_FILE"),
        (&[ADMIN, SERVE], "KEY_ENCRYPTION_KEY_FILE", file("long.key", &[1; 33]), "KEY_ENCRYPTION_KEY_FILE"),
        (&[ADMIN, SERVE], "KEY_STORE_URL", text("postgres://x"), "KEY_STORE_URL"),
        (&[ADMIN, SERVE], "KEY_STORE_URL", text(""), "KEY_STORE_URL"),
        (&[ADMIN, SERVE], "BACKUP_LIFE", text("a month"), "BACKUP_LIFE"),
        // Listeners.
        (&[GATEWAY, SERVE], "PUBLIC_ADDR", text("0.0.0.0:0"), "AUTH_DEV_KEY_FILE"),
        (&[ADMIN, SERVE], "ADMIN_ADDR", text("0.0.0.0:0"), "AUTH_DEV_KEY_FILE"),
        (&[GATEWAY, SERVE], "PUBLIC_ADDR", text("localhost"), "PUBLIC_ADDR"),
        (&[ADMIN, SERVE], "ADMIN_ADDR", text("127.0.0.1:70000"), "ADMIN_ADDR"),
        (ALL, "OPS_ADDR", text("127.0.0.1"), "OPS_ADDR"),
        (HTTP, "MAX_IN_FLIGHT", text("-1"), "MAX_IN_FLIGHT"),
        (HTTP, "MAX_CONNECTIONS", text("lots"), "MAX_CONNECTIONS"),
        (HTTP, "BODY_LIMIT", text("16KiB"), "BODY_LIMIT"),
        (HTTP, "REQUEST_TIMEOUT", text("15"), "REQUEST_TIMEOUT"),
        (HTTP, "CORS_ALLOWED_ORIGINS", text("shop.example/path"), "CORS_ALLOWED_ORIGINS"),
        // Life and log.
        (ALL, "DRAIN_BUDGET", text("long"), "DRAIN_BUDGET"),
        (ALL, "SHUTDOWN_BUDGET", text("long"), "SHUTDOWN_BUDGET"),
        (ALL, "LOG", text("info,=="), "LOG"),
        (ALL, "LOG_FORMAT", text("xml"), "LOG_FORMAT"),
        // Traces.
        (ALL, "OTEL_EXPORTER_OTLP_ENDPOINT", text(""), "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (ALL, "OTEL_EXPORTER_OTLP_ENDPOINT", text("collector:4318"), "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (ALL, "OTEL_EXPORTER_OTLP_ENDPOINT", text("grpc://collector:4317"), "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (
            ALL,
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            text("http://me:secret@collector:4318"),
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        (ALL, "TRACE_SAMPLE_RATIO", text("1.5"), "TRACE_SAMPLE_RATIO"),
        (ALL, "TRACE_SAMPLE_RATIO", text("NaN"), "TRACE_SAMPLE_RATIO"),
        (ALL, "TRACE_SAMPLE_RATIO", text("1%"), "TRACE_SAMPLE_RATIO"),
        // Their own.
        (&[WORKER, SERVE], "BATCH_RECORDS", text("0"), "BATCH_RECORDS"),
        (&[WORKER, SERVE], "BATCH_RECORDS", text("1.5"), "BATCH_RECORDS"),
        (&[WORKER, SERVE], "BATCH_AGE", text("quick"), "BATCH_AGE"),
        (&[GATEWAY, SERVE], "RATE_LIMIT_PER_SECOND", text("-1"), "RATE_LIMIT_PER_SECOND"),
        (&[GATEWAY, SERVE], "RAFFLE_RATE_LIMIT_PER_SECOND", text("x"), "RAFFLE_RATE_LIMIT_PER_SECOND"),
        (&[GATEWAY, SERVE], "MEMBER_RATE_LIMIT_PER_SECOND", text("-5"), "MEMBER_RATE_LIMIT_PER_SECOND"),
        (&[GATEWAY, SERVE], "SNAPSHOT_INTERVAL", text("0s"), "SNAPSHOT_INTERVAL"),
        (&[GATEWAY, SERVE], "SNAPSHOT_INTERVAL", text("2s"), "SNAPSHOT_INTERVAL"),
        (&[GATEWAY, SERVE], "MAX_STREAMS", text("-1"), "MAX_STREAMS"),
        (&[GATEWAY, SERVE], "MAX_STREAMS", u64::MAX.to_string(), "MAX_STREAMS"),
        (&[GATEWAY, SERVE], "MAX_STREAMS_PER_MEMBER", text("0"), "MAX_STREAMS_PER_MEMBER"),
        (&[GATEWAY, SERVE], "STREAM_HEARTBEAT", text("0s"), "STREAM_HEARTBEAT"),
        (&[ADMIN, SERVE], "CLOSE_GRACE", text("1s"), "CLOSE_GRACE"),
        (&[ADMIN, SERVE], "CLOSE_GRACE", text("2h"), "CLOSE_GRACE"),
        (&[SERVE], "DATA_DIR", file("a-file", b""), "DATA_DIR"),
    ];
    for (name, value) in [("", "--no-such-flag"), ("", "--log"), ("", "surplus")] {
        let named = if value == "--log" { "--log" } else { value };
        cases.push((ALL, name, value.to_owned(), named));
    }
    cases
}

/// Program, all settings, and what the message must name.
type SecuredCase = (&'static str, Vec<(&'static str, String)>, &'static str);

/// TLS and users: settings that make no sense alone or together.
fn secured_cases(folder: &Path) -> Vec<SecuredCase> {
    let certificate = |name: &str| {
        let (cert, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        let mut openssl = std::process::Command::new("openssl");
        openssl.args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x", "-keyout",
        ]);
        let made = openssl.arg(&key).arg("-out").arg(&cert).output().expect("openssl");
        assert!(made.status.success(), "{made:?}");
        (cert.display().to_string(), key.display().to_string())
    };
    let ((cert, key), (_, other_key)) = (certificate("one"), certificate("other"));
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("file");
        path.display().to_string()
    };
    let password = file("password", "secret\n");
    let missing = folder.join("missing").display().to_string();
    let sasl = |changes: &[(&'static str, &str)]| {
        let mut settings = vec![
            ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL".to_owned()),
            ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512".to_owned()),
            ("KAFKA_SASL_USERNAME", "worker".to_owned()),
            ("KAFKA_SASL_PASSWORD_FILE", password.clone()),
            ("KAFKA_CA_FILE", cert.clone()),
        ];
        settings.extend(changes.iter().map(|(name, value)| (*name, (*value).to_owned())));
        settings
    };
    let of = |settings: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    };
    let mysql = ("DATABASE_URL", "mysql://u:p@127.0.0.1:1/events");
    let tls = ("DATABASE_CA_FILE", &*cert);
    let rediss = ("REDIS_URL", "rediss://127.0.0.1:1/0");
    vec![
        // Kafka: one without the other.
        (WORKER, of(&[("KAFKA_CA_FILE", &cert)]), "KAFKA_CA_FILE"),
        (SERVE, of(&[("KAFKA_SASL_USERNAME", "worker")]), "KAFKA_SASL_USERNAME"),
        (WORKER, of(&[("KAFKA_SASL_PASSWORD_FILE", &password)]), "KAFKA_SASL_PASSWORD_FILE"),
        (
            GATEWAY,
            of(&[("KAFKA_SECURITY_PROTOCOL", "ssl"), ("KAFKA_SASL_MECHANISM", "PLAIN")]),
            "KAFKA_SASL_MECHANISM",
        ),
        (ADMIN, of(&[("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext")]), "KAFKA_SASL_MECHANISM"),
        (WORKER, sasl(&[("KAFKA_SASL_MECHANISM", "(unset)")]), "KAFKA_SASL_MECHANISM"),
        (WORKER, sasl(&[("KAFKA_SASL_USERNAME", "(unset)")]), "KAFKA_SASL_USERNAME"),
        (WORKER, sasl(&[("KAFKA_SASL_PASSWORD_FILE", "(unset)")]), "KAFKA_SASL_PASSWORD_FILE"),
        (WORKER, sasl(&[("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext")]), "KAFKA_CA_FILE"),
        (
            WORKER,
            sasl(&[
                ("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
                ("KAFKA_CA_FILE", "(unset)"),
                ("KAFKA_SASL_MECHANISM", "PLAIN"),
            ]),
            "KAFKA_SASL_MECHANISM",
        ),
        // Kafka: values and files.
        (WORKER, sasl(&[("KAFKA_SASL_MECHANISM", "GSSAPI")]), "KAFKA_SASL_MECHANISM"),
        (WORKER, sasl(&[("KAFKA_SASL_USERNAME", "")]), "KAFKA_SASL_USERNAME"),
        (WORKER, sasl(&[("KAFKA_SASL_PASSWORD_FILE", &missing)]), "KAFKA_SASL_PASSWORD_FILE"),
        (WORKER, sasl(&[("KAFKA_SASL_PASSWORD_FILE", &file("empty", "\n"))]), "KAFKA_SASL_PASSWORD_FILE"),
        (WORKER, sasl(&[("KAFKA_SASL_PASSWORD_FILE", &file("two", "a\nb"))]), "KAFKA_SASL_PASSWORD_FILE"),
        (WORKER, sasl(&[("KAFKA_CA_FILE", &missing)]), "KAFKA_CA_FILE"),
        (WORKER, sasl(&[("KAFKA_CA_FILE", &key)]), "KAFKA_CA_FILE"),
        (WORKER, sasl(&[("KAFKA_CLIENT_CERT_FILE", &cert)]), "KAFKA_CLIENT_KEY_FILE"),
        (WORKER, sasl(&[("KAFKA_CLIENT_KEY_FILE", &key)]), "KAFKA_CLIENT_CERT_FILE"),
        (
            WORKER,
            sasl(&[("KAFKA_CLIENT_CERT_FILE", &cert), ("KAFKA_CLIENT_KEY_FILE", &cert)]),
            "KAFKA_CLIENT_KEY_FILE",
        ),
        (
            WORKER,
            sasl(&[("KAFKA_CLIENT_CERT_FILE", &cert), ("KAFKA_CLIENT_KEY_FILE", &other_key)]),
            "KAFKA_CLIENT_KEY_FILE",
        ),
        // Redis.
        (GATEWAY, of(&[("REDIS_CA_FILE", &cert)]), "REDIS_CA_FILE"),
        (
            ADMIN,
            of(&[("REDIS_CLIENT_CERT_FILE", &cert), ("REDIS_CLIENT_KEY_FILE", &key)]),
            "REDIS_CLIENT_CERT_FILE",
        ),
        (GATEWAY, of(&[rediss, ("REDIS_CA_FILE", &missing)]), "REDIS_CA_FILE"),
        (GATEWAY, of(&[rediss, ("REDIS_CLIENT_CERT_FILE", &cert)]), "REDIS_CLIENT_KEY_FILE"),
        (GATEWAY, of(&[("REDIS_URL", "rediss://127.0.0.1:1/0#insecure")]), "REDIS_URL"),
        // The database.
        (WORKER, of(&[tls]), "DATABASE_CA_FILE"),
        (WORKER, of(&[mysql, ("DATABASE_CA_FILE", &missing)]), "DATABASE_CA_FILE"),
        (ADMIN, of(&[mysql, ("DATABASE_CA_FILE", &key)]), "DATABASE_CA_FILE"),
        (
            WORKER,
            of(&[mysql, ("DATABASE_CLIENT_CERT_FILE", &cert), ("DATABASE_CLIENT_KEY_FILE", &key)]),
            "DATABASE_CA_FILE",
        ),
        (WORKER, of(&[mysql, tls, ("DATABASE_CLIENT_CERT_FILE", &cert)]), "DATABASE_CLIENT_KEY_FILE"),
        // PKCS#8, which MySQL's driver does not read.
        (
            GATEWAY,
            of(&[mysql, tls, ("DATABASE_CLIENT_CERT_FILE", &cert), ("DATABASE_CLIENT_KEY_FILE", &key)]),
            "DATABASE_CLIENT_KEY_FILE",
        ),
        (WORKER, of(&[("DATABASE_URL", "mysql://u:p@127.0.0.1:1/events?require_ssl=true")]), "DATABASE_URL"),
        (
            GATEWAY,
            of(&[tls, ("DATABASE_URL", "mysql://u:p@127.0.0.1:1/events?verify_ca=false")]),
            "DATABASE_URL",
        ),
        (
            ADMIN,
            of(&[tls, mysql, ("KEY_STORE_URL", "mysql://u:p@127.0.0.1:1/keys?verify_identity=false")]),
            "KEY_STORE_URL",
        ),
        // Embedded stores have neither.
        (
            SERVE,
            of(&[
                ("DATABASE_URL", "(unset)"),
                ("REDIS_URL", "(unset)"),
                ("KAFKA_BROKERS", "(unset)"),
                ("KAFKA_SECURITY_PROTOCOL", "ssl"),
            ]),
            "KAFKA_SECURITY_PROTOCOL",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_users_are_set_whole_or_not_at_all() {
    let (folder, settings) = ground().await;
    let mut runs = JoinSet::new();
    let mut wrong = Vec::new();
    for (program, changes, named) in secured_cases(folder.path()) {
        let settings = settings.clone();
        runs.spawn(async move { refused(program, &settings, &changes, named).await });
        if runs.len() >= 6 {
            wrong.extend(runs.join_next().await.expect("one").expect("no panic"));
        }
    }
    wrong.extend(runs.join_all().await.into_iter().flatten());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What was wrong with a start that had to end with 2 and name a setting.
async fn refused(
    program: &str,
    settings: &[(&'static str, String)],
    changes: &[(&'static str, String)],
    named: &str,
) -> Option<String> {
    let output = run(program, settings, changes).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // clap names the flag.
    let flag = format!("--{}", named.to_lowercase().replace('_', "-"));
    let names = said.contains(named) || said.contains(&flag);
    let ok = output.status.code() == Some(2) && names && !said.contains("panicked");
    (!ok).then(|| format!("{program} {changes:?}: {:?}: {said}", output.status.code()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_setting_is_named_and_ends_the_start_with_2() {
    let (folder, settings) = ground().await;
    let mut runs = JoinSet::new();
    let mut wrong = Vec::new();
    for (programs, name, value, named) in cases(folder.path()) {
        for program in programs {
            let mut changes = vec![(name, value.clone())];
            if name == "AUTH_JWKS" {
                changes.push(("AUTH_DEV_KEY_FILE", "(unset)".to_owned()));
            }
            if name == "DATA_DIR" {
                // Only the embedded stores lie there.
                changes.extend(
                    ["DATABASE_URL", "REDIS_URL", "KAFKA_BROKERS"].map(|n| (n, "(unset)".to_owned())),
                );
            }
            let settings = settings.clone();
            runs.spawn(async move { refused(program, &settings, &changes, named).await });
            if runs.len() >= 6 {
                wrong.extend(runs.join_next().await.expect("one").expect("no panic"));
            }
        }
    }
    wrong.extend(runs.join_all().await.into_iter().flatten());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reached_is_named_and_ends_the_start_with_3() {
    let (_folder, settings) = ground().await;
    let nobody = format!("mysql://root:x@127.0.0.1:{}/events", free_port());
    let keys = format!("http://127.0.0.1:{}/keys", free_port());
    let jwks: Vec<(&str, String)> = vec![
        ("AUTH_DEV_KEY_FILE", "(unset)".to_owned()),
        ("AUTH_JWKS", keys),
        ("AUTH_ISSUER", "i".to_owned()),
        ("AUTH_AUDIENCE", "m".to_owned()),
        ("AUTH_ADMIN_AUDIENCE", "s".to_owned()),
    ];
    let mut runs = JoinSet::new();
    for (program, changes, named) in [
        (WORKER, vec![], "KAFKA_BROKERS"),
        (RAFFLES, vec![], "KAFKA_BROKERS"),
        (ADMIN, vec![], "KAFKA_BROKERS"),
        (GATEWAY, vec![], "KAFKA_BROKERS"),
        (SERVE, vec![], "KAFKA_BROKERS"),
        (WORKER, vec![("DATABASE_URL", nobody)], "DATABASE_URL"),
        (ADMIN, jwks.clone(), "AUTH_JWKS"),
        (GATEWAY, jwks, "AUTH_JWKS"),
    ] {
        let settings = settings.clone();
        runs.spawn(async move {
            let output = run(program, &settings, &changes).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let ok = output.status.code() == Some(3) && said.contains(&format!("{named}: cannot be reached"));
            (!ok).then(|| format!("{program} {changes:?}: {:?}: {said}", output.status.code()))
        });
    }
    let wrong: Vec<String> = runs.join_all().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
