//! campon between phones and the PBX that is their registrar.
//!
//! Spec: RULES R1, R3, R4, R8, R12.

mod anchor;
mod challenges;
mod completion;
mod joined;
mod nat;
mod numbers;
mod passes;
mod registration;
mod relayed;
mod restart;
mod sources;

use super::kit::draft::{Draft, request, response};
use super::kit::message::Message;
use super::kit::party::Party;
use super::kit::subject::Setup;
use super::kit::world::World;

/// The domain of the PBX, which its phones keep.
const PBX: &str = "pbx.example";

/// A campon in edge mode and its PBX.
fn edge() -> (World, Party) {
    edge_with(Setup::Edge)
}

/// The same of another setup.
fn edge_with(setup: Setup) -> (World, Party) {
    let world = World::new(setup);
    let pbx = world.upstream();
    (world, pbx)
}

/// The address of a user of the PBX's.
fn address(user: &str) -> String {
    format!("sip:{user}@{PBX}")
}

/// A REGISTER of the party's Contact for this user of the PBX's, for an hour.
fn register(user: &str) -> Draft {
    let user = address(user);
    request("REGISTER", &format!("sip:{PBX}"))
        .with_only("To", &format!("<{user}>"))
        .with("From", &format!("<{user}>;tag=reg"))
        .with("Expires", "3600")
}

/// A request of this user of the PBX's, in his name.
fn from(draft: Draft, user: &str) -> Draft {
    draft.with_only("From", &format!("<{}>;tag=of-{user}", address(user)))
}

/// An INVITE of this user to that one.
fn invite(user: &str, whom: &str) -> Draft {
    from(request("INVITE", &address(whom)), user)
}

/// The 200 of a PBX that grants what the REGISTER asks for, for this long.
fn granted(register: &Message, expires_s: u32) -> Draft {
    let contacts = register.list("Contact");
    let grant = |draft: Draft, contact: &&str| {
        let address = contact.split_once('>').map_or(*contact, |(uri, _)| uri);
        draft.with("Contact", &format!("{address}>;expires={expires_s}"))
    };
    contacts.iter().fold(response(register, 200), grant)
}

/// Registers the party for this user; the URI by which the PBX reaches it.
#[track_caller]
fn registers(party: &Party, user: &str, pbx: &Party) -> String {
    party.sends(register(user));
    let at_pbx = pbx.receives("REGISTER");
    pbx.sends(granted(&at_pbx, 3600));
    party.receives("200");
    at_pbx.contact().to_owned()
}
