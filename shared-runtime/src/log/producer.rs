//! Producing: the seam that gateways and the relay write through.

use std::future::Future;

use shared_proto::Lane;

/// Why a record is not known to be in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// It was never handed over: nothing was written.
    #[error("the producer's queue is full")]
    QueueFull,
    /// It may be in the log or not: the same record may be sent again.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The broker will never take it.
    #[error("refused: {0}")]
    Refused(String),
}

/// One record to produce.
#[derive(Debug, Clone, Copy)]
pub struct ToProduce<'a> {
    /// Lane; the partition is named, never hashed by the client.
    pub lane: &'a Lane,
    /// Kafka key.
    pub key: &'a [u8],
    /// Encoded record.
    pub value: &'a [u8],
    /// Headers (see `shared_proto`), ASCII.
    pub headers: &'a [(&'a str, &'a str)],
}

impl ToProduce<'_> {
    /// Bytes of key, value and headers.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.len() + self.value.len() + headers
    }
}

/// A log that takes records.
pub trait Producer: Send + Sync + 'static {
    /// Identity of the log.
    fn log_id(&self) -> &str;

    /// Appends and waits for the acknowledgement; gives the offset.
    fn produce(&self, record: ToProduce<'_>) -> impl Future<Output = Result<i64, ProduceError>> + Send;
}
