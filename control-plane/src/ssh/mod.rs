//! Reaching hosts over SSH: for what happens before an agent is there, and for bringing it there.
//!
//! A connection is made in steps that cannot be swapped: an address is judged and dialled ([`Dialler`](crate::dial::Dialler)), the
//! host's key is verified ([`Connector::dial`]), the login happens ([`Dialled::authenticate`]), and then the one
//! program that is ever run is the agent's own binary ([`Session::run_agent`]), carried there for that one run, be it to
//! look around or to change how the host is entered ([`HostLogin`]). No
//! command line is ever composed from what a caller sent: see [`quote`] and the carrier's constant program.

mod carrier;
mod connect;
mod entrance;
mod error;
mod host_login;
mod key;
mod probe;
mod proof;
pub mod quote;
mod session;

pub use self::{
    connect::{Connector, Dialled},
    entrance::{Entering, Entrance, EntranceError},
    error::{Carriage, Elevation, KeyProblem, SshError, Unreachable},
    host_login::HostLogin,
    key::{MAX_KEY_BYTES, read_private_key},
    probe::probe,
    session::{AgentRun, RunEvent, Session},
};
