//! B busy, A called back: by feature code and by SUBSCRIBE, here and at a peer.

mod again;
mod agents;
mod asks;
mod camp_on;
mod codes;
mod connections;
mod intrusion;
mod intrusion_matrix;
mod limits;
mod lines;
mod messages;
mod peers;
mod races;
mod recalls;
mod refusals;
mod reserve;
mod stops;
mod subscribers;
mod watchers;
