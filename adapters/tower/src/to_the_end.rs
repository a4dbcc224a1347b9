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
mod tests;
