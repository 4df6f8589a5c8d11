//! Agents' sessions: who is connected, and which of two hosts with one identity is the copy.

pub mod generation;
mod keeper;
mod ledger;
mod live;

pub use keeper::keep_sessions;
pub use ledger::{Closing, Entered, Entry, Ledger, LedgerWriter};
pub use live::{Cut, LIVE_LINGER, LiveGuard, Orders, SessionGuard, Sessions};
