//! Topics: making them, and the boot check that they keep what was acknowledged (DESIGN section 5, "Boot check").

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use shared_proto::Topic;

use super::args::KafkaArgs;
use crate::config::{ConfigError, StartError};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long waiting events are handed over for.
const EVENTS: Duration = Duration::from_millis(20);
/// Kafka's default of `segment.ms`.
const DEFAULT_SEGMENT: Duration = Duration::from_secs(7 * 24 * 3600);

/// One topic as the cluster has it, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// Full name.
    pub name: String,
    /// Partitions; 0 when it does not exist.
    pub partitions: i32,
    /// How long it keeps records; `None`: for ever.
    pub retention: Option<Duration>,
    /// When a record is gone at the latest: its segment is closed some time after it, and goes when its last record may.
    /// `None`: never.
    pub gone_after: Option<Duration>,
    /// What could lose acknowledged records.
    pub problems: Vec<String>,
}

/// Partitions of one topic among those that were looked at; 0 when it is not there.
pub fn partitions_of(states: &[TopicState], name: &str) -> i32 {
    states.iter().find(|state| state.name == name).map_or(0, |state| state.partitions)
}

/// The shortest time for which a topic that carries events keeps its records; `None`: all keep them for ever.
pub fn shortest_retention(args: &KafkaArgs, states: &[TopicState]) -> Option<Duration> {
    let names = Topic::ALL.map(|topic| args.topics().name(topic));
    states.iter().filter(|state| names.contains(&state.name)).filter_map(|state| state.retention).min()
}

/// When a record of any topic that may carry a sealed contact is gone at the latest, dead letters included; `None`: never.
pub fn longest_life(args: &KafkaArgs, states: &[TopicState]) -> Option<Duration> {
    let topics = args.topics();
    let names: Vec<String> = [Topic::Apply, Topic::Raffle]
        .into_iter()
        .flat_map(|topic| [topics.name(topic), topics.dead_letter_name(topic)])
        .collect();
    let lives = states.iter().filter(|state| names.contains(&state.name)).map(|state| state.gone_after);
    lives.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// Every topic of the system, dead letters included.
fn names(args: &KafkaArgs) -> Vec<String> {
    let topics = args.topics();
    Topic::ALL.into_iter().flat_map(|t| [topics.name(t), topics.dead_letter_name(t)]).collect()
}

fn unreachable(problem: impl ToString) -> StartError {
    StartError::unreachable("KAFKA_BROKERS", problem)
}

/// Keeps why brokers cannot be reached, in librdkafka's words.
#[derive(Default)]
struct Reasons(Mutex<Option<String>>);

impl Reasons {
    fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Reasons {
    fn error(&self, error: KafkaError, reason: &str) {
        // That all brokers are down follows from the reason that came before it.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ProducerContext for Reasons {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

fn admin(args: &KafkaArgs) -> Result<AdminClient<DefaultClientContext>, StartError> {
    args.client()?.create().map_err(unreachable)
}

/// Number of brokers, and partitions and smallest replication of each existing topic.
async fn metadata(args: &KafkaArgs) -> Result<(usize, Vec<(String, i32, usize)>), StartError> {
    let producer: BaseProducer<Reasons> =
        args.client()?.create_with_context(Reasons::default()).map_err(unreachable)?;
    let metadata = tokio::task::spawn_blocking(move || {
        let answer = producer.client().fetch_metadata(None, CALL_TIMEOUT);
        let answer = answer.map_err(|error| {
            // What brokers said against us (TLS, user, password) waits as events.
            producer.poll(EVENTS);
            let why = producer.context().last();
            why.map_or_else(|| error.to_string(), |why| format!("{error}: {why}"))
        });
        answer.map(|m| {
            let topics = m
                .topics()
                .iter()
                .map(|t| {
                    let replication = t.partitions().iter().map(|p| p.replicas().len()).min().unwrap_or(0);
                    (t.name().to_owned(), t.partitions().len() as i32, replication)
                })
                .collect();
            (m.brokers().len(), topics)
        })
    })
    .await
    .map_err(unreachable)?;
    metadata.map_err(unreachable)
}

/// Makes what is missing: replication 3, or with `ALLOW_UNSAFE_LOG` as many as there are brokers (at most 3).
/// Gives the names of the new topics.
pub async fn create_topics(args: &KafkaArgs, partitions: i32) -> Result<Vec<String>, StartError> {
    let (brokers, existing) = metadata(args).await?;
    if brokers < 3 && !args.allow_unsafe_log {
        return Err(ConfigError::new(
            "ALLOW_UNSAFE_LOG",
            format!("replication 3 needs three brokers, there are {brokers}; set it to go on with fewer"),
        )
        .into());
    }
    let replication = brokers.clamp(1, 3) as i32;
    let in_sync = if replication >= 3 { "2" } else { "1" };
    let retention = (args.min_log_retention.as_millis() as i64).saturating_mul(2).to_string();
    let wanted: Vec<String> =
        names(args).into_iter().filter(|n| !existing.iter().any(|(name, ..)| name == n)).collect();
    let new: Vec<NewTopic<'_>> = wanted
        .iter()
        .map(|name| {
            NewTopic::new(name, partitions, TopicReplication::Fixed(replication))
                .set("min.insync.replicas", in_sync)
                .set("unclean.leader.election.enable", "false")
                .set("cleanup.policy", "delete")
                .set("retention.ms", &retention)
        })
        .collect();
    if new.is_empty() {
        return Ok(wanted);
    }
    let options = AdminOptions::new().operation_timeout(Some(CALL_TIMEOUT));
    let results = admin(args)?.create_topics(&new, &options).await.map_err(unreachable)?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(unreachable(format!("topic {name}: {code}"))),
        }
    }
    // The controller has made them; the brokers, which services ask, hear of it a little later.
    let until = Instant::now() + CALL_TIMEOUT;
    loop {
        let (_, existing) = metadata(args).await?;
        let missing = wanted.iter().find(|name| !existing.iter().any(|(known, ..)| known == *name));
        match missing {
            None => return Ok(wanted),
            Some(name) if Instant::now() >= until => {
                return Err(unreachable(format!("topic {name} was made, and no broker knows it yet")));
            }
            Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Looks at every topic.
pub async fn inspect_topics(args: &KafkaArgs) -> Result<Vec<TopicState>, StartError> {
    let (_, existing) = metadata(args).await?;
    let mut states = Vec::new();
    for name in names(args) {
        let Some((_, partitions, replication)) = existing.iter().find(|(n, ..)| *n == name) else {
            let problems = vec!["does not exist".to_owned()];
            states.push(TopicState { name, partitions: 0, retention: None, gone_after: None, problems });
            continue;
        };
        let mut problems = Vec::new();
        if *replication < 3 {
            problems.push(format!("replication is {replication}, not 3"));
        }
        let (retention, gone_after) = look_at_settings(args, &name, &mut problems).await?;
        states.push(TopicState { name, partitions: *partitions, retention, gone_after, problems });
    }
    Ok(states)
}

/// Adds what is wrong with a topic's settings; gives its retention, and when a record is gone at the latest.
async fn look_at_settings(
    args: &KafkaArgs,
    topic: &str,
    problems: &mut Vec<String>,
) -> Result<(Option<Duration>, Option<Duration>), StartError> {
    let options = AdminOptions::new().request_timeout(Some(CALL_TIMEOUT));
    let resources = admin(args)?
        .describe_configs(&[ResourceSpecifier::Topic(topic)], &options)
        .await
        .map_err(unreachable)?;
    let (mut kept, mut gone_after) = (None, None);
    for resource in resources {
        let resource = resource.map_err(|code| unreachable(format!("settings of {topic}: {code}")))?;
        let get = |key: &str| resource.get(key).and_then(|entry| entry.value.clone()).unwrap_or_default();
        if get("min.insync.replicas").parse::<i32>().unwrap_or(0) < 2 {
            problems.push("min.insync.replicas is below 2".to_owned());
        }
        if get("unclean.leader.election.enable") == "true" {
            problems.push("unclean leader election is on".to_owned());
        }
        if get("cleanup.policy") != "delete" {
            problems.push("cleanup.policy is not delete".to_owned());
        }
        // Below 0: no limit.
        kept = u64::try_from(get("retention.ms").parse::<i64>().unwrap_or(0)).ok().map(Duration::from_millis);
        let segment = get("segment.ms").parse::<u64>().map_or(DEFAULT_SEGMENT, Duration::from_millis);
        gone_after = kept.map(|kept| kept.saturating_add(segment));
        if let Some(kept) = kept.filter(|kept| *kept < args.min_log_retention) {
            problems.push(format!("retention.ms is {}, below MIN_LOG_RETENTION", kept.as_millis()));
        }
        let bytes = get("retention.bytes").parse::<i64>().unwrap_or(-1);
        if bytes >= 0 {
            problems.push(format!("retention.bytes is {bytes}: records may go before their time"));
        }
    }
    Ok((kept, gone_after))
}

/// The boot check: missing topics stop the start; unsafe ones do too, unless `ALLOW_UNSAFE_LOG` is set. Gives the
/// partitions of each topic.
pub async fn check_topics(args: &KafkaArgs) -> Result<Vec<TopicState>, StartError> {
    let states = inspect_topics(args).await?;
    for state in &states {
        // For ever is infinite; Prometheus knows it.
        let seconds = state.retention.map_or(f64::INFINITY, |kept| kept.as_secs_f64());
        metrics::gauge!("event_log_retention_seconds", "topic" => state.name.clone()).set(seconds);
    }
    if let Some(missing) = states.iter().find(|s| s.partitions == 0) {
        let problem = format!("topic {} does not exist; run `event-system topics create`", missing.name);
        return Err(ConfigError::new("KAFKA_BROKERS", problem).into());
    }
    for state in states.iter().filter(|s| !s.problems.is_empty()) {
        let problems = state.problems.join("; ");
        if !args.allow_unsafe_log {
            let problem = format!("topic {} could lose acknowledged records: {problems}", state.name);
            return Err(ConfigError::new("ALLOW_UNSAFE_LOG", problem).into());
        }
        tracing::warn!(topic = state.name, problems, "unsafe topic, allowed by ALLOW_UNSAFE_LOG");
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_retention_is_that_of_a_topic_with_events() {
        let args = KafkaArgs::for_brokers("");
        let state = |name: String, days: Option<u64>| TopicState {
            name,
            partitions: 1,
            retention: days.map(|days| Duration::from_secs(days * 24 * 3600)),
            gone_after: days.map(|days| Duration::from_secs((days + 7) * 24 * 3600)),
            problems: Vec::new(),
        };
        let names = args.topics();
        let mut states: Vec<TopicState> =
            vec![state(names.dead_letter_name(Topic::Apply), Some(1)), state(names.name(Topic::Apply), None)];
        assert_eq!(shortest_retention(&args, &states), None);
        assert_eq!(longest_life(&args, &states), None, "one topic keeps its records for ever");
        states.push(state(names.name(Topic::Raffle), Some(30)));
        states.push(state(names.name(Topic::Activity), Some(14)));
        assert_eq!(shortest_retention(&args, &states), Some(Duration::from_secs(14 * 24 * 3600)));
        states.remove(1);
        assert_eq!(longest_life(&args, &states), Some(Duration::from_secs(37 * 24 * 3600)));
    }
}
