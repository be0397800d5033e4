//! Completions in virtual time.

mod asks;
mod camping;
mod flows;
mod kit;
mod messages;
mod queues;
mod random;
mod remote;
mod room;
mod seen;
mod store;
