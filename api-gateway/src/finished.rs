//! Work that goes on when nobody waits for it any more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that is finished even if its owner is dropped: what is left of it then runs as a task of its own. While
/// somebody waits it costs no task and no second wake-up, unlike `tokio::spawn` from the start.
pub(crate) struct Finished<F>(Option<Pin<Box<F>>>)
where
    F: Future + Send + 'static,
    F::Output: Send;

impl<F> Finished<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    pub(crate) fn new(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F> Future for Finished<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Taken while it is polled: work that panics is not polled again by `drop`.
        let Some(mut work) = self.0.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.0 = Some(work);
        }
        polled
    }
}

impl<F> Drop for Finished<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn drop(&mut self) {
        // Without a runtime the process is at its end.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            drop(runtime.spawn(work));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_is_finished_once_begun_or_not() {
        for begin in [false, true] {
            let (go, wait) = oneshot::channel::<()>();
            let (done, seen) = oneshot::channel();
            let work = async move {
                wait.await.unwrap();
                done.send(7).unwrap();
            };
            let mut finished = Finished::new(work);
            if begin {
                assert!(tokio::time::timeout(Duration::ZERO, &mut finished).await.is_err());
            }
            drop(finished);
            go.send(()).unwrap();
            assert_eq!(seen.await, Ok(7));
        }
        assert_eq!(Finished::new(async { 3 }).await, 3);
    }

    #[tokio::test]
    async fn a_panic_ends_the_work() {
        let panicking = std::panic::AssertUnwindSafe(Finished::new(async { panic!("on purpose") }));
        assert!(futures::FutureExt::catch_unwind(panicking).await.is_err());
    }
}
