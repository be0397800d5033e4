//! A party: a user agent that does what the ladder says, arrow by arrow.

use std::time::Duration;

use campon::sip::flow::{Flow, Transport};
use campon::time::Timestamp;

use super::dialog::Dialog;
use super::draft::{self, Draft, Sender};
use super::message::Message;
use super::world::World;

/// A party's handle.
#[derive(Clone)]
pub(crate) struct Party {
    world: World,
    seat: usize,
}

impl Party {
    pub(super) fn new(world: World, seat: usize) -> Self {
        Self { world, seat }
    }

    /// Sends a message to campon and says what went out.
    pub(crate) fn sends(&self, draft: Draft) -> Message {
        let mut state = self.world.0.borrow_mut();
        state.serial += 1;
        let serial = state.serial;
        let now = state.now;
        let (name, flow) = self.place(&state);
        let transport = flow.transport.via_name();
        let raw = draft.written(&Sender {
            name: &name,
            address: flow.remote.to_string(),
            transport,
            serial,
        });
        let sent = Message::of_party(&raw, now);
        state.carry(self.seat, &raw);
        sent.expect("a party writes whole messages")
    }

    /// Sends the same bytes again.
    pub(crate) fn sends_again(&self, message: &Message) {
        self.sends_raw(&message.raw);
    }

    /// Sends bytes that need not be a message.
    pub(crate) fn sends_raw(&self, raw: &[u8]) {
        self.world.0.borrow_mut().carry(self.seat, raw);
    }

    /// Answers a request without a body.
    pub(crate) fn answers(&self, request: &Message, status: u16) -> Message {
        self.sends(draft::response(request, status))
    }

    /// Acknowledges a final response.
    pub(crate) fn acks(&self, invite: &Message, response: &Message) -> Message {
        self.sends(draft::ack(invite, response))
    }

    /// Takes back an INVITE.
    pub(crate) fn cancels(&self, invite: &Message) -> Message {
        self.sends(draft::cancel(invite))
    }

    /// Hangs up.
    pub(crate) fn hangs_up(&self, dialog: &Dialog) -> Message {
        self.sends(draft::bye(dialog))
    }

    /// Hangs up, and campon has heard it.
    #[track_caller]
    pub(crate) fn leaves(&self, dialog: &Dialog) {
        self.hangs_up(dialog);
        self.receives("200");
    }

    /// Takes a call: the 200 as its caller got it.
    #[track_caller]
    pub(crate) fn takes_call(&self, invite: &Message, caller: &Self, sent: &Message) -> Message {
        self.sends(draft::response(invite, 200).with_sdp(draft::ANSWER));
        let answer = caller.receives("200");
        caller.acks(sent, &answer);
        self.receives("ACK");
        answer
    }

    /// Takes an INVITE back before it is answered: the CANCEL.
    #[track_caller]
    pub(crate) fn gives_up(&self, invite: &Message) -> Message {
        let cancel = self.cancels(invite);
        let [_, ended] = self.receives_each(["200", "487"]);
        self.acks(invite, &ended);
        cancel
    }

    /// Refuses an INVITE.
    #[track_caller]
    pub(crate) fn refuses(&self, invite: &Message, status: u16) {
        self.answers(invite, status);
        self.receives("ACK");
    }

    /// Takes a BYE.
    #[track_caller]
    pub(crate) fn is_hung_up_on(&self) -> Message {
        let bye = self.receives("BYE");
        self.answers(&bye, 200);
        bye
    }

    /// Takes the next message: a method, or a code. A 100 on the way is passed over unless asked for.
    #[track_caller]
    pub(crate) fn receives(&self, kind: &str) -> Message {
        let mut state = self.world.0.borrow_mut();
        let inbox = &mut state.seats[self.seat].inbox;
        while kind != "100" && inbox.front().is_some_and(|next| next.status() == 100) {
            inbox.pop_front();
        }
        let next = inbox.pop_front();
        let name = state.seats[self.seat].name.clone();
        match next {
            Some(message) if message.kind() == kind => message,
            Some(message) => state.fail(&format!("{name} awaits {kind} and got\n{message}")),
            None => state.fail(&format!("{name} awaits {kind} and got nothing")),
        }
    }

    /// Waits for the next message, at most this long, and takes it.
    #[track_caller]
    pub(crate) fn receives_within(&self, time: Duration, kind: &str) -> Message {
        let seat = self.seat;
        let has_come = |state: &super::world::State| !state.seats[seat].inbox.is_empty();
        self.world.0.borrow_mut().advance_until(time, has_come);
        self.receives(kind)
    }

    /// Takes all that has come, which must be of one kind.
    #[track_caller]
    pub(crate) fn receives_copies(&self, kind: &str) -> Vec<Message> {
        let waiting = self.waiting();
        (0..waiting).map(|_| self.receives(kind)).collect()
    }

    /// Nothing has come, a 100 excepted.
    #[track_caller]
    pub(crate) fn receives_nothing(&self) {
        let state = self.world.0.borrow();
        let inbox = &state.seats[self.seat].inbox;
        if let Some(message) = inbox.iter().find(|message| message.status() != 100) {
            state.fail(&format!("{} also got\n{message}", self.place(&state).0));
        }
    }

    /// How many messages wait to be taken, 100s not counted.
    pub(crate) fn waiting(&self) -> usize {
        let state = self.world.0.borrow();
        let inbox = state.seats[self.seat].inbox.iter();
        inbox.filter(|message| message.status() != 100).count()
    }

    /// Takes the next message of an INVITE's transaction above 199, whichever it is.
    #[track_caller]
    pub(crate) fn receives_final(&self) -> Message {
        loop {
            let message = self.receives_any();
            if message.status() >= 200 && message.cseq_method() == "INVITE" {
                return message;
            }
        }
    }

    /// Takes the next message, whichever it is.
    #[track_caller]
    pub(crate) fn receives_any(&self) -> Message {
        let mut state = self.world.0.borrow_mut();
        let next = state.seats[self.seat].inbox.pop_front();
        let name = self.place(&state).0;
        next.unwrap_or_else(|| state.fail(&format!("{name} got nothing")))
    }

    /// Takes as many messages as there are kinds, one of each, whichever came first.
    #[track_caller]
    pub(crate) fn receives_each<const N: usize>(&self, kinds: [&str; N]) -> [Message; N] {
        kinds.map(|kind| {
            let mut state = self.world.0.borrow_mut();
            let inbox = &mut state.seats[self.seat].inbox;
            let found = inbox.iter().position(|message| message.kind() == kind);
            let taken = found.and_then(|at| inbox.remove(at));
            let name = self.place(&state).0;
            taken.unwrap_or_else(|| state.fail(&format!("{name} awaits {kind} among others")))
        })
    }

    /// How many messages wait to be taken.
    pub(crate) fn waiting_with_100s(&self) -> usize {
        self.world.0.borrow().seats[self.seat].inbox.len()
    }

    /// Registers its own name at campon for an hour.
    #[track_caller]
    pub(crate) fn registers(&self) {
        self.registers_as(&self.name());
    }

    /// Registers at campon for an hour.
    #[track_caller]
    pub(crate) fn registers_as(&self, user: &str) {
        self.sends(draft::register(user));
        self.receives("200");
    }

    /// Its connection ends.
    pub(crate) fn disconnects(&self) {
        self.world.0.borrow_mut().disconnect(self.seat);
    }

    /// The address as `host:port`.
    pub(crate) fn address(&self) -> String {
        let state = self.world.0.borrow();
        self.place(&state).1.remote.to_string()
    }

    /// The URI at which it takes calls, as its Contact says.
    pub(crate) fn uri(&self) -> String {
        let state = self.world.0.borrow();
        let (name, flow) = self.place(&state);
        let tcp = if flow.transport == Transport::Tcp {
            ";transport=tcp"
        } else {
            ""
        };
        format!("sip:{name}@{}{tcp}", flow.remote)
    }

    fn name(&self) -> String {
        self.place(&self.world.0.borrow()).0
    }

    fn place(&self, state: &super::world::State) -> (String, Flow) {
        let seat = &state.seats[self.seat];
        (seat.name.clone(), seat.flow)
    }
}

/// When messages came, counted from `start`, is as expected: exact but for the 10 ms slots of timers.
#[track_caller]
pub(crate) fn assert_came_at(messages: &[Message], start: Timestamp, expected_ms: &[u64]) {
    let came: Vec<_> = messages
        .iter()
        .map(|message| message.at.since(start))
        .collect();
    let near = |(came, ms): (&Duration, &u64)| {
        let expected = Duration::from_millis(*ms);
        came.abs_diff(expected) <= Duration::from_millis(100)
    };
    let all_near = came.iter().zip(expected_ms).all(near);
    assert!(
        came.len() == expected_ms.len() && all_near,
        "came at {came:?}, expected at {expected_ms:?} ms"
    );
}
