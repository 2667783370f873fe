//! `event-system demo`: a stampede through the real HTTP listener, and every promise it can check.

mod check;
mod member;
mod report;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use apply_worker::ROLE;
use clap::{Args, Parser};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::json;
use shared_runtime::auth::DevKey;
use shared_runtime::lifecycle::LifecycleArgs;
use shared_runtime::store::{DatabaseArgs, Store, migrate};
use shared_runtime::telemetry::{LogFormat, init};
use shared_runtime::worker::{Role, RoleParts};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::system::{System, SystemArgs, dev_key_path};
use member::{Behaviour, Crowd};

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Members who press the button
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    members: u32,
    /// Prizes
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=200_000))]
    stock: u32,
    /// Decides who does what, and when
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Members who press at the same time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    at_once: u32,
}

/// The embedded settings with their defaults.
#[derive(Debug, Parser)]
struct Embedded {
    #[command(flatten)]
    system: SystemArgs,
}

pub async fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    init(Some("warn,librdkafka=off,rdkafka=off"), LogFormat::Text)?;
    match stampede(args).await {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Err(Failure::Check("a promise is broken".to_owned())),
        Err(error) => Err(Failure::Check(format!("the demo could not run: {error:#}"))),
    }
}

async fn stampede(args: DemoArgs) -> anyhow::Result<bool> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let life = LifecycleArgs::default().build();
    let mut settings = Embedded::try_parse_from(["demo"])?.system;
    // Always embedded, whatever the environment says: the demo must not touch anybody's stores.
    settings.data_dir = folder.path().to_path_buf();
    settings.database.database_url = None;
    settings.key_store.key_store_url = None;
    settings.key_encryption.key_encryption_key_file = None;
    settings.redis.redis_url = None;
    settings.kafka.kafka_brokers = None;
    settings.auth.auth_jwks = None;
    settings.auth.auth_dev_key_file = None;
    settings.decision_key.decision_key_file = None;
    settings.gateway.public_addr = ([127, 0, 0, 1], 0).into();
    settings.admin.admin_addr = ([127, 0, 0, 1], 0).into();
    let system = System::start(settings, &life).await.map_err(|e| anyhow::anyhow!("{e}"))?;
    let key = DevKey::read(&dev_key_path(folder.path()))?;
    println!(
        "one process: gateway http://{}, admin http://{}, seed {}",
        system.public, system.admin, args.seed
    );

    // A second reader of the log, from offset 0 into a second empty database, while the stampede runs.
    let second_url = format!("sqlite://{}", folder.path().join("second.db").display());
    migrate(&second_url, false).await?;
    let second = Store::open(&DatabaseArgs::default(), &second_url)?;
    let stop_second = CancellationToken::new();
    let role = Role { group: "second-reader".into(), ..ROLE };
    let parts = RoleParts {
        kafka: system.kafka.clone(),
        store: second.clone(),
        producer: system.producer.clone(),
        batching: Default::default(),
        embedded: true,
        backlog: system.backlog.clone(),
        replay: None,
        keys: Default::default(),
        state: Default::default(),
    };
    let second_worker = tokio::spawn(role.run(parts, stop_second.clone(), Duration::from_secs(15)));

    let event = open_event(&system, &key, &args).await?;
    let crowd = Arc::new(Crowd::new(system.public, event)?);
    println!("event {event} is open: {} prizes, {} members", args.stock, args.members);
    let started = Instant::now();
    press(&args, &key, &crowd).await?;
    let pressed = started.elapsed();
    let facts = check::gather(&system, &second, event).await?;
    let decided = started.elapsed();
    report::table(&args, &crowd, &facts, pressed, decided);
    let kept = check::promises(args.stock, &crowd, &facts);
    report::promises(&kept);

    stop_second.cancel();
    second_worker.await??;
    life.begin_shutdown();
    life.finish().await;
    Ok(kept.iter().all(|(_, broken)| broken.is_none()))
}

/// Creates and schedules the event by the admin API, as staff would, and waits until it takes entries.
async fn open_event(system: &System, key: &DevKey, args: &DemoArgs) -> anyhow::Result<i64> {
    let token = key.issue_staff("demo", "events:read events:write ops:write", Duration::from_secs(3600))?;
    let http = reqwest::Client::new();
    let admin = format!("http://{}/admin/v1/events", system.admin);
    let draft = json!({
        "title": "Demo", "content": "", "type": "FIRST_COME", "time_zone": "Asia/Seoul",
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z",
        "compliance": {"review_number": "DEMO-1", "approved_from": "2026-01-01T00:00:00Z",
                       "approved_until": "2099-01-01T00:00:00Z"},
        "stock": [{"option": "DEFAULT", "count": args.stock}],
        "limits": {"per_second": 50_000, "per_member_per_second": 10}
    });
    let made = http.post(&admin).bearer_auth(&token).json(&draft).send().await?;
    if made.status() != 201 {
        bail!("creating the event: {} {}", made.status(), made.text().await?);
    }
    let event = made.json::<serde_json::Value>().await?["event_id"].as_i64().context("event_id")?;
    let scheduled = http.post(format!("{admin}/{event}/schedule")).bearer_auth(&token).send().await?;
    if scheduled.status() != 202 {
        bail!("scheduling the event: {} {}", scheduled.status(), scheduled.text().await?);
    }
    let url = format!("http://{}/v1/events/{event}", system.public);
    for _ in 0..600 {
        let seen = http.get(&url).send().await?;
        if seen.status() == 200 {
            let seen: serde_json::Value = seen.json().await?;
            if matches!(seen["status"].as_str(), Some("OPEN" | "SOLD_OUT")) {
                return Ok(event);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the event did not open within 30 s")
}

async fn press(args: &DemoArgs, key: &DevKey, crowd: &Arc<Crowd>) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(args.seed);
    let mut members: Vec<i64> = (1..=i64::from(args.members)).collect();
    members.shuffle(&mut rng);
    let bar = indicatif::ProgressBar::new(u64::from(args.members));
    bar.set_style(indicatif::ProgressStyle::with_template(
        "{bar:40} {pos}/{len} members, {per_sec}, {elapsed}",
    )?);
    let room = Arc::new(Semaphore::new(args.at_once as usize));
    let mut tasks = JoinSet::new();
    for member in members {
        let behaviour = Behaviour::draw(&mut rng);
        let token = key.issue_member(member, Duration::from_secs(3600))?;
        let permit = room.clone().acquire_owned().await?;
        let (crowd, bar) = (crowd.clone(), bar.clone());
        tasks.spawn(async move {
            crowd.press(member, &token, behaviour).await;
            bar.inc(1);
            drop(permit);
        });
        while let Some(done) = tasks.try_join_next() {
            done?;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done?;
    }
    bar.finish_and_clear();
    Ok(())
}
