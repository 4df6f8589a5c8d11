//! Which part of a list to show.

use clap::Args;

/// A page of a list.
#[derive(Debug, Clone, Copy, Args)]
pub struct Page {
    /// How many to leave out at the start.
    #[arg(long, default_value_t = 0)]
    pub(super) skip: u32,
    /// How many to list at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) limit: u32,
}
