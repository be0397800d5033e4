//! The documents of the HTTP API, and who may have them: no sockets.

pub mod access;
pub mod documents;
pub mod line_error;
pub mod metrics;
pub mod problem;
pub mod record;
pub mod status;
