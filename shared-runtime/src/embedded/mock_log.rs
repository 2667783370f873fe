//! The embedded log: librdkafka's mock cluster, the same client and the same protocol in one process.
//!
//! It has no LogAppendTime, no lookup by timestamp, no admin API and little memory (see `backlog`). A consumer
//! group's first join takes about 3 s, and a session timeout below 4 s never joins.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// How long the cluster may take to tell its id.
const ID_TIMEOUT: Duration = Duration::from_secs(5);

/// The mock cluster as librdkafka's binding names it.
pub type Cluster = MockCluster<'static, DefaultProducerContext>;
type Task = Box<dyn FnOnce(&Cluster) + Send>;

/// Why the embedded log did not start.
#[derive(Debug, thiserror::Error)]
pub enum MockLogError {
    /// librdkafka refused.
    #[error("the embedded log did not start")]
    Kafka(#[from] KafkaError),
    /// No thread could be made, or it died.
    #[error("the embedded log's thread did not start")]
    Thread(#[source] Option<std::io::Error>),
    /// The cluster did not tell its id within 5 s.
    #[error("the embedded log did not tell its id")]
    NoId,
}

/// A handle on the embedded log. It may be dropped: the log itself lives until the process ends, because dropping a
/// mock cluster before the last of its clients hangs.
#[derive(Debug, Clone)]
pub struct MockLog {
    brokers: String,
    log_id: String,
    tasks: mpsc::Sender<Task>,
}

impl MockLog {
    /// Starts one broker and makes the topics, given by full name and number of partitions. Blocks for some
    /// milliseconds, 5 s at most.
    ///
    /// # Errors
    /// librdkafka or the operating system refused.
    pub fn start(topics: &[(String, i32)]) -> Result<Self, MockLogError> {
        let topics = topics.to_vec();
        let (tasks, inbox) = mpsc::channel::<Task>();
        let (started, start) = mpsc::sync_channel(1);
        // The cluster is !Send: it is made, used and left behind on its own thread, which ends with the last handle.
        thread::Builder::new()
            .name("mock-log".to_owned())
            .spawn(move || {
                match cluster(&topics) {
                    Ok(cluster) => {
                        if started.send(Ok(cluster.bootstrap_servers())).is_ok() {
                            inbox.into_iter().for_each(|task| task(cluster));
                        }
                    }
                    // The receiver is gone only if the caller died.
                    Err(error) => drop(started.send(Err(error))),
                }
            })
            .map_err(|error| MockLogError::Thread(Some(error)))?;
        let brokers = start.recv().map_err(|_| MockLogError::Thread(None))??;

        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &brokers).create()?;
        let log_id = client.client().fetch_cluster_id(ID_TIMEOUT).ok_or(MockLogError::NoId)?;
        Ok(Self { brokers, log_id, tasks })
    }

    /// For `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> &str {
        &self.brokers
    }

    /// The cluster's id, fresh with each start: offsets of another start mean nothing here.
    pub fn log_id(&self) -> &str {
        &self.log_id
    }

    /// For fault tests: runs `task` with the cluster (broker errors, delays) on the cluster's thread and returns
    /// its answer. Blocks meanwhile. `None` if a former task panicked.
    pub fn with_cluster<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Cluster) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, answer) = mpsc::sync_channel(1);
        let task: Task = Box::new(move |cluster| {
            // Nobody waits any more only if the caller's thread died.
            drop(done.send(task(cluster)));
        });
        self.tasks.send(task).ok()?;
        answer.recv().ok()
    }
}

fn cluster(topics: &[(String, i32)]) -> Result<&'static Cluster, KafkaError> {
    let cluster: &'static Cluster = Box::leak(Box::new(MockCluster::new(1)?));
    for (topic, partitions) in topics {
        cluster.create_topic(topic, *partitions, 1)?;
    }
    Ok(cluster)
}
