//! Faults of the servers themselves, by the stack's own script, and backups of a database.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use shared_runtime::log::create_topics;

use crate::column::{Column, LANES};
use crate::sql::execute;

fn script() -> String {
    std::env::var("STACK_SCRIPT").expect("STACK_SCRIPT is not set; run `make test`")
}

/// Runs `stack.sh COMMAND NAME`.
pub async fn stack(command: &'static str, name: &'static str) {
    let script = script();
    let run = move || Command::new(script).args([command, name]).stdout(Stdio::null()).status();
    let status = tokio::task::spawn_blocking(run).await.expect("no panic").expect("the script starts");
    assert!(status.success(), "{command} {name}: {status}");
}

/// Sends one command without arguments to Redis, in its inline form.
pub async fn redis(url: &str, command: &str) {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let server =
        url.strip_prefix("redis://").and_then(|rest| rest.split('/').next()).expect("redis://host:port/n");
    let mut stream = BufReader::new(tokio::net::TcpStream::connect(server).await.expect("Redis"));
    stream.write_all(format!("{command}\r\n").as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_line(&mut answer).await.expect("an answer");
    assert_eq!(answer.trim_end(), "+OK", "{command}");
}

/// Puts the committed offsets of a group on the apply topic at the earliest record, by Kafka's own tool; what the tool said.
pub async fn reset_group(column: &Column, group: &str) -> String {
    let mut tool = Command::new(script());
    tool.args(["kafka", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server"])
        .arg(column.kafka.kafka_brokers.as_deref().expect("real column"))
        .args([
            "--group",
            group,
            "--topic",
            &column.topic(),
            "--reset-offsets",
            "--to-earliest",
            "--execute",
        ]);
    let output =
        tokio::task::spawn_blocking(move || tool.output()).await.expect("no panic").expect("it starts");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

/// Committed offsets of a group in the apply topic, lane by lane.
pub async fn committed(column: &Column, group: &str) -> Vec<Option<i64>> {
    let mut config = column.kafka.client().expect("settings");
    config.set("group.id", group);
    let topic = column.topic();
    let ask = move || {
        let consumer: BaseConsumer = config.create().expect("consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&topic, 0, LANES - 1);
        let found = consumer.committed_offsets(list, Duration::from_secs(10)).expect("offsets");
        let offset = |lane| match found.find_partition(&topic, lane).map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        };
        (0..LANES).map(offset).collect()
    };
    tokio::task::spawn_blocking(ask).await.expect("no panic")
}

fn database(url: &str) -> String {
    let (_, name) = url.rsplit_once('/').expect("a database in the URL");
    name.to_owned()
}

/// A consistent backup of a database while it is in use, by the server's own program, wherever that is.
pub async fn backup(url: &str) -> Vec<u8> {
    let (script, name) = (script(), database(url));
    let run = move || Command::new(script).args(["dump", &name]).output();
    let output = tokio::task::spawn_blocking(run).await.expect("no panic").expect("the script starts");
    assert!(output.status.success(), "dump: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Loads a backup into an empty database.
pub async fn load_backup(url: &str, dump: Vec<u8>) {
    let (script, name) = (script(), database(url));
    let run = move || {
        let mut child = Command::new(script).arg("sql").stdin(Stdio::piped()).spawn().expect("starts");
        let mut stdin = child.stdin.take().expect("stdin");
        std::io::Write::write_all(&mut stdin, format!("USE `{name}`;\n").as_bytes()).expect("sent");
        std::io::Write::write_all(&mut stdin, &dump).expect("the dump is sent");
        drop(stdin);
        child.wait().expect("wait")
    };
    assert!(tokio::task::spawn_blocking(run).await.expect("no panic").success());
}

/// Puts the tables of a restored database in the place of the damaged ones, in one statement.
pub async fn swap_in(url: &str, restored_url: &str) {
    const TABLES: [&str; 7] = [
        "command_applied",
        "event_approval",
        "event_entry",
        "event_lane",
        "event_stock",
        "parked_record",
        "partition_progress",
    ];
    let (live, restored) = (database(url), database(restored_url));
    execute(url, &format!("CREATE DATABASE `{live}_old`")).await;
    let moves = TABLES.map(|t| format!("`{live}`.{t} TO `{live}_old`.{t}, `{restored}`.{t} TO `{live}`.{t}"));
    execute(url, &format!("RENAME TABLE {}", moves.join(", "))).await;
}

fn admin(column: &Column) -> AdminClient<DefaultClientContext> {
    column.kafka.client().expect("settings").create().expect("admin client")
}

/// Deletes a lane's records before an offset.
pub async fn delete_records(column: &Column, lane: i32, before: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&column.topic(), lane, Offset::Offset(before)).expect("offset");
    let done = admin(column).delete_records(&list, &AdminOptions::new()).await.expect("delete records");
    done.elements().iter().for_each(|e| e.error().expect("records deleted"));
}

/// Deletes the apply topic and makes it again, empty.
pub async fn recreate_topic(column: &Column) {
    let topic = column.topic();
    let results = admin(column).delete_topics(&[&topic], &AdminOptions::new()).await.expect("delete");
    results.into_iter().for_each(|r| drop(r.expect("topic deleted")));
    let until = Instant::now() + Duration::from_secs(30);
    while !create_topics(&column.kafka, LANES).await.is_ok_and(|new| new.contains(&topic)) {
        assert!(Instant::now() < until, "the topic cannot be made again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
