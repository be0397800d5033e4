//! Takes in a changed configuration while calls go on: at SIGHUP, and when its file has changed.
//!
//! A file that does not hold changes nothing: what is in force stays so, and the log says where the
//! file is wrong. SIGHUP also opens the log anew, for whoever moves it away.

use std::fs;
use std::future::pending;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::api::status::{Reload, ReloadOutcome};
use crate::config::{Changes, Config, Error, Origin, keep_fixed};

use super::clock::Clock;
use super::log::Pen;
use super::mail::{Command, Mail};
use super::records::Slot;
use super::systemd;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is in force, as others may want to know it.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The mode, as the first line of the log names it.
    pub(super) mode: &'static str,
    /// The last attempt to change it.
    pub(super) reload: Option<Reload>,
}

/// Whoever puts another configuration in force.
#[derive(Debug)]
pub(super) struct Reloader {
    /// What the process was started with.
    first: Origin,
    /// What is in force, but for what needs a restart.
    origin: Origin,
    /// Each site, and who has to know of it.
    sites: Vec<(Config, Told, watch::Sender<Standing>)>,
    pen: Pen,
}

/// Who has to know of another configuration of a site.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The site, where there are several.
    pub(super) site: Option<Box<str>>,
    /// The clock that the calendar is read with.
    pub(super) clock: Clock,
    /// To the worker.
    pub(super) mail: mpsc::Sender<Mail>,
    /// To the streams, which it does not keep from ending.
    pub(super) commands: mpsc::WeakSender<Command>,
    /// Its call records, if there are any, whose file may be moved away.
    pub(super) records: Option<Slot>,
}

/// Why a configuration is read anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cause {
    /// The file has changed.
    File,
    /// The operator says so.
    Signal,
}

impl Reloader {
    /// The sites that are in force, and where they came from; what others may know of each.
    pub(super) fn new(
        (sites, origin): (Vec<Config>, Origin),
        told: Vec<Told>,
        pen: Pen,
    ) -> (Self, Vec<watch::Receiver<Standing>>) {
        let mut read = Vec::new();
        let sites = sites.into_iter().zip(told).map(|(config, told)| {
            let (standing, reading) = watch::channel(Standing {
                mode: config.mode(),
                reload: None,
            });
            read.push(reading);
            (config, told, standing)
        });
        let reloader = Self {
            first: origin.clone(),
            origin,
            sites: sites.collect(),
            pen,
        };
        (reloader, read)
    }

    /// Listens for SIGHUP and watches the file for as long as the event loop of this thread runs.
    pub(super) fn start(self) -> io::Result<()> {
        let hang_up = signal(SignalKind::hangup())?;
        tokio::spawn(self.run(hang_up));
        Ok(())
    }

    async fn run(mut self, mut hang_up: Signal) {
        let mut watch = Watch::new(self.origin.file.clone());
        loop {
            tokio::select! {
                _ = hang_up.recv() => {
                    watch.skip();
                    self.reopen();
                    self.renew_certificates().await;
                    self.reload(Cause::Signal).await;
                }
                () = watch.changed() => self.reload(Cause::File).await,
            }
        }
    }

    fn reopen(&self) {
        let log = self
            .sites
            .first()
            .and_then(|(first, ..)| first.log.file.as_deref());
        if let Err(error) = self.pen.reopen(log) {
            tracing::error!(%error, "the log cannot be opened anew");
        }
        for (_, told, _) in &self.sites {
            let records = told.records.as_ref();
            if records.is_some_and(|records| !records.reopen()) {
                let site = told.site.as_deref();
                tracing::error!(
                    site,
                    "call records go on where they were: too many wait to be written"
                );
            }
        }
    }

    /// Has the certificates read anew, for whoever replaces them under their names.
    async fn renew_certificates(&self) {
        for (config, told, _) in &self.sites {
            if config.tls.iter().any(Option::is_some) {
                told.renew_certificates().await;
            }
        }
    }

    async fn reload(&mut self, cause: Cause) {
        systemd::reloading();
        let read = self
            .origin
            .reread()
            .and_then(|next| Ok((next.sites()?, next)));
        let reload = match read {
            Ok((sites, next)) => self.take_in(sites, next, cause).await,
            Err(error) => Some(self.refuse(&error)),
        };
        if let Some(reload) = reload {
            for (config, _, standing) in &self.sites {
                standing.send_replace(Standing {
                    mode: config.mode(),
                    reload: Some(reload.clone()),
                });
            }
        }
        systemd::ready();
    }

    fn refuse(&self, error: &Error) -> Reload {
        let error = error.to_string();
        tracing::error!(%error, "the configuration is wrong: what was in force stays so");
        Reload {
            error: Some(error),
            ..self.outcome(ReloadOutcome::Refused)
        }
    }

    /// Puts it in force; `None` if there is nothing to say of it.
    async fn take_in(&mut self, next: Vec<Config>, origin: Origin, cause: Cause) -> Option<Reload> {
        let changed = Changes::between(&self.origin, &origin).keys;
        if changed.is_empty() {
            // Whoever saves a file as it was needs no answer; whoever asks does.
            if cause == Cause::File {
                return None;
            }
            tracing::info!("the configuration is what it was");
            return Some(self.outcome(ReloadOutcome::Unchanged));
        }
        let mut restart = Changes::between(&self.first, &origin).restart;
        let running: Vec<_> = self
            .sites
            .iter()
            .map(|(config, ..)| config.clone())
            .collect();
        let (next, kept) = keep_fixed(next, &running);
        restart.extend(kept);
        let mut is_heard = false;
        for (next, (_, told, _)) in next.iter().zip(&self.sites) {
            is_heard |= told.reconfigure(next).await.is_some();
        }
        if !is_heard {
            // Workers that have ended have nothing to be told.
            return None;
        }
        if let Some(first) = next.first() {
            self.take_in_log(first);
        }
        for (next, (config, ..)) in next.into_iter().zip(&mut self.sites) {
            *config = next;
        }
        self.origin = origin;
        tracing::info!(
            changed = changed.join(" "),
            needs_restart = (!restart.is_empty()).then(|| restart.join(" ")),
            "another configuration is in force"
        );
        for (config, ..) in &self.sites {
            for warning in config.warnings() {
                tracing::warn!(site = config.site.as_deref(), "{warning}");
            }
        }
        Some(Reload {
            changed,
            needs_restart: restart,
            ..self.outcome(ReloadOutcome::Applied)
        })
    }

    fn take_in_log(&self, next: &Config) {
        self.pen.set_level(next.log.level);
        let before = self.sites.first().map(|(first, ..)| &first.log.file);
        if before == Some(&next.log.file) {
            return;
        }
        if let Err(error) = self.pen.reopen(next.log.file.as_deref()) {
            tracing::error!(%error, "the log goes on where it was: the new file cannot be opened");
        }
    }

    fn outcome(&self, outcome: ReloadOutcome) -> Reload {
        let clock = self.sites.first().map(|(_, told, _)| told.clock);
        let at = clock.map(|clock| clock.calendar().utc(clock.now()));
        Reload {
            at: at.unwrap_or_default(),
            outcome,
            changed: Vec::new(),
            needs_restart: Vec::new(),
            error: None,
        }
    }
}

impl Told {
    async fn renew_certificates(&self) {
        // Streams that are gone need no certificates.
        let Some(commands) = self.commands.upgrade() else {
            return;
        };
        let site = self.site.as_deref();
        let (asker, renewed) = oneshot::channel();
        drop(commands.send(Command::Reload(asker)).await);
        match renewed.await {
            Ok(Ok(())) => tracing::info!(site, "the certificates have been read anew"),
            Ok(Err(error)) => tracing::error!(site, %error, "the certificates stay as they were"),
            Err(_) => {}
        }
    }

    /// Waits until the worker goes by this; `None` if it has ended.
    async fn reconfigure(&self, next: &Config) -> Option<()> {
        let settings = Box::new(next.shard.clone());
        let (done, held) = oneshot::channel();
        let mail = Mail::Reconfigure { settings, done };
        self.mail.send(mail).await.ok()?;
        held.await.ok()
    }
}

/// Looks at a file from time to time.
#[derive(Debug)]
struct Watch {
    file: Option<String>,
    looks: Interval,
    sight: Sight,
}

impl Watch {
    fn new(file: Option<String>) -> Self {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            file,
            looks,
            sight: Sight::default(),
        }
    }

    /// Waits until the file has changed; for ever if there is none.
    async fn changed(&mut self) {
        if self.file.is_none() {
            return pending().await;
        }
        loop {
            self.looks.tick().await;
            let stamp = self.stamp();
            if self.sight.look(stamp) {
                return;
            }
        }
    }

    /// Somebody else has the file read as it is now.
    fn skip(&mut self) {
        let stamp = self.stamp();
        self.sight.read = stamp;
    }

    fn stamp(&self) -> Option<Stamp> {
        let about = fs::metadata(self.file.as_deref()?).ok()?;
        Some(Stamp {
            inode: about.ino(),
            bytes: about.size(),
            changed: (about.mtime(), about.mtime_nsec()),
        })
    }
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

/// How a file looked.
#[derive(Debug, Default)]
struct Sight {
    /// When it was last read.
    read: Option<Stamp>,
    /// At the last look.
    last: Option<Stamp>,
}

impl Sight {
    /// Whether it is another file than was read, and has been so for one look: so nobody reads half of
    /// what an editor is writing. A file that is away is about to be replaced.
    fn look(&mut self, stamp: Option<Stamp>) -> bool {
        let is_settled = self.last == stamp;
        self.last = stamp;
        let is_new = stamp.is_some() && stamp != self.read;
        if is_settled && is_new {
            self.read = stamp;
        }
        is_settled && is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stamp(bytes: u64) -> Stamp {
        Stamp {
            inode: 1,
            bytes,
            changed: (0, 0),
        }
    }

    #[test]
    fn a_file_is_read_once_it_has_settled_and_once() {
        let mut sight = Sight::default();
        let looks = [1, 1, 1, 2, 3, 3, 3].map(|bytes| sight.look(Some(stamp(bytes))));
        assert_eq!(looks, [false, true, false, false, false, true, false]);
    }

    #[test]
    fn a_file_that_is_away_for_a_moment_is_waited_for() {
        let mut sight = Sight::default();
        let there = Some(stamp(1));
        let looks = [there, there, None, None, there, there];
        let looks = looks.map(|stamp| sight.look(stamp));
        assert_eq!(looks, [false, true, false, false, false, false]);
    }
}
