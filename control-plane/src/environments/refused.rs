//! Why an environment is not made, changed, moved or deleted.

use super::placement::Refusal;
use crate::error::{Error, ErrorKind};

/// A refusal that leaves everything as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("no such {0}")]
    NotThere(&'static str),
    #[error("{0}")]
    NoPlace(Refusal),
    #[error("a replica can't be replicated: replicate what it replicates")]
    ReplicaOfReplica,
    #[error("a replica has the sizes of what it replicates: change those")]
    ReplicaSizes,
    #[error("Cannot delete environment with {0} replica(s). Delete them first.")]
    HasReplicas(u32),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let detail = refused.to_string();
        match refused {
            Refused::NotThere(noun) => Self::not_found(noun),
            Refused::NoPlace(Refusal::NotReady(_)) => Self::new(ErrorKind::Precondition, "server_not_ready", detail),
            Refused::NoPlace(Refusal::Full(_)) => Self::new(ErrorKind::Precondition, "server_full", detail),
            Refused::ReplicaOfReplica | Refused::ReplicaSizes => Self::invalid("replica", detail),
            Refused::HasReplicas(_) => Self::new(ErrorKind::Precondition, "has_replicas", detail),
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::NoPlace(refusal)
    }
}
