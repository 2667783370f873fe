//! Outcomes of records, given to those who wait for them a batch at a time.

use dashmap::DashMap;
use tokio::runtime::{Handle, Id};
use tokio::sync::{mpsc, oneshot};

use super::producer::ProduceError;

/// Offset of a record, or why it has none.
pub(super) type Outcome = Result<i64, ProduceError>;

type Batch = Vec<(oneshot::Sender<Outcome>, Outcome)>;

/// One of these a runtime: a task that gives out what comes. To wake a task of another thread costs a system call, to wake
/// one's own next to nothing, and outcomes come in batches.
#[derive(Debug, Clone)]
struct Desk(mpsc::UnboundedSender<Batch>);

impl Desk {
    fn open() -> Self {
        let (desk, mut batches) = mpsc::unbounded_channel::<Batch>();
        tokio::spawn(async move {
            while let Some(batch) = batches.recv().await {
                tell_all(batch);
            }
        });
        Self(desk)
    }
}

fn tell_all(batch: Batch) {
    for (waiter, outcome) in batch {
        // Nobody waits any more: the record is where it is all the same.
        drop(waiter.send(outcome));
    }
}

/// The desks of those who wait.
#[derive(Debug, Default)]
pub(super) struct Desks(DashMap<Id, Desk>);

impl Desks {
    /// To wait for one outcome, in the runtime of the caller.
    pub(super) fn wait(&self) -> (Waiter, oneshot::Receiver<Outcome>) {
        let runtime = Handle::current().id();
        let known = self.0.get(&runtime).map(|desk| desk.clone());
        let desk = known.unwrap_or_else(|| self.0.entry(runtime).or_insert_with(Desk::open).clone());
        let (waiter, outcome) = oneshot::channel();
        (Waiter { desk, waiter }, outcome)
    }
}

/// Who is to hear of an outcome, and where.
#[derive(Debug)]
pub(super) struct Waiter {
    desk: Desk,
    waiter: oneshot::Sender<Outcome>,
}

/// Gives outcomes out, in one piece to each desk.
pub(super) fn give_out(outcomes: Vec<(Waiter, Outcome)>) {
    let mut desks: Vec<(Desk, Batch)> = Vec::new();
    for (Waiter { desk, waiter }, outcome) in outcomes {
        match desks.iter_mut().find(|(other, _)| other.0.same_channel(&desk.0)) {
            Some((_, batch)) => batch.push((waiter, outcome)),
            None => desks.push((desk, vec![(waiter, outcome)])),
        }
    }
    for (desk, batch) in desks {
        // A runtime that has ended gives nothing out; somebody elsewhere may wait all the same.
        if let Err(mpsc::error::SendError(batch)) = desk.0.send(batch) {
            tell_all(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_runtime_hears_its_own_and_an_ended_one_holds_nobody_up() {
        let desks = Desks::default();
        let (here, heard_here) = desks.wait();
        let (again, heard_again) = desks.wait();
        let (elsewhere, heard_elsewhere) = std::thread::scope(|scope| {
            let ended = || {
                tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap()
                    .block_on(async { desks.wait() })
            };
            scope.spawn(ended).join().unwrap()
        });
        assert_eq!(desks.0.len(), 2);
        let refused = ProduceError::Refused("too large".to_owned());
        give_out(vec![(here, Ok(7)), (elsewhere, Ok(8)), (again, Err(refused.clone()))]);
        assert_eq!(heard_here.await.unwrap(), Ok(7));
        assert_eq!(heard_elsewhere.await.unwrap(), Ok(8));
        assert_eq!(heard_again.await.unwrap(), Err(refused));
    }
}
