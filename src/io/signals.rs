//! The operator's wish to stop, where only the first signal waits for calls, or for new certificates.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::mail::{Command, Mail};

/// Listens for SIGINT and SIGTERM for as long as the event loop of this thread runs.
pub(super) fn start(mail: mpsc::Sender<Mail>) -> io::Result<()> {
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    };
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("stopping when the last call has ended; a second signal hangs up");
        // A worker that is gone has stopped already.
        drop(mail.send(Mail::Drain).await);
        signals.next().await;
        tracing::info!("hanging up");
        drop(mail.send(Mail::HangUp).await);
    });
    Ok(())
}

/// At SIGHUP, has the certificates read anew.
pub(super) fn renew_certificates(commands: mpsc::WeakSender<Command>) -> io::Result<()> {
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            let (asker, renewed) = oneshot::channel();
            // Streams that are gone need no certificates.
            let Some(commands) = commands.upgrade() else {
                return;
            };
            drop(commands.send(Command::Reload(asker)).await);
            match renewed.await {
                Ok(Ok(())) => tracing::info!("the certificates have been read anew"),
                Ok(Err(error)) => tracing::error!(%error, "the certificates stay as they were"),
                Err(_) => return,
            }
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
