//! Requests outside calls between a phone and the PBX, and between phones.

mod failover;
mod from_pbx;
mod ids;
mod publications;
mod refusals;
mod repeats;
mod single;
mod subscriptions;
mod transfers;
