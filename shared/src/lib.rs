//! What Muster's control plane and agent must agree on.
//!
//! Vocabulary, states and legal transitions are pure; the only IO-adjacent part is TLS set-up ([`tls`]).

pub mod action;
pub mod backoff;
pub mod command;
pub mod facts;
pub mod hardening;
pub mod id;
pub mod metric;
pub mod policy;
pub mod power;
pub mod preflight;
pub mod receipt;
pub mod seal;
pub mod sign;
pub mod tls;
pub mod wire;
