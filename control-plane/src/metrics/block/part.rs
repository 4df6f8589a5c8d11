//! Compressed bytes of a block: `varint(bytes plain) varint(bytes compressed) zstd`. Pure.

use std::borrow::Cow;

use muster_shared::metric::varint::{put_varint, take_varint};

use super::{Damaged, Room};

/// Largest part, decompressed, in bytes: nothing written here comes near.
const MAX_PLAIN_BYTES: u64 = 256 << 20;

/// A part that is not decompressed yet.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    plain_bytes: usize,
    pub(super) compressed: Cow<'a, [u8]>,
}

impl<'a> Part<'a> {
    /// Takes a part off the front of `input`.
    pub(super) fn take(input: &mut &'a [u8]) -> Result<Self, Damaged> {
        let plain_bytes = take_varint(input)?;
        let bytes = usize::try_from(take_varint(input)?).map_err(|_| Damaged::Content)?;
        if plain_bytes > MAX_PLAIN_BYTES {
            return Err(Damaged::Content);
        }
        let (compressed, rest) = input.split_at_checked(bytes).ok_or(Damaged::Content)?;
        *input = rest;
        let plain_bytes = usize::try_from(plain_bytes).map_err(|_| Damaged::Content)?;
        Ok(Self { plain_bytes, compressed: compressed.into() })
    }

    /// The same with its bytes in it.
    pub(super) fn into_owned(self) -> Part<'static> {
        Part { plain_bytes: self.plain_bytes, compressed: self.compressed.into_owned().into() }
    }

    /// In `room`'s.
    pub(super) fn decompress(&self, room: &mut Room) -> Result<Vec<u8>, Damaged> {
        room.decompress(&self.compressed, self.plain_bytes)
    }
}

/// Appends `plain`, compressed at `level`.
pub(super) fn put(out: &mut Vec<u8>, plain: &[u8], level: i32) {
    // Memory is all that compressing needs.
    let compressed = zstd::bulk::compress(plain, level).unwrap_or_default();
    put_varint(out, plain.len() as u64);
    put_varint(out, compressed.len() as u64);
    out.extend_from_slice(&compressed);
}
