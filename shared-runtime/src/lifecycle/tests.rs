//! A life, from start to exit.

use clap::{CommandFactory, Parser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const SHORT: Duration = Duration::from_millis(200);

fn life() -> Lifecycle {
    Lifecycle::new(SHORT, Duration::from_secs(2))
}

async fn get(addr: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn readiness_follows_components_and_shutdown() {
    let life = life();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let ops = tokio::spawn(serve_ops(listener, life.clone(), crate::telemetry::metrics_handle()));
    let (database, log) = (life.component("database"), life.component("log"));
    database.ready();
    let answer = get(addr, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
    assert!(
        answer.contains(r#"{"component":"log","reason":"starting"}"#) && !answer.contains("database"),
        "{answer}"
    );
    assert!(!healthcheck(addr).await);
    log.ready();
    assert!(get(addr, "/readyz").await.starts_with("HTTP/1.1 200 "));
    assert!(healthcheck(std::net::SocketAddr::new("0.0.0.0".parse().unwrap(), addr.port())).await);
    database.not_ready("gone");
    assert!(get(addr, "/readyz").await.contains("gone"));
    assert!(get(addr, "/livez").await.starts_with("HTTP/1.1 200 "));
    assert!(get(addr, "/metrics").await.contains("text/plain; version=0.0.4"));

    database.ready();
    life.begin_shutdown();
    assert!(get(addr, "/readyz").await.contains("shutting down"));
    assert!(life.finish().await);
    ops.await.unwrap().unwrap();
    assert!(!healthcheck(addr).await);
}

#[tokio::test]
async fn tasks_that_end_when_asked_end_well() {
    let life = life();
    let shutdown = life.shutdown_token();
    life.spawn("good", async move {
        shutdown.cancelled().await;
        tokio::time::sleep(SHORT / 4).await;
        Ok(())
    });
    life.begin_shutdown();
    assert!(life.finish().await);
}

#[tokio::test]
async fn a_task_that_ends_fails_or_panics_ends_the_process() {
    let cases: [fn(&Lifecycle); 3] = [
        |life| life.spawn("ends", async { Ok(()) }),
        |life| life.spawn("fails", async { Err(anyhow::anyhow!("broken")) }),
        |life| life.spawn("panics", async { panic!("on purpose") }),
    ];
    for case in cases {
        let life = life();
        case(&life);
        assert!(!life.finish().await);
        assert!(life.shutdown_token().is_cancelled());
    }
}

#[tokio::test]
async fn a_task_that_never_ends_is_given_up() {
    let life = life();
    life.spawn("stuck", std::future::pending());
    life.begin_shutdown();
    let begun = std::time::Instant::now();
    assert!(!life.finish().await);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn each_binary_shows_its_own_ops_address() {
    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        ops: OpsArgs,
        #[command(flatten)]
        life: LifecycleArgs,
    }
    let mut command = OpsArgs::with_default(Cli::command(), "127.0.0.1:9092");
    let help = command.render_help().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("[default: 127.0.0.1:9092]") && help.contains("[env: OPS_ADDR="), "{help}");
    let cli = Cli::parse_from(["x", "--drain-budget", "3s"]);
    assert_eq!((cli.life.drain_budget, cli.ops.ops_addr.port()), (Duration::from_secs(3), 9090));
}

#[tokio::test]
async fn a_watched_dependency_makes_the_process_unready_and_an_alarm_does_not() {
    let life = Lifecycle::new(Duration::from_secs(5), Duration::from_secs(5));
    life.watch("kafka", || async { Err("no broker answers".to_owned()) });
    life.watch("database", || async { Ok(()) });
    let kafka = NotReady { component: "kafka".to_owned(), reason: "no broker answers".to_owned() };
    while life.not_ready() != [kafka.clone()] {
        tokio::task::yield_now().await;
    }
    let life = Lifecycle::new(Duration::from_secs(5), Duration::from_secs(5));
    life.set_alarms([("lane t/0".to_owned(), "gap".to_owned())].into());
    assert!(life.not_ready().is_empty());
    assert_eq!(life.alarms(), [Alarm { component: "lane t/0".to_owned(), reason: "gap".to_owned() }]);
}
