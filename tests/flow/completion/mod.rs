//! B busy, A called back: by feature code and by SUBSCRIBE, here and at a peer.

mod asks;
mod limits;
mod races;
mod recalls;
mod refusals;
mod subscribers;
