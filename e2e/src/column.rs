//! A column: the embedded stack in this process, or real servers; always with a database and topics of its own.

use std::path::PathBuf;
use std::sync::Arc;

use shared_proto::Topic;
use shared_runtime::embedded::MockLog;
use shared_runtime::keys::{DecisionKey, KeyEncryptionKey, RewardKeys};
use shared_runtime::log::{KafkaArgs, KafkaProducer, create_topics};
use shared_runtime::store::{DatabaseArgs, Store, migrate, migrate_key_store};
use tempfile::TempDir;

/// Lanes of each topic in tests.
pub const LANES: i32 = 4;

/// One isolated system under test.
pub struct Column {
    /// Kafka, with a prefix of its own.
    pub kafka: KafkaArgs,
    /// `DATABASE_URL` of a fresh, migrated database.
    pub database_url: String,
    /// That database.
    pub store: Store,
    /// Producer on that log.
    pub producer: Arc<KafkaProducer>,
    /// In-memory log: adopt it, and drain it before stopping.
    pub embedded: bool,
    /// `DECISION_KEY_FILE`.
    pub decision_key: PathBuf,
    /// `KEY_ENCRYPTION_KEY_FILE`.
    pub key_encryption_key: PathBuf,
    _folder: TempDir,
    _mock: Option<MockLog>,
}

impl Column {
    /// librdkafka's mock cluster and a SQLite file.
    pub async fn embedded() -> Self {
        let topics: Vec<(String, i32)> = Topic::ALL
            .into_iter()
            .flat_map(|t| [t.base_name().to_owned(), format!("{}.DLT", t.base_name())])
            .map(|name| (name, LANES))
            .collect();
        let mock = MockLog::start(&topics).expect("mock cluster");
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("sqlite://{}", folder.path().join("events.db").display());
        let mut kafka = KafkaArgs::for_brokers(mock.bootstrap_servers());
        kafka.kafka_session_timeout = std::time::Duration::from_secs(6);
        Self::build(kafka, url, true, folder, Some(mock)).await
    }

    /// Real servers, by the environment. `name` becomes part of topics and database.
    pub async fn real(name: &str) -> Self {
        let var =
            |key: &str| std::env::var(key).unwrap_or_else(|_| panic!("{key} is not set; run `make test`"));
        let unique = format!("{name}_{:08x}", rand::random::<u32>());
        let mut kafka = KafkaArgs::for_brokers(var("KAFKA_BROKERS"));
        kafka.kafka_topic_prefix = format!("{unique}-");
        kafka.kafka_session_timeout = std::time::Duration::from_secs(6);
        kafka.allow_unsafe_log = true;
        create_topics(&kafka, LANES).await.expect("topics");
        let base = var("DATABASE_URL");
        let url = fresh_database(&base, &format!("events_{unique}")).await;
        Self::build(kafka, url, false, tempfile::tempdir().expect("folder"), None).await
    }

    async fn build(
        kafka: KafkaArgs,
        database_url: String,
        embedded: bool,
        folder: TempDir,
        mock: Option<MockLog>,
    ) -> Self {
        migrate(&database_url, false).await.expect("migrations");
        migrate_key_store(&database_url, false).await.expect("migrations");
        let store = Store::open(&DatabaseArgs::default(), &database_url).expect("store");
        let producer = Arc::new(KafkaProducer::connect(&kafka).await.expect("producer"));
        let decision_key = folder.path().join("decision.key");
        DecisionKey::read_or_create(&decision_key).expect("key");
        let key_encryption_key = folder.path().join("key-encryption.key");
        KeyEncryptionKey::read_or_create(&key_encryption_key).expect("key");
        Self {
            kafka,
            database_url,
            store,
            producer,
            embedded,
            decision_key,
            key_encryption_key,
            _folder: folder,
            _mock: mock,
        }
    }

    /// The column's decision key.
    pub fn key(&self) -> Arc<DecisionKey> {
        Arc::new(DecisionKey::read(&self.decision_key).expect("key"))
    }

    /// What its workers open reward keys with.
    pub fn keys(&self) -> RewardKeys {
        RewardKeys::new(Some(self.key()))
    }

    /// Full name of the apply topic.
    pub fn topic(&self) -> String {
        self.kafka.topics().name(Topic::Apply)
    }

    /// A second, empty database of the same kind.
    pub async fn second_database(&self) -> (String, Store) {
        let url = match self.database_url.strip_prefix("sqlite://") {
            Some(path) => format!("sqlite://{path}.{:08x}", rand::random::<u32>()),
            None => {
                let (_, name) = self.database_url.rsplit_once('/').expect("a database in the URL");
                fresh_database(&self.database_url, &format!("{name}_{:04x}", rand::random::<u16>())).await
            }
        };
        migrate(&url, false).await.expect("migrations");
        migrate_key_store(&url, false).await.expect("migrations");
        let store = Store::open(&DatabaseArgs::default(), &url).expect("store");
        (url, store)
    }
}

/// Makes a database beside the one in `base` and gives its URL.
pub async fn fresh_database(base: &str, name: &str) -> String {
    crate::sql::execute(base, &format!("CREATE DATABASE `{name}`")).await;
    let (server, _) = base.rsplit_once('/').expect("a database in DATABASE_URL");
    format!("{server}/{name}")
}
