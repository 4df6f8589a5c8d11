//! Agents' sessions: who is connected, and which of two hosts with one identity is the copy.

pub mod generation;
mod live;

pub use live::{Cut, LIVE_LINGER, LiveGuard, Orders, SessionGuard, Sessions};
