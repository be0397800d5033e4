//! The documents of the HTTP API: what a worker reports, as JSON and as text; no sockets.

pub mod metrics;
pub mod problem;
pub mod record;
pub mod status;
