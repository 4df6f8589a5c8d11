//! Integers in as many bytes as they need: seven bits a byte, the lowest first; signed ones zigzag. Pure.

/// The bytes end within a number, or it is longer than 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes end within a number")]
pub struct EndsEarly;

/// Appends `value`.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number that is small where `value` is near zero.
#[must_use]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// What [`zigzag`] made a number of.
#[must_use]
pub fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Appends `value`, small where it is near zero.
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Appends the first of `values` and what each of the others adds to the one before. Sums wrap, so any value survives.
pub fn put_deltas(out: &mut Vec<u8>, values: impl Iterator<Item = i64>) {
    let mut previous = 0i64;
    for value in values {
        put_zigzag(out, value.wrapping_sub(previous));
        previous = value;
    }
}

/// Takes what [`put_varint`] appended off the front of `input`.
///
/// # Errors
/// [`EndsEarly`].
pub fn take_varint(input: &mut &[u8]) -> Result<u64, EndsEarly> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first().ok_or(EndsEarly)?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(EndsEarly)
}

/// Takes what [`put_zigzag`] appended off the front of `input`.
///
/// # Errors
/// [`EndsEarly`].
pub fn take_zigzag(input: &mut &[u8]) -> Result<i64, EndsEarly> {
    take_varint(input).map(unzigzag)
}
