//! Questions that wait for one query: who asks registers a key, and all that wait at a moment are read together.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Counter;
use shared_runtime::http::Problem;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

/// How long keys are gathered before they are read.
const GATHER: Duration = Duration::from_millis(20);

type Asked<A> = Vec<oneshot::Sender<Result<A, ()>>>;

/// Who waits for what.
#[derive(Debug)]
pub(crate) struct Gathered<K, A> {
    waiting: Mutex<Waiting<K, A>>,
    someone: Notify,
    batches: Counter,
    keys: Counter,
}

#[derive(Debug)]
struct Waiting<K, A> {
    keys: HashMap<K, Asked<A>>,
    /// Nobody reads any more.
    closed: bool,
}

impl<K: Copy + Eq + Hash, A: Clone> Gathered<K, A> {
    /// Nobody waits yet. `of`: what is read, for the metrics.
    pub(crate) fn new(of: &'static str) -> Self {
        Self {
            waiting: Mutex::new(Waiting { keys: HashMap::new(), closed: false }),
            someone: Notify::new(),
            batches: metrics::counter!("event_batched_reads_total", "of" => of),
            keys: metrics::counter!("event_batched_keys_total", "of" => of),
        }
    }

    /// The answer to a key, read with those of all who ask meanwhile. Errors: 503 when it cannot be read.
    pub(crate) async fn ask(&self, key: K) -> Result<A, Problem> {
        let (tell, told) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if waiting.closed {
                return Err(Problem::unavailable("shutting down"));
            }
            waiting.keys.entry(key).or_default().push(tell);
        }
        self.someone.notify_one();
        match told.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(())) | Err(_) => Err(Problem::unavailable("this cannot be read now")),
        }
    }

    /// The one who reads. When it is dropped, who waits is told that it cannot be read, and so is who comes later.
    pub(crate) fn reader(&self, most: usize) -> Reader<'_, K, A> {
        Reader { gathered: self, most, busy: false }
    }

    fn take(&self, most: usize) -> Vec<(K, Asked<A>)> {
        let mut waiting = self.lock();
        let keys: Vec<K> = waiting.keys.keys().take(most).copied().collect();
        keys.into_iter().filter_map(|key| waiting.keys.remove_entry(&key)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<K, A>> {
        // Whole at every moment.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the keys, batch by batch.
#[derive(Debug)]
pub(crate) struct Reader<'g, K: Copy + Eq + Hash, A: Clone> {
    gathered: &'g Gathered<K, A>,
    /// Keys in one batch.
    most: usize,
    /// There was a batch: more may wait already.
    busy: bool,
}

impl<K: Copy + Eq + Hash, A: Clone> Reader<'_, K, A> {
    /// The next batch; `None` after `stop`. Only waiting is cancelled: a query, once begun, is awaited by the caller.
    pub(crate) async fn next(&mut self, stop: &CancellationToken) -> Option<Batch<K, A>> {
        loop {
            if self.busy {
                let batch = self.gathered.take(self.most);
                if !batch.is_empty() {
                    self.gathered.batches.increment(1);
                    self.gathered.keys.increment(batch.len() as u64);
                    return Some(Batch(batch));
                }
                self.busy = false;
            }
            stop.run_until_cancelled(self.gathered.someone.notified()).await?;
            tokio::time::sleep(GATHER).await;
            self.busy = true;
        }
    }
}

impl<K: Copy + Eq + Hash, A: Clone> Drop for Reader<'_, K, A> {
    fn drop(&mut self) {
        let mut waiting = self.gathered.lock();
        waiting.closed = true;
        // Their senders go, so handlers that drain need not wait for their deadline.
        waiting.keys.clear();
    }
}

/// Keys that are read together.
#[derive(Debug)]
pub(crate) struct Batch<K, A>(Vec<(K, Asked<A>)>);

impl<K: Copy, A: Clone> Batch<K, A> {
    pub(crate) fn keys(&self) -> Vec<K> {
        self.0.iter().map(|(key, _)| *key).collect()
    }

    /// Tells everybody.
    pub(crate) fn answer(self, answers: impl Fn(&K) -> A) {
        self.tell(|key| Ok(answers(key)));
    }

    /// Tells everybody that it cannot be read.
    pub(crate) fn fail(self) {
        self.tell(|_| Err(()));
    }

    fn tell(self, answers: impl Fn(&K) -> Result<A, ()>) {
        for (key, asked) in self.0 {
            let answer = answers(&key);
            for tell in asked {
                // Who hung up needs no answer.
                drop(tell.send(answer.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn who_asks_together_is_read_together_and_nobody_waits_for_a_reader_that_is_gone() {
        let gathered = Arc::new(Gathered::<i64, i64>::new("numbers"));
        let ask = |key: i64| {
            let gathered = Arc::clone(&gathered);
            tokio::spawn(async move { gathered.ask(key).await.ok() })
        };
        let asked: Vec<_> = [1, 2, 2, 3].map(ask).into();
        let stop = CancellationToken::new();
        let mut reader = gathered.reader(2);
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < 3 {
            let batch = reader.next(&stop).await.unwrap();
            sizes.push(batch.keys().len());
            batch.answer(|key| key * 10);
        }
        assert_eq!(sizes, [2, 1], "the key asked for twice is read once");
        let mut heard = Vec::new();
        for answer in asked {
            heard.push(answer.await.unwrap());
        }
        assert_eq!(heard, [Some(10), Some(20), Some(20), Some(30)]);

        let failed = ask(4);
        reader.next(&stop).await.unwrap().fail();
        assert_eq!(failed.await.unwrap(), None);
        let left = ask(5);
        tokio::task::yield_now().await;
        drop(reader);
        assert_eq!((left.await.unwrap(), ask(6).await.unwrap()), (None, None));
        stop.cancel();
        assert!(gathered.reader(1).next(&stop).await.is_none());
    }
}
