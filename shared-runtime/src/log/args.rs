//! Settings of Kafka.

use std::time::Duration;

use clap::Args;
use rdkafka::ClientConfig;
use shared_proto::TopicNames;

use super::security::KafkaSecurityArgs;
use crate::config::{ConfigError, not_empty};

/// Settings of Kafka.
#[derive(Debug, Clone, Args)]
pub struct KafkaArgs {
    /// `host:port` of brokers, separated by commas; unset: embedded.
    #[arg(long, env = "KAFKA_BROKERS", value_parser = not_empty)]
    pub kafka_brokers: Option<String>,
    /// TLS and SASL.
    #[command(flatten)]
    pub security: KafkaSecurityArgs,
    /// Put before every topic and group name, so that several systems can share a cluster.
    #[arg(long, env = "KAFKA_TOPIC_PREFIX", default_value = "")]
    pub kafka_topic_prefix: String,
    /// A consumer that is silent for longer loses its lanes to another one.
    #[arg(long, env = "KAFKA_SESSION_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub kafka_session_timeout: Duration,
    /// This process's name in its consumer groups (static membership), of one process at a time: killed and started again it
    /// has its lanes back at once, instead of waiting for the end of its own old session.
    #[arg(long, env = "KAFKA_GROUP_INSTANCE_ID", value_parser = instance_id)]
    pub kafka_group_instance_id: Option<String>,
    /// How long a producer waits for the acknowledgement before the outcome counts as unknown.
    #[arg(long, env = "KAFKA_MESSAGE_TIMEOUT", default_value = "3s", value_parser = humantime::parse_duration)]
    pub kafka_message_timeout: Duration,
    /// Start although a topic could lose acknowledged records (one broker, replication 1).
    #[arg(long, env = "ALLOW_UNSAFE_LOG")]
    pub allow_unsafe_log: bool,
    /// A topic that keeps records for less is unsafe; events that outlive it are refused.
    #[arg(long, env = "MIN_LOG_RETENTION", default_value = "7d", value_parser = humantime::parse_duration)]
    pub min_log_retention: Duration,
}

impl KafkaArgs {
    /// Settings for a known cluster, with the defaults of the command line.
    pub fn for_brokers(brokers: impl Into<String>) -> Self {
        Self {
            kafka_brokers: Some(brokers.into()),
            security: KafkaSecurityArgs::default(),
            kafka_topic_prefix: String::new(),
            kafka_session_timeout: Duration::from_secs(10),
            kafka_group_instance_id: None,
            kafka_message_timeout: Duration::from_secs(3),
            allow_unsafe_log: false,
            min_log_retention: Duration::from_secs(7 * 24 * 3600),
        }
    }

    /// Topic names under the prefix.
    pub fn topics(&self) -> TopicNames {
        TopicNames::with_prefix(&self.kafka_topic_prefix)
    }

    /// What every client is configured with. Errors: a setting that cannot be used.
    pub fn client(&self) -> Result<ClientConfig, ConfigError> {
        let brokers = self.kafka_brokers.as_deref().ok_or_else(|| ConfigError::required("KAFKA_BROKERS"))?;
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("client.id", client_id())
            // A broker that was away for long is found again within this time; the default is 10 s.
            .set("reconnect.backoff.max.ms", "1000");
        self.security.apply(&mut config)?;
        Ok(config)
    }
}

/// What Kafka takes as `group.instance.id`: the rule of its topic names.
fn instance_id(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 249 || matches!(text, "." | "..") || !text.chars().all(legal) {
        return Err(
            "takes 1 to 249 of a-z, A-Z, 0-9, '.', '_', '-', and neither '.' nor '..'; unset it to have none"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

fn client_id() -> String {
    // The pod's name in Kubernetes; cooperative rebalancing wants it distinct per process.
    std::env::var("HOSTNAME").map_or_else(
        |_| format!("event-{}", std::process::id()),
        |host| format!("event-{host}-{}", std::process::id()),
    )
}

#[cfg(test)]
mod tests {
    use super::instance_id;

    #[test]
    fn instance_ids_are_those_that_kafka_takes() {
        for good in ["apply-worker-0", "a", "A.b_c-9", "...", &"x".repeat(249)] {
            assert_eq!(instance_id(good).as_deref(), Ok(good));
        }
        for bad in ["", " ", ".", "..", "a b", "worker/0", "w\u{f6}rker", &"x".repeat(250)] {
            assert!(instance_id(bad).is_err(), "{bad:?}");
        }
    }
}
