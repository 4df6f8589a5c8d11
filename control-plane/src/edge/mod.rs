//! The doors: one TLS port where the client's SNI decides, and plain HTTP for a proxy where configured.
//!
//! On the agents' name the internal CA's certificate is presented and a client certificate asked for; every other name
//! gets the public certificate and no such request. Everything a peer can use up has a bound in [`limits`], and every
//! refusal is counted. Stopping is one token: the doors close, connections are told to finish, and what has not
//! finished when the grace is over is cut.

pub mod limits;
mod listener;
mod peer;
mod protect;
mod tls;

pub use limits::Limits;
pub use listener::{Doors, EdgeError, Routers, serve_plain, serve_tls};
pub use peer::Peer;
pub use protect::protect_public;
pub use tls::TlsSettings;
