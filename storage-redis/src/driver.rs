//! Who reads and writes on a connection that many share.
//!
//! The driver of a connection is a task, which is woken by everybody who sends a command. On a runtime
//! with several threads the task that was woken last runs next, so each command would be written, read
//! and answered alone, although others are about to send theirs. Where several are under way the
//! driver therefore goes to the end of its queue once, and takes what has gathered until its turn.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use futures_util::future::select_ok;
use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionAddr};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinHandle;

use crate::connect::{connection, settings};

/// The commands that are under way to a node.
pub(crate) struct Places {
    taken: AtomicUsize,
    all: usize,
}

/// One of them, until it is dropped.
pub(crate) struct Place<'a>(&'a Places);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// With fewer there is nothing to gather, and another thread may be woken for nothing.
const CROWD: usize = 8;

impl Places {
    pub(crate) const fn new(all: usize) -> Self {
        Self { taken: AtomicUsize::new(0), all }
    }

    /// `None`: all are taken.
    pub(crate) fn take(&self) -> Option<Place<'_>> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        // Given back where it was one too many.
        Some(Place(self)).filter(|_| before < self.all)
    }

    fn is_crowded(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= CROWD
    }
}

/// Ends the connection when nobody uses it any more.
pub(crate) struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection for all who have these places.
pub(crate) async fn shared(
    client: &Client,
    places: &Arc<Places>,
) -> Result<(MultiplexedConnection, Option<Arc<Driver>>), String> {
    let info = client.get_connection_info();
    let ConnectionAddr::Tcp(host, port) = info.addr() else {
        // TLS is the driver's own matter; beside it a write more is little.
        return Ok((connection(client).await?, None));
    };
    let made = async {
        let addresses = lookup_host((host.as_str(), *port)).await?;
        // All at once, as the driver does it: one of them may be silent.
        let attempts: Vec<_> = addresses.map(|it| Box::pin(TcpStream::connect(it))).collect();
        if attempts.is_empty() {
            return Err(std::io::Error::other("the name has no address").into());
        }
        let (stream, _) = select_ok(attempts).await?;
        stream.set_nodelay(true)?;
        MultiplexedConnection::new_with_config(info.redis_settings(), stream, settings()).await
    };
    let (connection, driver) = made.await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(gather(driver, Arc::clone(places)));
    Ok((connection, Some(Arc::new(Driver(driver)))))
}

async fn gather(driver: impl Future<Output = ()>, places: Arc<Places>) {
    let mut driver = pin!(driver);
    let mut has_waited = false;
    poll_fn(|context| {
        if !has_waited && places.is_crowded() {
            has_waited = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        has_waited = false;
        driver.as_mut().poll(context)
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::task::Context;

    use futures_util::task::noop_waker;

    use super::*;

    #[test]
    fn there_are_as_many_places_as_there_are() {
        let places = Places::new(2);
        let (first, second) = (places.take(), places.take());
        assert!(first.is_some() && second.is_some() && places.take().is_none());
        assert!(places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
    }

    /// How often the driver had its turn after each of four times that it was woken.
    fn turns(taken: usize) -> Vec<u32> {
        let places = Arc::new(Places::new(100));
        let _taken: Vec<_> = (0..taken).map(|_| places.take()).collect();
        let count = AtomicU32::new(0);
        let driver = poll_fn(|_| {
            count.fetch_add(1, Ordering::Relaxed);
            Poll::<()>::Pending
        });
        let mut gathering = pin!(gather(driver, Arc::clone(&places)));
        let waker = noop_waker();
        let mut poll = |_| {
            assert!(gathering.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            count.load(Ordering::Relaxed)
        };
        (0..4).map(&mut poll).collect()
    }

    #[test]
    fn the_driver_waits_for_one_turn_and_only_where_others_are_under_way() {
        assert_eq!(turns(0), [1, 2, 3, 4]);
        assert_eq!(turns(CROWD - 1), [1, 2, 3, 4]);
        assert_eq!(turns(CROWD), [0, 1, 1, 2]);
        assert_eq!(turns(100), [0, 1, 1, 2]);
    }
}
