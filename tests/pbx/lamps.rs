//! Dialog events (RFC 4235) of the PBX's users: what it tells those who watch them.

use super::dialog::Dialog;
use super::endpoint::tagged;
use super::sip::{Sip, parameter, user};
use super::switchboard::Switchboard;

/// Somebody who watches a user.
pub struct Lamp {
    user: String,
    dialog: Dialog,
    version: u32,
    /// Whether it was told that he talks.
    talks: Option<bool>,
}

impl Switchboard {
    /// Whether this is about a lamp; then it has been answered.
    pub fn takes_lamp(&mut self, request: &Sip) -> bool {
        let event = request.first("Event").unwrap_or_default();
        let is_lamp = request.method() == "SUBSCRIBE" && event == "dialog";
        if !is_lamp || !self.switches.tells_dialogs {
            return false;
        }
        if request.tag_of_to().is_some() {
            return self.refreshes_lamp(request);
        }
        if self.caller_of(request).is_some() {
            self.lights_lamp(request);
        }
        true
    }

    fn lights_lamp(&mut self, request: &Sip) {
        let watched = user(request.uri()).unwrap_or_default().to_owned();
        let tag = self.endpoint.unique("lamp");
        let answer = self.granted(request);
        let answer = tagged(answer, &tag);
        self.endpoint.answer(request, &answer);
        self.lamps.push(Lamp {
            user: watched,
            dialog: Dialog::of_server(request, &tag),
            version: 0,
            talks: None,
        });
        self.tell_lamps();
    }

    fn refreshes_lamp(&mut self, request: &Sip) -> bool {
        let mut lamps = self.lamps.iter();
        let Some(place) = lamps.position(|lamp| lamp.dialog.owns(request)) else {
            // It may have forgotten it.
            self.refuse(request, 481, "Subscription Does Not Exist");
            return true;
        };
        if let Some(fault) = self.lamps[place].dialog.count(request) {
            self.endpoint.journal().complain(fault);
        }
        let answer = self.granted(request);
        self.endpoint.answer(request, &answer);
        if request.first("Expires") == Some("0") {
            let mut lamp = self.lamps.remove(place);
            self.notify(&mut lamp, "terminated;reason=timeout");
        } else {
            self.lamps[place].talks = None;
            self.tell_lamps();
        }
        true
    }

    /// Tells what is new.
    pub fn tell_lamps(&mut self) {
        let mut lamps = std::mem::take(&mut self.lamps);
        for lamp in &mut lamps {
            let talks = self.switches.talking.contains(&lamp.user);
            if lamp.talks != Some(talks) {
                lamp.talks = Some(talks);
                self.notify(lamp, "active;expires=600");
            }
        }
        self.lamps = lamps;
    }

    fn notify(&mut self, lamp: &mut Lamp, state: &str) {
        let talk = match lamp.talks {
            Some(true) => "<dialog id=\"own\"><state>confirmed</state></dialog>",
            Some(false) | None => "",
        };
        let body = format!(
            "<?xml version=\"1.0\"?><dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
             version=\"{}\" state=\"full\" entity=\"sip:{}@pbx.test\">{talk}</dialog-info>",
            lamp.version, lamp.user
        );
        lamp.version += 1;
        let contact = self.contact();
        let notify = lamp.dialog.request("NOTIFY");
        let notify = notify
            .with("Contact", &contact)
            .with("Event", "dialog")
            .with("Subscription-State", state)
            .carrying("application/dialog-info+xml", body.as_bytes());
        if let Some(to) = lamp.dialog.hop() {
            self.endpoint.ask(notify, to);
        }
    }

    fn granted(&self, request: &Sip) -> Sip {
        let expires = request.first("Expires").unwrap_or("600");
        if parameter(request.first("From").unwrap_or_default(), "tag").is_none() {
            self.complain("a SUBSCRIBE without a From tag", request);
        }
        Sip::response(request, 200, "OK")
            .with("Contact", &self.contact())
            .with("Expires", expires)
    }
}
