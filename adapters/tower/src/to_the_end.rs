//! Answering to the end.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that is driven to its end, whoever stops waiting for it: where it stands, and in a task of
/// its own from when this is dropped.
///
/// A task for every request would do the same and costs more than the request. `None` is the end by a
/// panic.
pub(crate) struct ToTheEnd<F: Future<Output: Send> + Send + 'static> {
    /// `None` once it has ended.
    future: Option<Pin<Box<F>>>,
    runtime: Handle,
}

impl<F: Future<Output: Send> + Send + 'static> ToTheEnd<F> {
    /// Must be called on a tokio runtime.
    pub(crate) fn new(future: F) -> Self {
        Self { future: Some(Box::pin(future)), runtime: Handle::current() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToTheEnd<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else { return Poll::Ready(None) };
        // Nobody sees what a panic leaves half-way: the future is never polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => {
                self.future = None;
                Poll::Ready(Some(output))
            }
            Err(_) => {
                self.future = None;
                Poll::Ready(None)
            }
        }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.runtime.spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_done_all_the_same() {
        let (go, gone) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let mut work = ToTheEnd::new(async move {
            gone.await.expect("a signal");
            tell.send(()).expect("somebody listens");
        });
        // Begun, and not at its end.
        assert!(tokio::select! { biased; _ = &mut work => false, () = ready(()) => true });
        drop(work);
        go.send(()).expect("it waits");
        told.await.expect("it went on");
    }

    #[tokio::test]
    async fn it_goes_on_even_where_it_was_never_asked() {
        let (tell, told) = oneshot::channel();
        drop(ToTheEnd::new(async move { tell.send(()).expect("somebody listens") }));
        told.await.expect("it ran");
    }

    #[tokio::test]
    async fn a_panic_is_an_end() {
        let dropped = Arc::new(AtomicBool::new(false));
        struct Tell(Arc<AtomicBool>);
        impl Drop for Tell {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let tell = Tell(dropped.clone());
        let work = ToTheEnd::new(async move {
            let _tell = tell;
            panic!("inside");
        });
        assert!(work.await.is_none());
        assert!(dropped.load(Ordering::Relaxed), "what it held is given back");
    }

    #[test]
    fn a_runtime_that_ends_takes_it_along() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let entered = runtime.enter();
        let work = ToTheEnd::new(pending::<()>());
        drop(entered);
        drop(runtime);
        drop(work);
    }
}
