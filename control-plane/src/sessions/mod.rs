//! The hosts' live streams.

pub mod generation;
