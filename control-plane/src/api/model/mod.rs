//! What the API says: one type a noun, with the same field names and status words in REST, gRPC and the CLI.
//!
//! REST serialises these types; gRPC converts them to and from the wire's, where an empty text, zero or absent
//! message stands for `null`.

pub mod api_token;
pub mod audit;
pub mod command;
pub mod connection;
pub mod container_metrics;
pub mod environment;
pub mod event;
pub mod facts;
pub mod fix;
pub mod fleet_run;
mod fleet_run_wire;
pub mod hardening;
pub mod health;
pub mod join_token;
pub mod keyring;
pub mod login_request;
pub mod me;
pub mod member;
pub mod metrics_retention;
pub mod nullable;
pub mod number;
pub mod oidc;
pub mod organization;
mod people_wire;
pub mod power;
pub mod project;
pub mod quota;
pub mod request;
pub mod secret;
pub mod secure;
pub mod series;
pub mod series_query;
pub mod server;
pub mod server_metrics;
pub mod session;
pub mod ssh_key;
pub mod ssh_key_rotation;
pub mod stats;
pub mod structure;
pub mod summary;
pub mod time;
pub mod user;

/// `null` for an empty text.
fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
