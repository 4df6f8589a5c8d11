//! Room to unpack into, used again and again: giving it back to the system after each chart and having it cleared for the next
//! was two fifths of what charts cost. Pure.

use std::fmt;

use zstd::bulk::Decompressor;

use super::Damaged;

/// Most bytes of either buffer that are kept: enough for a day of a series.
const MAX_KEPT_BYTES: usize = 2 << 20;

/// Room to unpack into. Whoever has it to themselves may use it; what was in it means nothing.
#[derive(Default)]
pub struct Room {
    decompressor: Option<Decompressor<'static>>,
    plain: Vec<u8>,
    slots: Vec<i64>,
}

impl Room {
    /// `compressed`, which becomes `plain_bytes`, in room that [`Room::give_plain`] takes back.
    pub(super) fn decompress(&mut self, compressed: &[u8], plain_bytes: usize) -> Result<Vec<u8>, Damaged> {
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        plain.reserve(plain_bytes);
        if self.decompressor.is_none() {
            self.decompressor = Some(Decompressor::new().map_err(|_| Damaged::Content)?);
        }
        let decompressor = self.decompressor.as_mut().ok_or(Damaged::Content)?;
        let bytes = decompressor.decompress_to_buffer(compressed, &mut plain).map_err(|_| Damaged::Content)?;
        if bytes == plain_bytes { Ok(plain) } else { Err(Damaged::Content) }
    }

    pub(super) fn give_plain(&mut self, plain: Vec<u8>) {
        if plain.capacity() <= MAX_KEPT_BYTES {
            self.plain = plain;
        }
    }

    /// Room for `count` slots, which are zero.
    pub(super) fn slots(&mut self, count: usize) -> Vec<i64> {
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        slots.resize(count, 0);
        slots
    }

    pub(super) fn give_slots(&mut self, slots: Vec<i64>) {
        if slots.capacity() * size_of::<i64>() <= MAX_KEPT_BYTES {
            self.slots = slots;
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("plain", &self.plain.capacity()).field("slots", &self.slots.capacity()).finish()
    }
}
