//! The scripted PBX: a thread that answers on a socket of its own, and the test's hold on it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::branch::Call;
use super::digest::{Challenges, Verdict};
use super::endpoint::{Endpoint, Event, tagged};
use super::exchange::Relayed;
use super::journal::Journal;
use super::lamps::Lamp;
use super::registrar::Registrar;
use super::sip::{Sip, address, host_port, parameter, user};
use super::switches::Switches;

/// The domain of all its users.
pub const DOMAIN: &str = "pbx.test";

/// A user of the PBX; the password is the name and `pw`.
const USERS: [(&str, &str); 5] = [
    ("alice", "101"),
    ("bob", "102"),
    ("carol", "103"),
    ("dave", "104"),
    ("erin", "105"),
];

/// An account without phones that speaks for all users.
const SPEAKER: &str = "speaker";

/// Numbers that ring several users: all at once, or one after the other.
const GROUP: (&str, [&str; 3]) = ("700", ["alice", "bob", "carol"]);
const HUNT: (&str, [&str; 2]) = ("701", ["bob", "carol"]);

/// How long a user of the hunt group is rung.
pub const HUNT_STEP: Duration = Duration::from_secs(2);

enum Command {
    Set(Box<dyn FnOnce(&mut Switches) + Send>),
    Restart,
    Contacts(String, Sender<Vec<String>>),
    Stop(Sender<usize>),
}

/// A running PBX. Dropped, it stops.
pub struct Pbx {
    address: SocketAddr,
    journal: Journal,
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Pbx {
    pub fn start(address: SocketAddr, switches: Switches) -> Self {
        let journal = Journal::open("pbx");
        let endpoint = Endpoint::open(address, journal.clone());
        let (commands, orders) = channel();
        let mut board = Switchboard::new(endpoint, switches);
        let thread = thread::spawn(move || board.run(&orders));
        Self {
            address,
            journal,
            commands,
            thread: Some(thread),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Changes its habits; in force when this returns.
    pub fn set(&self, change: impl FnOnce(&mut Switches) + Send + 'static) {
        self.order(Command::Set(Box::new(change)));
        // Orders are carried out one after the other.
        let _in_force = self.contacts("nobody");
    }

    /// It forgets registrations, calls and nonces.
    pub fn restart(&self) {
        self.order(Command::Restart);
        let _done = self.contacts("nobody");
    }

    /// Where it would reach a user.
    pub fn contacts(&self, user: &str) -> Vec<String> {
        let (tell, told) = channel();
        self.order(Command::Contacts(user.to_owned(), tell));
        told.recv().expect("the PBX runs")
    }

    /// Stops it, and demands that nothing is left and that it complains of nothing.
    pub fn close(self) {
        let (tell, told) = channel();
        self.order(Command::Stop(tell));
        let calls = told.recv().expect("the PBX runs");
        self.journal.demand_peace();
        assert_eq!(
            calls,
            0,
            "calls are left at the PBX:\n{}",
            self.journal.story()
        );
    }

    fn order(&self, command: Command) {
        self.commands.send(command).expect("the PBX runs");
    }
}

impl Drop for Pbx {
    fn drop(&mut self) {
        let (tell, _) = channel();
        let _stopped_before = self.commands.send(Command::Stop(tell));
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// What the thread has.
pub struct Switchboard {
    pub endpoint: Endpoint,
    pub switches: Switches,
    pub registrar: Registrar,
    challenges: Challenges,
    pub calls: Vec<Call>,
    /// Requests in a dialog that were passed on, by the branch they have there.
    pub relayed: BTreeMap<String, Relayed>,
    pub lamps: Vec<Lamp>,
    probed: Instant,
}

impl Switchboard {
    fn new(endpoint: Endpoint, switches: Switches) -> Self {
        Self {
            endpoint,
            switches,
            registrar: Registrar::default(),
            challenges: Challenges::of(DOMAIN),
            calls: Vec::new(),
            relayed: BTreeMap::new(),
            lamps: Vec::new(),
            probed: Instant::now(),
        }
    }

    fn run(&mut self, orders: &Receiver<Command>) {
        loop {
            while let Ok(order) = orders.try_recv() {
                match order {
                    Command::Set(change) => change(&mut self.switches),
                    Command::Restart => self.restart(),
                    Command::Contacts(user, tell) => {
                        let _gone = tell.send(self.registrar.contacts(&user));
                    }
                    Command::Stop(tell) => {
                        let up = |call: &&Call| call.state != super::branch::State::Ended;
                        let _gone = tell.send(self.calls.iter().filter(up).count());
                        return;
                    }
                }
            }
            if let Some(event) = self.endpoint.poll(Duration::from_millis(20)) {
                self.take(event);
            }
            self.ring_out();
            self.tell_lamps();
            self.probe();
        }
    }

    fn restart(&mut self) {
        self.registrar.forget();
        self.calls.clear();
        self.relayed.clear();
        self.lamps.clear();
        self.challenges = Challenges::of(DOMAIN);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Request(request) if self.takes_lamp(&request) => {}
            Event::Request(request) if request.tag_of_to().is_some() => self.in_dialog(&request),
            Event::Request(request) => self.out_of_dialog(&request),
            Event::Cancelled(invite) => self.cancelled(&invite),
            Event::Response(response) => self.response(&response),
            Event::Silence(branch) => self.silence(&branch),
        }
    }

    fn out_of_dialog(&mut self, request: &Sip) {
        match request.method() {
            "REGISTER" => self.register(request),
            "OPTIONS" => self.refuse(request, 200, "OK"),
            "INVITE" => {
                if let Some(caller) = self.caller_of(request) {
                    self.dial(request, &caller);
                }
            }
            "MESSAGE" => {
                if self.caller_of(request).is_some() {
                    self.refuse(request, 202, "Accepted");
                }
            }
            "SUBSCRIBE" | "PUBLISH" => {
                if self.caller_of(request).is_some() {
                    self.refuse(request, 489, "Bad Event");
                }
            }
            "ACK" => self.complain("an ACK outside of every dialog", request),
            _ => self.refuse(request, 405, "Method Not Allowed"),
        }
    }

    fn register(&mut self, request: &Sip) {
        let aor = address(request.first("To").unwrap_or_default()).to_owned();
        let own = address(request.first("From").unwrap_or_default());
        if own != aor || host_port(&aor) != DOMAIN || request.uri() != format!("sip:{DOMAIN}") {
            self.complain("a REGISTER that the phone cannot have written", request);
        }
        for name in ["Path", "Service-Route", "Route"] {
            if request.first(name).is_some() {
                self.complain("a REGISTER by a way of its own", request);
            }
        }
        let foreign = ["reg-id", "+sip.instance", "pub-gruu"];
        let contacts = request.list("Contact");
        if contacts
            .iter()
            .any(|one| foreign.iter().any(|name| parameter(one, name).is_some()))
        {
            self.complain("a Contact with what concerns the phone's own flow", request);
        }
        match self.challenges.check(request, password) {
            Verdict::Right(name) if user(&aor) == Some(&name) => {
                let outcome = self.registrar.register(&name, request, &self.switches);
                let response = self.signed(outcome.response);
                self.endpoint.answer(request, &response);
                if let Some(complaint) = outcome.complaint {
                    self.endpoint.journal().complain(complaint);
                }
            }
            Verdict::Right(_) => self.refuse(request, 403, "Not Your Address"),
            Verdict::Unbound(why) => {
                self.complain(&why, request);
                self.refuse(request, 403, "Not What Was Challenged");
            }
            Verdict::Unproven => self.challenge(request, 401, "Unauthorized"),
        }
    }

    /// The user whose request this is, if he may; else the request has been answered.
    pub fn caller_of(&mut self, request: &Sip) -> Option<String> {
        let from = address(request.first("From").unwrap_or_default());
        let claimed = request.first("P-Asserted-Identity").map_or(from, address);
        let claimed = user(claimed).unwrap_or_default().to_owned();
        let via = request.first("Via").unwrap_or_default();
        let sent_by = via.split([' ', ';']).nth(1).unwrap_or_default();
        if !self.switches.challenges || self.switches.trusts.iter().any(|one| one == sent_by) {
            return Some(claimed);
        }
        match self.challenges.check(request, password) {
            Verdict::Right(name) if name == claimed => return Some(name),
            Verdict::Right(name) if name == SPEAKER => return Some(claimed),
            Verdict::Right(_) => self.refuse(request, 403, "Not Your Identity"),
            Verdict::Unbound(why) => {
                self.complain(&why, request);
                self.refuse(request, 403, "Not What Was Challenged");
            }
            Verdict::Unproven => self.challenge(request, 407, "Proxy Authentication Required"),
        }
        None
    }

    fn challenge(&mut self, request: &Sip, status: u16, reason: &str) {
        let nonce = self.endpoint.unique("n");
        let value = self.challenges.challenge(request, nonce);
        let name = match status {
            401 => "WWW-Authenticate",
            _ => "Proxy-Authenticate",
        };
        let response = Sip::response(request, status, reason).with(name, &value);
        let response = self.signed(response);
        self.endpoint.answer(request, &response);
    }

    pub fn refuse(&mut self, request: &Sip, status: u16, reason: &str) {
        let response = self.signed(Sip::response(request, status, reason));
        self.endpoint.answer(request, &response);
    }

    pub fn complain(&self, what: &str, request: &Sip) {
        self.endpoint
            .journal()
            .complain(format!("{what}:\n{request}"));
    }

    /// A response with a To tag of its own.
    fn signed(&mut self, response: Sip) -> Sip {
        let tag = self.endpoint.unique("p");
        tagged(response, &tag)
    }

    /// Whom a number rings, in order; empty where it is unknown.
    pub fn plan(&self, number: &str) -> Vec<Vec<String>> {
        let contacts = |name: &&str| self.registrar.contacts(name);
        if number == GROUP.0 {
            return vec![GROUP.1.iter().flat_map(contacts).collect()];
        }
        if number == HUNT.0 {
            return HUNT.1.iter().map(contacts).collect();
        }
        let users = USERS
            .iter()
            .filter(|(name, extension)| [*name, *extension].contains(&number));
        users.map(|(name, _)| contacts(name)).collect()
    }

    fn probe(&mut self) {
        let due = self
            .switches
            .probes
            .is_some_and(|every| self.probed.elapsed() >= every);
        if !due {
            return;
        }
        self.probed = Instant::now();
        for contact in self.registrar.all_contacts() {
            let Some(to) = super::dialog::socket_address(&contact) else {
                continue;
            };
            let (tag, call_id) = (self.endpoint.unique("q"), self.endpoint.unique("probe"));
            let probe = Sip::request("OPTIONS", &contact)
                .with("From", &format!("<sip:{DOMAIN}>;tag={tag}"))
                .with("To", &format!("<{contact}>"))
                .with("Call-ID", &call_id)
                .with("CSeq", "1 OPTIONS");
            self.endpoint.ask(probe, to);
        }
    }
}

fn password(user: &str) -> Option<String> {
    let known = USERS.iter().any(|(name, _)| *name == user);
    (known || user == SPEAKER).then(|| format!("{user}pw"))
}

/// The extension of a user.
pub fn extension(user: &str) -> Option<&'static str> {
    let found = USERS.iter().find(|(name, _)| *name == user);
    found.map(|(_, extension)| *extension)
}
