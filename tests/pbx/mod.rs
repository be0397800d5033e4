//! A scripted PBX and scripted phones: the other side of campon, which shares no code with it.
//!
//! Both are strict. Whatever they receive that a standard, or the order of the call, does not allow
//! is written into the journal, and a journal with complaints fails the test. Everything is UDP on
//! loopback: a repeated message is a complaint too.

pub mod branch;
pub mod dialog;
pub mod digest;
pub mod endpoint;
pub mod exchange;
pub mod journal;
pub mod lamps;
pub mod office;
pub mod phone;
pub mod registrar;
pub mod sip;
pub mod strict;
pub mod switchboard;
pub mod switches;

pub mod completion;
mod edge;
mod tests;
mod trunk;

pub use phone::Phone;
pub use switchboard::Pbx;
pub use switches::Switches;
