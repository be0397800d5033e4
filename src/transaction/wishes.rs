//! What a machine asked for while it handled an event, for its container to carry out.

use crate::transaction::{invite_client, invite_server, non_invite_client, non_invite_server};

/// One thing that a machine can ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wish {
    /// Acknowledge the failure that came.
    Ack,
    /// Tell the user that no ACK came.
    NoAck,
    /// Send again what was sent last.
    Resend,
    /// Send the message that the event brought.
    Send,
    /// Tell the user that nothing came in time.
    TimedOut,
    /// Send a 100.
    Trying,
    /// Tell the user that the peer cannot be reached.
    Unreachable,
    /// Give the message that came to the user.
    Up,
}

/// A set of wishes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes(u8);

impl Wishes {
    /// Whether the machine asked for this.
    pub(super) fn has(self, wish: Wish) -> bool {
        self.0 & (1 << wish as u8) != 0
    }

    fn add(&mut self, wish: Wish) {
        self.0 |= 1 << wish as u8;
    }
}

impl invite_client::Effects for Wishes {
    fn send_request(&mut self) {
        self.add(Wish::Resend);
    }

    fn send_ack(&mut self) {
        self.add(Wish::Ack);
    }

    fn pass_response_up(&mut self) {
        self.add(Wish::Up);
    }

    fn report_timeout(&mut self) {
        self.add(Wish::TimedOut);
    }

    fn report_transport_error(&mut self) {
        self.add(Wish::Unreachable);
    }
}

impl non_invite_client::Effects for Wishes {
    fn send_request(&mut self) {
        self.add(Wish::Resend);
    }

    fn pass_response_up(&mut self) {
        self.add(Wish::Up);
    }

    fn report_timeout(&mut self) {
        self.add(Wish::TimedOut);
    }

    fn report_transport_error(&mut self) {
        self.add(Wish::Unreachable);
    }
}

impl invite_server::Effects for Wishes {
    fn send_response(&mut self) {
        self.add(Wish::Send);
    }

    fn resend_response(&mut self) {
        self.add(Wish::Resend);
    }

    fn pass_ack_up(&mut self) {
        self.add(Wish::Up);
    }

    fn report_no_ack(&mut self) {
        self.add(Wish::NoAck);
    }

    fn report_transport_error(&mut self) {
        self.add(Wish::Unreachable);
    }
}

impl non_invite_server::Effects for Wishes {
    fn send_trying(&mut self) {
        self.add(Wish::Trying);
    }

    fn send_response(&mut self) {
        self.add(Wish::Send);
    }

    fn resend_response(&mut self) {
        self.add(Wish::Resend);
    }

    fn report_transport_error(&mut self) {
        self.add(Wish::Unreachable);
    }
}
