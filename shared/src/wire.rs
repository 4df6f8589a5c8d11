//! The generated wire types and service stubs, the only place they come from.
//!
//! Fields of these types are claims from outside: turn them into domain types at the edge (see the `TryFrom`
//! implementations beside each domain type).

#![allow(clippy::all, unreachable_pub, missing_docs)]

tonic::include_proto!("muster.v1");

/// The file descriptors of every proto, encoded, for gRPC reflection.
#[cfg(feature = "server")]
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
