//! Where ticks come from.

use muster_shared::facts::Container;

use crate::sample::{Sampler, Tick};

/// Something that can be sampled each second: this host, or a simulated one.
pub trait TickSource: Send {
    /// Samples now. Numbers in the tick are the source's own; it gives each to one series for ever.
    fn tick(&mut self, now_us: i64) -> Tick;

    /// Takes over the engine's containers.
    fn set_inventory(&mut self, containers: &[Container]);

    /// Whether a container has appeared that the inventory doesn't know.
    fn wants_inventory(&self) -> bool;
}

impl TickSource for Sampler {
    fn tick(&mut self, now_us: i64) -> Tick {
        Self::tick(self, now_us)
    }

    fn set_inventory(&mut self, containers: &[Container]) {
        Self::set_inventory(self, containers);
    }

    fn wants_inventory(&self) -> bool {
        Self::wants_inventory(self)
    }
}
