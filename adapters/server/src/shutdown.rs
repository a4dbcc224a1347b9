//! Asking the parts of the process to stop.

use tokio::signal::unix::{self, Signal, SignalKind};
use tokio::sync::watch;

/// Asks every [`Shutdown`] of its channel to stop. Dropping it asks too.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Learns that it is time to stop. Clones learn the same.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// A trigger and what it triggers.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Asks to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Waits until somebody asks to stop.
    pub async fn requested(&mut self) {
        // An error says that the trigger is gone.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// SIGTERM and SIGINT, which no longer end the process once this exists.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for SIGTERM or SIGINT.
pub async fn signal() -> std::io::Result<()> {
    Signals::install()?.next().await;
    Ok(())
}
