//! Reading lanes: the seam that the worker's loop reads through.

use std::future::Future;

use bytes::Bytes;
use shared_proto::Lane;

use crate::traces::SpanContext;

/// One record as it was read.
#[derive(Debug, Clone)]
pub struct Record {
    /// Lane.
    pub lane: Lane,
    /// Offset.
    pub offset: i64,
    /// Value.
    pub payload: Bytes,
    /// When it was appended or made, ms.
    pub timestamp: Option<i64>,
    /// The span that made it, where its trace is recorded and this process traces.
    pub trace: Option<Box<SpanContext>>,
}

/// What a log tells its reader.
#[derive(Debug, Clone)]
pub enum LogEvent {
    /// These lanes are ours: `accept` that, then `read_from` each when its cursor is known.
    Assigned(Vec<Lane>),
    /// These lanes go to another reader: finish, then `stop` them.
    Revoked {
        /// The lanes.
        lanes: Vec<Lane>,
        /// They are somebody else's already.
        lost: bool,
    },
    /// A record of a lane that is read.
    Record(Record),
    /// A position is outside the log: every lane must be checked again.
    OffsetLost,
    /// The reader is of no use any more, and why: it must be closed.
    Broken(String),
}

/// A group member's view of a log.
pub trait LaneLog: Send + 'static {
    /// Identity of the log.
    fn log_id(&self) -> String;
    /// The next event. Dropping the future loses nothing.
    fn next(&mut self) -> impl Future<Output = LogEvent> + Send;
    /// First offset and the one behind the last, of each lane.
    fn watermarks(
        &self,
        lanes: Vec<Lane>,
    ) -> impl Future<Output = Result<Vec<(Lane, i64, i64)>, String>> + Send + 'static;
    /// Answers an assignment; nothing of its lanes is read yet.
    fn accept(&mut self);
    /// Gives lanes back, read or not.
    fn stop(&mut self, lanes: &[Lane]);
    /// Reads a lane no further for now.
    fn pause(&mut self, lane: &Lane);
    /// Reads a lane of ours from an offset, wherever it was read until now, and paused or not.
    fn read_from(&mut self, lane: &Lane, offset: i64);
    /// Reads a paused lane on.
    fn resume(&mut self, lane: &Lane);
    /// Mirrors a cursor into the log's own bookkeeping, for lag metrics; never read back.
    fn commit(&mut self, cursors: &[(Lane, i64)]);
    /// Leaves the group; `Revoked` comes before this ends.
    fn leave(&mut self);
    /// Ends the client.
    fn close(self) -> impl Future<Output = ()> + Send;
}
