//! Sockets for sound: a thread of its own, so that no call waits for audio, nor audio for calls.
//!
//! Each port has a task that reads it; what they hear and what is asked for meet at one desk, which
//! only this thread has. What was counted there anybody may read.
//!
//! - What gives a room or a port back is never lost, however much is waiting.
//! - A panic in here is a bug of ours: all rooms are given up, whoever has one is told, and the next
//!   one opens at an empty desk.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, ready};
use std::thread;

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, LocalSet};

use crate::media::desk::{Command, Counts, Desk, RoomId};
use crate::media::room::{News, Sends, pair};
use crate::media::stream::Junk;
use crate::observe::SoundCounters;
use crate::random::Rng;
use crate::shard::settings::Sound;
use crate::time::Timestamp;

use super::clock::Clock;
use super::mail::Mail;

/// How much may be asked for at once.
const COMMANDS_MAX: usize = 4096;
/// Longest datagram that may be audio.
const DATAGRAM_BYTES: usize = 2048;

/// Where we are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) sound: Sound,
    /// Where SIP is spoken.
    pub(super) listeners: Box<[SocketAddr]>,
}

impl Place {
    /// Whether what came from there, unless it is sound of our own, may be sent here: never to a
    /// listener, and from a port of ours to another one never. A call whose two passes are both
    /// anchored goes through two ports of ours; what goes through more might go round for ever.
    fn may_send(&self, from: Option<SocketAddr>, to: SocketAddr) -> bool {
        let goes_on = from.is_some_and(|from| self.is_ours(from)) && self.is_ours(to);
        !goes_on && !self.speaks_sip(to)
    }

    fn is_ours(&self, at: SocketAddr) -> bool {
        at.ip().to_canonical() == self.sound.address && self.sound.ports.contains(&at.port())
    }

    fn speaks_sip(&self, to: SocketAddr) -> bool {
        let ip = to.ip().to_canonical();
        self.listeners.iter().any(|listener| {
            let at = listener.ip();
            let is_there = at == ip || (at.is_unspecified() && ip == self.sound.address);
            is_there && listener.port() == to.port()
        })
    }
}

/// The thread's state.
struct Studio {
    clock: Clock,
    place: Place,
    desk: Desk,
    ports: BTreeMap<u16, Port>,
    sends: Sends,
    ports_refused: u64,
    panics: u64,
    /// Packets that have left.
    sent: u64,
    turned_back: u64,
    shown: watch::Sender<SoundCounters>,
    worker: mpsc::Sender<Mail>,
    /// What calls have yet to be told.
    untold: mpsc::UnboundedSender<(RoomId, News)>,
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Slot {
    commands: mpsc::UnboundedSender<Command>,
    /// How many of them wait.
    waiting: Arc<AtomicUsize>,
    refused: u64,
    shown: watch::Receiver<SoundCounters>,
}

impl Slot {
    /// Asks for something; what is not done is given back as the news that its room hears of it.
    pub(super) fn put(&mut self, command: Command) -> Result<(), (RoomId, News)> {
        let (room, refusal) = (command.room(), command.refusal());
        let is_full = self.waiting.load(Ordering::Relaxed) >= COMMANDS_MAX;
        if let Some(refusal) = refusal.filter(|_| is_full) {
            self.refused += 1;
            return Err((room, refusal));
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let is_gone = self.commands.send(command).is_err();
        // A thread that has ended has no rooms that could be closed.
        let Some(refusal) = refusal.filter(|_| is_gone) else {
            return Ok(());
        };
        self.refused += 1;
        Err((room, refusal))
    }

    /// What was counted.
    pub(super) fn counts(&self) -> SoundCounters {
        SoundCounters {
            sound_commands_refused: self.refused,
            ..*self.shown.borrow()
        }
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
    place: Place,
    rng: Rng,
    worker: mpsc::Sender<Mail>,
) -> io::Result<Slot> {
    let (sender, commands) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let shown = watch::Sender::new(SoundCounters::default());
    let slot = Slot {
        commands: sender,
        waiting: waiting.clone(),
        refused: 0,
        shown: shown.subscribe(),
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        let (untold, told) = mpsc::unbounded_channel();
        let telling = tell_late(told, worker.clone());
        let studio = Studio {
            clock,
            desk: Desk::new(rng, place.sound.trial),
            place,
            ports: BTreeMap::new(),
            sends: Sends::default(),
            ports_refused: 0,
            panics: 0,
            sent: 0,
            turned_back: 0,
            shown,
            worker,
            untold,
        };
        let serving = serve(Rc::new(RefCell::new(studio)), (commands, waiting));
        let local = LocalSet::new();
        local.spawn_local(telling);
        local.block_on(&runtime, serving);
    };
    // It ends when the worker does.
    let _thread = thread::Builder::new().name("sound".to_owned()).spawn(run)?;
    Ok(slot)
}

async fn serve(
    studio: Rc<RefCell<Studio>>,
    (mut commands, waiting): (mpsc::UnboundedReceiver<Command>, Arc<AtomicUsize>),
) {
    loop {
        let (due, clock) = {
            let studio = studio.borrow();
            (studio.desk.deadline(), studio.clock)
        };
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => {
                    waiting.fetch_sub(1, Ordering::Relaxed);
                    studio.borrow_mut().handle(&studio, command);
                }
                None => return,
            },
            () = until(clock, due) => studio.borrow_mut().tick(),
        }
    }
}

/// Tells what has to be known, however long it takes: a call that did not hear of it would wait for what
/// never comes.
async fn tell_late(
    mut untold: mpsc::UnboundedReceiver<(RoomId, News)>,
    worker: mpsc::Sender<Mail>,
) {
    while let Some((room, news)) = untold.recv().await {
        if worker.send(Mail::Heard { room, news }).await.is_err() {
            return;
        }
    }
}

async fn until(clock: Clock, due: Option<Timestamp>) {
    match due {
        Some(due) => tokio::time::sleep_until(clock.instant(due)).await,
        None => std::future::pending().await,
    }
}

/// What happens to the desk.
impl Studio {
    fn handle(&mut self, own: &Rc<RefCell<Self>>, command: Command) {
        let room = command.room();
        self.guarded(Some(room), |studio| studio.take_in(own, room, command));
    }

    fn tick(&mut self) {
        self.guarded(None, Self::pass_time);
    }

    fn on_packet(&mut self, port: u16, from: SocketAddr, packet: &[u8]) {
        self.guarded(None, |studio| studio.take_packet(port, from, packet));
    }

    /// Runs what concerns this room or all; if it panics, no room is left.
    fn guarded(&mut self, room: Option<RoomId>, handle: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| handle(self))).is_ok() {
            return;
        }
        self.panics += 1;
        let mut lost: BTreeSet<RoomId> = self.ports.values().map(|port| port.room).collect();
        lost.extend(self.desk.give_up());
        lost.extend(room);
        self.release_all(|_, _| true);
        self.sends.clear();
        self.show();
        tracing::error!(rooms = lost.len(), "sound was lost: caught a panic");
        for room in lost {
            self.fail(room);
        }
    }

    fn take_in(&mut self, own: &Rc<RefCell<Self>>, room: RoomId, command: Command) {
        match &command {
            Command::Close { .. } => self.release(room),
            Command::Part { port, .. } => self.release_ports(&pair(*port)),
            Command::Anchor { .. }
            | Command::Play { .. }
            | Command::Open { .. }
            | Command::Mix { .. }
            | Command::Move { .. }
            | Command::Reserve { .. } => {}
        }
        for port in command.ports() {
            if self.ports.get(&port).is_some_and(|it| it.room == room) {
                continue;
            }
            if let Err(error) = self.bind(own, room, port) {
                let at = SocketAddr::new(self.place.sound.address, port);
                tracing::warn!(%at, %error, "no port for sound");
                self.ports_refused += 1;
                self.show();
                return self.refuse(room, &command);
            }
        }
        if matches!(command, Command::Reserve { .. }) {
            self.tell(room, News::Reserved);
        }
        self.desk.handle(self.clock.now(), command);
        self.show();
    }

    /// The system gives no port.
    fn refuse(&mut self, room: RoomId, command: &Command) {
        if let Command::Reserve { ports, .. } = command {
            // Whoever is in it stays.
            let all: Vec<u16> = ports.iter().copied().flat_map(pair).collect();
            self.release_ports(&all);
            self.tell(room, News::Unreserved);
        } else {
            self.release(room);
            self.fail(room);
        }
    }

    fn pass_time(&mut self) {
        let mut news = Vec::new();
        let (now, sends) = (self.clock.now(), &mut self.sends);
        self.desk
            .handle_timeout(now, sends, |room, it| news.push((room, it)));
        self.flush(None);
        self.show();
        for (room, news) in news {
            self.tell(room, news);
        }
    }

    fn take_packet(&mut self, port: u16, from: SocketAddr, packet: &[u8]) {
        let (now, sends) = (self.clock.now(), &mut self.sends);
        let news = self.desk.handle_packet(now, port, from, packet, sends);
        self.flush(Some(from));
        if let Some((room, news)) = news {
            self.tell(room, news);
        }
    }
}

/// The ports, and who hears of them.
impl Studio {
    /// Shows what was counted, to whoever reads it.
    fn show(&self) {
        self.shown.send_replace(SoundCounters {
            sound_packets_sent: self.sent,
            sound_packets_turned_back: self.turned_back,
            sound_panics: self.panics,
            sound_ports_refused: self.ports_refused,
            ..counters_of(self.desk.counts())
        });
    }

    fn bind(&mut self, own: &Rc<RefCell<Self>>, room: RoomId, port: u16) -> io::Result<()> {
        let socket = std::net::UdpSocket::bind((self.place.sound.address, port))?;
        socket.set_nonblocking(true)?;
        let socket = Rc::new(UdpSocket::from_std(socket)?);
        let reader = tokio::task::spawn_local(read(own.clone(), Rc::downgrade(&socket), port));
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

    /// Sends what was made of a packet from there, or by ourselves.
    fn flush(&mut self, from: Option<SocketAddr>) {
        for (port, to, packet) in self.sends.iter() {
            if !self.place.may_send(from, to) {
                self.turned_back += 1;
            } else if let Some(port) = self.ports.get(&port) {
                // A packet that does not leave is one that is lost: the next is 20 ms away.
                let is_sent = port.socket.try_send_to(packet, to).is_ok();
                self.sent += u64::from(is_sent);
            }
        }
        self.sends.clear();
    }

    fn tell(&self, room: RoomId, news: News) {
        let told = self.worker.try_send(Mail::Heard { room, news });
        // A worker that is that far behind has more urgent things to do than to hear of a digit.
        if told.is_err() && !matches!(news, News::Digit(_)) {
            self.tell_surely(room, news);
        }
    }

    /// A room is no more.
    fn fail(&self, room: RoomId) {
        self.tell_surely(room, News::Failed);
    }

    fn tell_surely(&self, room: RoomId, news: News) {
        // Whoever tells it ends with this thread.
        let _is_told = self.untold.send((room, news));
    }
}

fn counters_of(counts: &Counts) -> SoundCounters {
    let dropped = |why| counts.dropped.get(&why).copied().unwrap_or_default();
    let jitter = counts.ended.jitter.as_micros();
    SoundCounters {
        sound_commands_refused: 0,
        sound_gaps: counts.ended.gaps,
        sound_jitter_us: u64::try_from(jitter).unwrap_or(u64::MAX),
        sound_packets_forged: dropped(Junk::Forged),
        sound_packets_malformed: dropped(Junk::Malformed),
        sound_packets_late: counts.ended.late,
        sound_packets_lost: counts.ended.lost,
        sound_packets_received: counts.received,
        sound_packets_sent: 0,
        sound_packets_turned_back: 0,
        sound_packets_unagreed: dropped(Junk::Payload),
        sound_packets_unknown: dropped(Junk::Source),
        sound_panics: 0,
        sound_ports_refused: 0,
        sound_streams: counts.streams,
        sound_streams_ended: counts.ended.streams,
        sound_ticks_skipped: counts.skipped,
    }
}

/// Reads one port for as long as it is open: it has the socket no longer than it looks, so that the port
/// is free as soon as it is given back.
async fn read(studio: Rc<RefCell<Studio>>, socket: Weak<UdpSocket>, port: u16) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let received = poll_fn(|context| match socket.upgrade() {
            Some(socket) => {
                let mut buffer = ReadBuf::new(&mut buffer);
                let from = ready!(socket.poll_recv_from(context, &mut buffer));
                Poll::Ready(Some(from.map(|from| (buffer.filled().len(), from))))
            }
            None => Poll::Ready(None),
        });
        match received.await {
            Some(Ok((length, from))) => {
                let packet = buffer.get(..length).unwrap_or_default();
                studio.borrow_mut().on_packet(port, from, packet);
            }
            // What a peer's host says of our packets (ICMP) comes out here as well, and is nothing to us.
            Some(Err(_)) => tokio::task::yield_now().await,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use super::*;
    use crate::media::clip::Clip;
    use crate::media::codec::Codec;
    use crate::media::digit::Digit;
    use crate::media::room::{Programme, Repeats};
    use crate::media::stream::Agreed;
    use crate::media::trial::Trust;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 71, 1));

    /// A studio, what its worker is told, and the news that cannot be lost.
    struct Kit {
        studio: Rc<RefCell<Studio>>,
        mail: mpsc::Receiver<Mail>,
        shown: watch::Receiver<SoundCounters>,
    }

    impl Kit {
        fn new() -> Self {
            let (worker, mail) = mpsc::channel(1);
            let (untold, told) = mpsc::unbounded_channel();
            tokio::task::spawn_local(tell_late(told, worker.clone()));
            let shown = watch::Sender::new(SoundCounters::default());
            let subscribed = shown.subscribe();
            let studio = Studio {
                clock: Clock::start(),
                place: Place {
                    sound: Sound {
                        address: HERE,
                        ports: 21_000..=21_999,
                        timeout: Duration::from_secs(30),
                        trial: Duration::from_secs(5),
                        takes_new_keys: false,
                    },
                    listeners: Box::from([SocketAddr::new(HERE, 5060)]),
                },
                desk: Desk::new(Rng::from_number(1), Duration::from_secs(5)),
                ports: BTreeMap::new(),
                sends: Sends::default(),
                ports_refused: 0,
                panics: 0,
                sent: 0,
                turned_back: 0,
                shown,
                worker,
                untold,
            };
            Self {
                studio: Rc::new(RefCell::new(studio)),
                mail,
                shown: subscribed,
            }
        }

        fn handle(&self, command: Command) {
            self.studio.borrow_mut().handle(&self.studio, command);
        }

        /// The rooms whose calls are told that they have failed.
        async fn failed(&mut self, count: usize) -> Vec<u64> {
            let mut rooms = Vec::new();
            while rooms.len() < count {
                let mail = tokio::time::timeout(Duration::from_secs(30), self.mail.recv());
                match mail.await.expect("in time") {
                    Some(Mail::Heard { room, news }) => {
                        assert_eq!(news, News::Failed);
                        rooms.push(room.0);
                    }
                    other => panic!("{other:?}"),
                }
            }
            rooms
        }
    }

    fn open(room: u64, port: u16) -> Command {
        let remote = SocketAddr::new(HERE, 9);
        let agreed = Agreed {
            remote,
            signalling: HERE,
            codec: Codec::Pcmu,
            payload_type: 0,
            events: None,
            is_on_hold: false,
            keys: None,
            trust: Trust::Full,
        };
        Command::Open {
            room: RoomId(room),
            party: (port, agreed),
            programme: Programme::new(Clip::new(vec![500; 1600]), Repeats::Forever),
        }
    }

    fn open_towards(room: u64, port: u16, remote: SocketAddr) -> Command {
        let mut command = open(room, port);
        if let Command::Open { party, .. } = &mut command {
            party.1.remote = remote;
        }
        command
    }

    fn is_free(port: u16) -> bool {
        std::net::UdpSocket::bind((HERE, port)).is_ok()
    }

    fn locally(test: impl Future<Output = ()>) {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        LocalSet::new().block_on(&runtime, test);
    }

    /// The story: after one panic nobody was ever told anything again, and all prompts were silent.
    #[test]
    fn a_panic_of_sound_gives_up_all_rooms_and_tells_whoever_has_one() {
        locally(async {
            let mut kit = Kit::new();
            kit.handle(open(1, 21_000));
            kit.handle(open(2, 21_002));
            let ports = [21_004, 21_006];
            kit.handle(Command::Reserve {
                room: RoomId(2),
                ports,
            });
            // The mailbox is full: Reserved is in it.
            for fails in [
                |kit: &Kit| kit.studio.borrow_mut().tick(),
                |kit: &Kit| {
                    let from = SocketAddr::new(HERE, 9);
                    kit.studio.borrow_mut().on_packet(21_000, from, b"");
                },
                |kit: &Kit| kit.handle(Command::Close { room: RoomId(1) }),
            ] {
                kit.studio.borrow_mut().desk.fails = true;
                fails(&kit);
                assert!((0..4).all(|pair| is_free(21_000 + 2 * pair)));
                assert_eq!(kit.studio.borrow().desk.rooms(), 0);
                let told = kit.mail.try_recv();
                if let Ok(Mail::Heard { news, .. }) = told {
                    assert_eq!(news, News::Reserved);
                }
                assert_eq!(kit.failed(2).await, [1, 2]);
                // The thread goes on.
                kit.handle(open(1, 21_000));
                kit.handle(open(2, 21_002));
                assert!(!is_free(21_000));
                assert_eq!(kit.studio.borrow().desk.rooms(), 2);
            }
            let shown = *kit.shown.borrow();
            assert_eq!(shown.sound_panics, 3);
            assert_eq!(shown.sound_streams - shown.sound_streams_ended, 2);
        });
    }

    #[test]
    fn a_port_that_the_system_does_not_give_is_told_of_though_the_mailbox_is_full() {
        locally(async {
            let mut kit = Kit::new();
            let taken = std::net::UdpSocket::bind((HERE, 21_010)).expect("a port");
            for room in 1..=3 {
                kit.handle(open(room, 21_010));
            }
            assert_eq!(kit.failed(3).await, [1, 2, 3]);
            drop(taken);
            assert_eq!(kit.shown.borrow().sound_ports_refused, 3);
        });
    }

    /// The story: a recall whose announcement had ended waited for its callee until its time was over.
    #[test]
    fn what_a_call_waits_for_is_told_though_the_mailbox_is_full() {
        locally(async {
            let mut kit = Kit::new();
            for room in 1..=3 {
                kit.handle(open(room, 21_040 + 2 * u16::try_from(room).expect("few")));
                kit.studio.borrow().tell(RoomId(room), News::PlayedOut);
                kit.studio
                    .borrow()
                    .tell(RoomId(room), News::Digit(Digit::D5));
            }
            let mut told = Vec::new();
            while told.len() < 3 {
                let mail = tokio::time::timeout(Duration::from_secs(30), kit.mail.recv());
                match mail.await.expect("in time") {
                    Some(Mail::Heard { room, news }) => told.push((room.0, news)),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(told, [1, 2, 3].map(|room| (room, News::PlayedOut)));
        });
    }

    /// The story: a room whose closing came when too much was asked for stayed open for ever.
    #[test]
    fn however_much_is_asked_for_what_gives_back_is_not_lost() {
        let (commands, mut taken) = mpsc::unbounded_channel();
        let shown = watch::Sender::new(SoundCounters::default());
        let mut slot = Slot {
            commands,
            waiting: Arc::new(AtomicUsize::new(0)),
            refused: 0,
            shown: shown.subscribe(),
        };
        for _ in 0..COMMANDS_MAX {
            assert_eq!(slot.put(open(1, 21_020)), Ok(()));
        }
        assert_eq!(slot.put(open(2, 21_022)), Err((RoomId(2), News::Failed)));
        let (room, ports) = (RoomId(1), [21_024, 21_026]);
        let reserve = slot.put(Command::Reserve { room, ports });
        assert_eq!(reserve, Err((room, News::Unreserved)));
        assert_eq!(slot.put(Command::Part { room, port: 21_024 }), Ok(()));
        assert_eq!(slot.put(Command::Close { room }), Ok(()));
        assert_eq!(slot.counts().sound_commands_refused, 2);
        let last = std::iter::from_fn(|| taken.try_recv().ok()).last();
        assert!(matches!(last, Some(Command::Close { .. })), "{last:?}");
    }

    #[test]
    fn of_a_thread_that_has_ended_it_is_told() {
        let (commands, taken) = mpsc::unbounded_channel();
        let shown = watch::Sender::new(SoundCounters::default());
        let mut slot = Slot {
            commands,
            waiting: Arc::new(AtomicUsize::new(0)),
            refused: 0,
            shown: shown.subscribe(),
        };
        drop(taken);
        assert_eq!(slot.put(open(2, 21_022)), Err((RoomId(2), News::Failed)));
        assert_eq!(slot.put(Command::Close { room: RoomId(2) }), Ok(()));
    }

    /// Two anchors that are described as each other would send what they pass on round for ever. The
    /// story: nothing was heard in a call through a PBX whose two passes are both anchored here.
    #[test]
    fn what_would_come_back_to_us_is_not_sent() {
        locally(async {
            let kit = Kit::new();
            let place = kit.studio.borrow().place.clone();
            for (from, to, may) in [
                (None, "127.0.71.1:21000", true),
                (Some("127.0.71.2:21000"), "127.0.71.1:21000", true),
                (Some("127.0.71.1:22000"), "127.0.71.1:21000", true),
                (Some("127.0.71.1:21002"), "127.0.71.2:21000", true),
                (Some("127.0.71.1:21002"), "127.0.71.1:21000", false),
                (Some("127.0.71.1:21002"), "[::ffff:127.0.71.1]:21999", false),
                (None, "127.0.71.1:5060", false),
                (Some("127.0.71.2:21000"), "127.0.71.1:5060", false),
            ] {
                let [from, to] =
                    [from, Some(to)].map(|it| it.map(|it| it.parse().expect("an address")));
                let to = to.expect("one");
                assert_eq!(place.may_send(from, to), may, "{from:?} {to}");
            }
            let listener = std::net::UdpSocket::bind((HERE, 5060)).expect("a port");
            listener.set_nonblocking(true).expect("a socket");
            kit.handle(open_towards(1, 21_028, SocketAddr::new(HERE, 5060)));
            kit.studio.borrow_mut().tick();
            let heard = listener.recv(&mut [0; 64]).map_err(|error| error.kind());
            assert_eq!(heard, Err(io::ErrorKind::WouldBlock));
            assert_eq!(kit.shown.borrow().sound_packets_turned_back, 1);
        });
    }

    /// There is no way from loopback to another network.
    #[test]
    fn what_does_not_leave_is_not_counted_as_sent() {
        locally(async {
            let kit = Kit::new();
            let listener = std::net::UdpSocket::bind((HERE, 0)).expect("a port");
            let here = listener.local_addr().expect("an address");
            let elsewhere = "192.0.2.77:4000".parse().expect("an address");
            for (number, port, remote, leaves) in
                [(1, 21_032, elsewhere, false), (2, 21_034, here, true)]
            {
                kit.handle(open_towards(number, port, remote));
                let socket = kit.studio.borrow().ports[&port].socket.clone();
                socket.writable().await.expect("a socket");
                kit.studio.borrow_mut().tick();
                assert_eq!(kit.shown.borrow().sound_packets_sent > 0, leaves);
                let room = RoomId(number);
                kit.handle(Command::Close { room });
            }
        });
    }
}
