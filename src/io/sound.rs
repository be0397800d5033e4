//! Sockets for sound: a thread of its own, so that no call waits for audio, nor audio for calls.
//!
//! Each port has a task that reads it; what they hear and what is asked for meet at one desk, which
//! only this thread has. What was counted there anybody may read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::thread;

use tokio::net::UdpSocket;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, LocalSet};

use crate::config::Media;
use crate::media::desk::{Command, Counts, Desk, RoomId};
use crate::media::prompts::{BadPart, Voice};
use crate::media::room::{News, Sends, pair};
use crate::media::stream::Junk;
use crate::observe::SoundCounters;
use crate::random::Rng;
use crate::time::Timestamp;

use super::clock::Clock;
use super::mail::Mail;

/// How much may be asked for at once.
const COMMANDS_MAX: usize = 4096;
/// Longest datagram that may be audio.
const DATAGRAM_BYTES: usize = 2048;

/// The thread's state.
struct Studio {
    clock: Clock,
    address: IpAddr,
    desk: Desk,
    ports: BTreeMap<u16, Port>,
    sends: Sends,
    ports_refused: u64,
    shown: watch::Sender<SoundCounters>,
    worker: mpsc::Sender<Mail>,
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Slot {
    commands: mpsc::Sender<Command>,
    shown: watch::Receiver<SoundCounters>,
}

impl Slot {
    /// Asks for something.
    pub(super) fn put(&self, command: Command) {
        // Whoever opened the room hears no end of it then, and gives up in time.
        let _is_told = self.commands.try_send(command);
    }

    /// What was counted.
    pub(super) fn counts(&self) -> SoundCounters {
        *self.shown.borrow()
    }
}

struct Port {
    room: RoomId,
    socket: Rc<UdpSocket>,
    reader: AbortHandle,
}

/// Starts the thread; it ends when nobody is left who could ask for something.
pub(super) fn start(
    clock: Clock,
    address: IpAddr,
    rng: Rng,
    worker: mpsc::Sender<Mail>,
) -> io::Result<Slot> {
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let shown = watch::Sender::new(SoundCounters::default());
    let slot = Slot {
        commands: sender,
        shown: shown.subscribe(),
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        let studio = Studio {
            clock,
            address,
            desk: Desk::new(rng),
            ports: BTreeMap::new(),
            sends: Sends::default(),
            ports_refused: 0,
            shown,
            worker,
        };
        let local = LocalSet::new();
        local.block_on(&runtime, serve(Rc::new(RefCell::new(studio)), commands));
    };
    // It ends when the worker does.
    let _thread = thread::Builder::new().name("sound".to_owned()).spawn(run)?;
    Ok(slot)
}

/// What is said and played: what the operator's folder does not have is ours.
pub(super) fn voice(media: &Media) -> Result<Voice, BadPart> {
    Voice::new(|name| {
        let folder = media.voice.as_deref()?;
        std::fs::read(folder.join(name).with_extension("wav")).ok()
    })
}

async fn serve(studio: Rc<RefCell<Studio>>, mut commands: mpsc::Receiver<Command>) {
    loop {
        let (due, clock) = {
            let studio = studio.borrow();
            (studio.desk.deadline(), studio.clock)
        };
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => studio.borrow_mut().handle(&studio, command),
                None => return,
            },
            () = until(clock, due) => studio.borrow_mut().tick(),
        }
    }
}

async fn until(clock: Clock, due: Option<Timestamp>) {
    match due {
        Some(due) => tokio::time::sleep_until(clock.instant(due)).await,
        None => std::future::pending().await,
    }
}

impl Studio {
    fn handle(&mut self, own: &Rc<RefCell<Self>>, command: Command) {
        let room = command.room();
        match &command {
            Command::Close { .. } => self.release(room),
            Command::Part { port, .. } => self.release_ports(&pair(*port)),
            Command::Anchor { .. }
            | Command::Play { .. }
            | Command::Open { .. }
            | Command::Mix { .. }
            | Command::Reserve { .. } => {}
        }
        for port in command.ports() {
            if self.ports.get(&port).is_some_and(|it| it.room == room) {
                continue;
            }
            if let Err(error) = self.bind(own, room, port) {
                let at = SocketAddr::new(self.address, port);
                tracing::warn!(%at, %error, "no port for sound");
                self.ports_refused += 1;
                self.show();
                if let Command::Reserve { ports, .. } = command {
                    // Whoever is in it stays.
                    let all: Vec<u16> = ports.into_iter().flat_map(pair).collect();
                    self.release_ports(&all);
                } else {
                    self.release(room);
                }
                self.tell(room, News::Failed);
                return;
            }
        }
        if matches!(command, Command::Reserve { .. }) {
            self.tell(room, News::Reserved);
        }
        self.desk.handle(self.clock.now(), command);
        self.show();
    }

    /// Shows what was counted, to whoever reads it.
    fn show(&self) {
        self.shown.send_replace(SoundCounters {
            sound_ports_refused: self.ports_refused,
            ..counters_of(self.desk.counts())
        });
    }

    fn bind(&mut self, own: &Rc<RefCell<Self>>, room: RoomId, port: u16) -> io::Result<()> {
        let socket = std::net::UdpSocket::bind((self.address, port))?;
        socket.set_nonblocking(true)?;
        let socket = Rc::new(UdpSocket::from_std(socket)?);
        let reader = tokio::task::spawn_local(read(own.clone(), socket.clone(), port));
        let reader = reader.abort_handle();
        self.ports.insert(
            port,
            Port {
                room,
                socket,
                reader,
            },
        );
        Ok(())
    }

    fn release(&mut self, room: RoomId) {
        self.release_all(|_, port| port.room == room);
    }

    fn release_ports(&mut self, ports: &[u16]) {
        self.release_all(|number, _| ports.contains(&number));
    }

    fn release_all(&mut self, goes: impl Fn(u16, &Port) -> bool) {
        self.ports.retain(|number, port| {
            let stays = !goes(*number, port);
            if !stays {
                port.reader.abort();
            }
            stays
        });
    }

    fn tick(&mut self) {
        let mut news = Vec::new();
        let (now, sends) = (self.clock.now(), &mut self.sends);
        self.desk
            .handle_timeout(now, sends, |room, it| news.push((room, it)));
        self.flush();
        self.show();
        for (room, news) in news {
            self.tell(room, news);
        }
    }

    fn flush(&mut self) {
        for (port, to, packet) in self.sends.iter() {
            if let Some(port) = self.ports.get(&port) {
                // A packet that does not leave is one that is lost: the next is 20 ms away.
                let _lost = port.socket.try_send_to(packet, to);
            }
        }
        self.sends.clear();
    }

    fn on_packet(&mut self, port: u16, from: SocketAddr, packet: &[u8]) {
        let (now, sends) = (self.clock.now(), &mut self.sends);
        let news = self.desk.handle_packet(now, port, from, packet, sends);
        self.flush();
        if let Some((room, news)) = news {
            self.tell(room, news);
        }
    }

    fn tell(&self, room: RoomId, news: News) {
        // A worker that is that far behind has more urgent things to do than to hear of a digit.
        let _is_told = self.worker.try_send(Mail::Heard { room, news });
    }
}

fn counters_of(counts: &Counts) -> SoundCounters {
    let dropped = |why| counts.dropped.get(&why).copied().unwrap_or_default();
    let jitter = counts.ended.jitter.as_micros();
    SoundCounters {
        sound_gaps: counts.ended.gaps,
        sound_jitter_us: u64::try_from(jitter).unwrap_or(u64::MAX),
        sound_packets_forged: dropped(Junk::Forged),
        sound_packets_malformed: dropped(Junk::Malformed),
        sound_packets_late: counts.ended.late,
        sound_packets_lost: counts.ended.lost,
        sound_packets_received: counts.received,
        sound_packets_sent: counts.sent,
        sound_packets_unagreed: dropped(Junk::Payload),
        sound_packets_unknown: dropped(Junk::Source),
        sound_ports_refused: 0,
        sound_streams: counts.streams,
        sound_streams_ended: counts.ended.streams,
        sound_ticks_skipped: counts.skipped,
    }
}

/// Reads one port for as long as it is open.
async fn read(studio: Rc<RefCell<Studio>>, socket: Rc<UdpSocket>, port: u16) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        // What a peer's host says of our packets (ICMP) comes out here as well, and is nothing to us.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let packet = buffer.get(..length).unwrap_or_default();
        studio.borrow_mut().on_packet(port, from, packet);
    }
}
