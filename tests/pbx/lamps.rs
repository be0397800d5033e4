//! What the PBX tells those who watch its users: of their dialogs (RFC 4235), and of what waits for
//! them (RFC 3842).

use super::dialog::Dialog;
use super::endpoint::tagged;
use super::sip::{Sip, parameter, user};
use super::switchboard::Switchboard;

/// Somebody who watches a user.
pub struct Lamp {
    user: String,
    dialog: Dialog,
    package: Package,
    version: u32,
    /// What it was told last.
    told: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Package {
    Dialog,
    Summary,
}

impl Package {
    fn of(event: &str) -> Option<Self> {
        match event {
            "dialog" => Some(Self::Dialog),
            "message-summary" => Some(Self::Summary),
            _ => None,
        }
    }

    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Dialog => ["dialog", "application/dialog-info+xml"],
            Self::Summary => ["message-summary", "application/simple-message-summary"],
        }
    }
}

impl Switchboard {
    /// Whether this is about a lamp; then it has been answered.
    pub fn takes_lamp(&mut self, request: &Sip) -> bool {
        let event = request.first("Event").unwrap_or_default();
        let package = Package::of(event).filter(|package| match package {
            Package::Dialog => self.switches.tells_dialogs,
            Package::Summary => self.switches.voice.is_some(),
        });
        let Some(package) = package.filter(|_| request.method() == "SUBSCRIBE") else {
            return false;
        };
        if request.tag_of_to().is_some() {
            return self.refreshes_lamp(request);
        }
        if self.caller_of(request).is_some() {
            self.lights_lamp(request, package);
        }
        true
    }

    fn lights_lamp(&mut self, request: &Sip, package: Package) {
        let watched = user(request.uri()).unwrap_or_default().to_owned();
        let tag = self.endpoint.unique("lamp");
        let answer = self.granted(request);
        let answer = tagged(answer, &tag);
        self.endpoint.answer(request, &answer);
        self.lamps.push(Lamp {
            user: watched,
            dialog: Dialog::of_server(request, &tag),
            package,
            version: 0,
            told: None,
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
            self.lamps[place].told = None;
            self.tell_lamps();
        }
        true
    }

    /// Tells what is new.
    pub fn tell_lamps(&mut self) {
        let mut lamps = std::mem::take(&mut self.lamps);
        for lamp in &mut lamps {
            let news = self.state_of(lamp);
            if lamp.told.as_ref() != Some(&news) {
                lamp.told = Some(news);
                self.notify(lamp, "active;expires=600");
            }
        }
        self.lamps = lamps;
    }

    fn state_of(&self, lamp: &Lamp) -> String {
        let voice = self.switches.voice.unwrap_or_default();
        let waits = if voice > 0 { "yes" } else { "no" };
        match lamp.package {
            Package::Dialog if self.switches.talking.contains(&lamp.user) => {
                "<dialog id=\"own\"><state>confirmed</state></dialog>".to_owned()
            }
            Package::Dialog => String::new(),
            Package::Summary => {
                format!("Messages-Waiting: {waits}\r\nVoice-Message: {voice}/0\r\n")
            }
        }
    }

    fn notify(&mut self, lamp: &mut Lamp, state: &str) {
        let news = lamp.told.clone().unwrap_or_default();
        let body = match lamp.package {
            Package::Dialog => format!(
                "<?xml version=\"1.0\"?><dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
                 version=\"{}\" state=\"full\" entity=\"sip:{}@pbx.test\">{news}</dialog-info>",
                lamp.version, lamp.user
            ),
            Package::Summary => news,
        };
        let [event, kind] = lamp.package.names();
        lamp.version += 1;
        let contact = self.contact();
        let notify = lamp.dialog.request("NOTIFY");
        let notify = notify
            .with("Contact", &contact)
            .with("Event", event)
            .with("Subscription-State", state)
            .carrying(kind, body.as_bytes());
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
