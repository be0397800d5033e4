//! The operator's wish to stop: the first signal waits for the calls, the second does not.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::mail::Mail;
use super::systemd;

/// Listens for SIGINT and SIGTERM for as long as the event loop of this thread runs.
pub(super) fn start(workers: Vec<mpsc::Sender<Mail>>) -> io::Result<()> {
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    };
    tokio::spawn(async move {
        signals.next().await;
        systemd::stopping();
        tracing::info!("stopping when the last call has ended; a second signal hangs up");
        for mail in &workers {
            // A worker that is gone has stopped already.
            drop(mail.send(Mail::Drain).await);
        }
        signals.next().await;
        tracing::info!("hanging up");
        for mail in &workers {
            drop(mail.send(Mail::HangUp).await);
        }
    });
    Ok(())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
