//! The branches of an INVITE: each goes to one phone or peer, and is open until its final response.
//!
//! Spec: RFC 3261 §16.7, §16.8; RFC 3263 §4.3 (S-101).

use crate::call::setup::Setup;
use crate::call::{Call, Phase};
use crate::dialog::Reach;
use crate::sip::flow::Flow;
use crate::table::Key;

#[derive(Debug)]
pub(super) struct Branch {
    /// Its transaction, until the final response.
    pub(super) client: Option<Key>,
    /// Whether anything has come back.
    pub(super) is_heard: bool,
    pub(super) flow: Flow,
    pub(super) reach: Reach,
}

impl Setup {
    /// Whether nobody is left whom this INVITE may reach.
    pub(super) fn is_used_up(&self) -> bool {
        let mut branches = self.branches.iter().skip(self.earlier);
        branches.all(|branch| branch.client.is_none())
    }

    /// Whether nothing is waited for but phones that have never said anything: they are not there, and
    /// what they say all the same is refused by the transactions alone (S-07).
    pub(super) fn is_silent(&self) -> bool {
        let mut open = self.branches.iter().filter(|it| it.client.is_some());
        open.all(|branch| !branch.is_heard)
    }

    pub(super) fn is_done(&self) -> bool {
        self.branches.iter().all(|branch| branch.client.is_none())
    }
}

impl Call {
    /// S-101: the INVITE of a branch has gone on to another server.
    pub(super) fn move_branch(&mut self, branch: u8, client: Key, flow: Flow) {
        let setup = self.setup.as_deref_mut();
        if let Some(branch) = setup.and_then(|setup| setup.branches.get_mut(usize::from(branch))) {
            branch.client = Some(client);
            branch.flow = flow;
        }
    }

    /// Somebody has said something of this branch.
    pub(super) fn note_heard(&mut self, branch: u8) {
        let setup = self.setup.as_deref_mut();
        if let Some(branch) = setup.and_then(|setup| setup.branches.get_mut(usize::from(branch))) {
            branch.is_heard = true;
        }
    }

    /// Whether a branch is of an INVITE that has failed, though A waits on.
    pub(super) fn is_earlier(&self, branch: u8) -> bool {
        let setup = self.setup.as_deref();
        setup.is_some_and(|setup| usize::from(branch) < setup.earlier)
    }

    /// The way of a branch and its transaction; the call's when the branches are forgotten.
    pub(super) fn way_of(&self, branch: u8) -> (Flow, Reach, Option<Key>) {
        let branches = self.setup.as_deref().map(|setup| &setup.branches);
        let branch = branches.and_then(|branches| branches.get(usize::from(branch)));
        match branch {
            Some(branch) => (branch.flow, branch.reach, branch.client),
            None => (self.b.dialog.flow(), Reach::Address, None),
        }
    }

    /// The way of each branch.
    pub(super) fn branch_flows(&self) -> impl Iterator<Item = Flow> {
        let branches = self.setup.as_deref().map(|setup| &setup.branches);
        branches.into_iter().flatten().map(|branch| branch.flow)
    }

    /// It has its final response.
    pub(super) fn end_branch(&mut self, branch: u8) {
        let setup = self.setup.as_deref_mut();
        if let Some(branch) = setup.and_then(|setup| setup.branches.get_mut(usize::from(branch))) {
            branch.client = None;
        }
        if self.phase != Phase::Inviting {
            self.close_setup();
        }
    }
}
