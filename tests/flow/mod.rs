//! Ladders: each arrow in virtual time, each text at both ends.

mod agent;
mod basic;
mod bye;
mod cancel;
mod completion;
mod edge;
mod exchanges;
mod failover;
mod failures;
mod forks;
pub(crate) mod kit;
mod limits;
mod monitor;
mod outsiders;
mod registrar;
mod registrar_users;
mod reinvite;
mod relayed;
mod reliable;
mod reliable_both;
mod repeats;
mod requests;
mod routing;
mod strangers;
mod streams;
mod transfer;
