//! The unprivileged role: samples, spools and holds one stream to the control plane.

pub mod dial;
pub mod enroll;
pub mod facts;
pub mod port;
pub mod renew;
pub mod run;
pub mod session;
pub mod source;
pub mod stream;

pub use self::run::{Exit, LinkError, Settings, run};
