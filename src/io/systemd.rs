//! What systemd is told: that we are ready, reload, stop, and that the worker lives.
//!
//! Spec: sd_notify(3), sd_watchdog_enabled(3), systemd.service(5) `Type=notify-reload`.
//!
//! Without `NOTIFY_SOCKET` in the environment all of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::mail::Mail;

/// Calls are let in.
pub(super) fn ready() {
    notify(&[NotifyState::Ready, NotifyState::Status("running")]);
}

/// The configuration is read anew; [`ready`] says that this is over.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // Without the time, systemd takes an earlier `READY=1` for the one that it waits for.
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// No new calls are let in.
pub(super) fn stopping() {
    let status = "stopping when the last call has ended";
    notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Tells that we live for as long as the workers do, if systemd wants to know.
pub(super) fn start_watchdog(workers: Vec<mpsc::Sender<Mail>>) {
    if let Some(period) = sd_notify::watchdog_enabled() {
        tokio::spawn(keep_alive(workers, period, || {
            notify(&[NotifyState::Watchdog]);
        }));
    }
}

/// Asks the workers three times a period: one answer that is late kills nobody, a worker that hangs
/// gives none. One that has ended is asked no more.
async fn keep_alive(mut workers: Vec<mpsc::Sender<Mail>>, period: Duration, tell: impl Fn()) {
    let mut looks = interval(period / 3);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let mut alive = Vec::new();
        for mail in workers {
            if answer(&mail).await.is_some() {
                alive.push(mail);
            }
        }
        if alive.is_empty() {
            // The process ends with the last worker.
            return;
        }
        workers = alive;
        tell();
    }
}

async fn answer(mail: &mpsc::Sender<Mail>) -> Option<()> {
    let (tell, told) = oneshot::channel();
    mail.send(Mail::Alive(tell)).await.ok()?;
    told.await.ok()
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.expect("an event loop").block_on(test);
    }

    /// What systemd hears while a worker answers so often and then hangs.
    async fn heard(answers: usize) -> usize {
        let (mail, mut mailbox) = mpsc::channel(1);
        let (tell, mut told) = mpsc::unbounded_channel();
        let alive = keep_alive(vec![mail], Duration::from_millis(3), move || {
            let _is_counted = tell.send(());
        });
        let worker = async move {
            for _ in 0..answers {
                match mailbox.recv().await {
                    Some(Mail::Alive(asker)) => {
                        let _has_gone = asker.send(());
                    }
                    other => panic!("{other:?}"),
                }
            }
            // It takes the next question and never answers.
            mailbox.recv().await
        };
        let hung = tokio::select! {
            () = alive => panic!("the worker is there"),
            question = worker => question,
        };
        assert!(matches!(hung, Some(Mail::Alive(_))));
        let mut heard = 0;
        while told.try_recv().is_ok() {
            heard += 1;
        }
        heard
    }

    #[test]
    fn a_worker_that_hangs_is_not_said_to_live() {
        run(async {
            assert_eq!(heard(0).await, 0);
            assert_eq!(heard(3).await, 3);
        });
    }

    #[test]
    fn nobody_is_told_of_a_worker_that_has_ended() {
        run(async {
            let (mail, mailbox) = mpsc::channel(1);
            drop(mailbox);
            keep_alive(vec![mail], Duration::from_millis(3), || {
                panic!("it has ended")
            })
            .await;
        });
    }
}
