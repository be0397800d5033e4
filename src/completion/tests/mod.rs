//! Completions in virtual time.

mod asks;
mod camping;
mod flows;
mod kit;
mod queues;
mod random;
mod remote;
mod seen;
mod store;
