//! Recalls and one-legged calls over a layer of their own, in virtual time and with real messages.

mod bridge;
mod confirm;
mod hand_over;
mod rig;
mod ring;
