//! Numbers as planes: the lowest byte of each, then the second of each, as many as the greatest has. Pure.
//!
//! ```text
//! planes = width(u8) byte{count}{width}
//! ```
//! Bytes of the same weight are alike, and compress well next to each other. And they are read fast: a varint says with each
//! byte whether another follows, which no processor can foresee where numbers are noise, and that cost more than
//! everything else in reading a column. How many numbers there are is known from elsewhere.

use super::Damaged;

/// Most bytes of a number.
const MAX_WIDTH: usize = 8;
/// Of more numbers than this, every seventh is looked at to estimate what they take: no period that seconds often have.
const MANY: usize = 2_000;
const EACH: usize = 7;

/// Appends numbers.
pub(super) fn put(out: &mut Vec<u8>, numbers: &[u64]) {
    let all = numbers.iter().fold(0, |all, number| all | number);
    let width = width_of(all);
    out.push(width as u8);
    for plane in 0..width {
        out.extend(numbers.iter().map(|number| (number >> (8 * plane)) as u8));
    }
}

/// About how many bits are left of numbers when each byte of a plane takes as many as its frequency there asks for. Of many
/// numbers some are looked at, which says enough to choose by.
pub(super) fn estimated_bits(numbers: &[u64]) -> u64 {
    let some = || numbers.iter().step_by(if numbers.len() > MANY { EACH } else { 1 });
    let (all, count) = (some().fold(0, |all, number| all | number), some().len() as f64);
    let of_plane = |plane: usize| {
        let mut counts = [0u32; 256];
        some().for_each(|number| counts[usize::from((number >> (8 * plane)) as u8)] += 1);
        let bits = |times: u32| f64::from(times) * (count / f64::from(times)).log2();
        counts.into_iter().filter(|times| *times > 0).map(bits).sum::<f64>() as u64
    };
    (0..width_of(all)).map(of_plane).sum()
}

/// Bytes of a number.
fn width_of(number: u64) -> usize {
    MAX_WIDTH - number.leading_zeros() as usize / 8
}

/// Numbers as they lie in planes, to be read from any of them on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planes<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Planes<'a> {
    /// Takes the planes of `count` numbers off the front of `input`.
    pub(super) fn take(input: &mut &'a [u8], count: usize) -> Result<Self, Damaged> {
        let (width, rest) = input.split_first().ok_or(Damaged::Content)?;
        let width = usize::from(*width);
        if width > MAX_WIDTH {
            return Err(Damaged::Content);
        }
        let bytes = count.checked_mul(width).ok_or(Damaged::Content)?;
        let (bytes, rest) = rest.split_at_checked(bytes).ok_or(Damaged::Content)?;
        *input = rest;
        Ok(Self { bytes, count })
    }

    /// Sets `numbers` to those from the `from`th on. There are as many.
    pub(super) fn copy(&self, from: usize, numbers: &mut [i64]) {
        numbers.fill(0);
        for (plane, bytes) in self.bytes.chunks_exact(self.count.max(1)).enumerate() {
            numbers
                .iter_mut()
                .zip(&bytes[from..])
                .for_each(|(number, byte)| *number |= i64::from(*byte) << (8 * plane));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_put_is_taken_from_anywhere_on(
            numbers in prop::collection::vec(any::<u64>(), 0..40),
            bits in 0u32..64,
            from in 0usize..40,
        ) {
            let numbers: Vec<u64> = numbers.into_iter().map(|number| number >> bits).collect();
            let mut plain = Vec::new();
            put(&mut plain, &numbers);
            plain.extend([7, 7]);
            let mut input = &plain[..];
            let planes = Planes::take(&mut input, numbers.len()).expect("whole");
            prop_assert_eq!(input, [7, 7]);
            let from = from.min(numbers.len());
            let mut taken = vec![-1; numbers.len() - from];
            planes.copy(from, &mut taken);
            let numbers: Vec<_> = numbers.into_iter().map(u64::cast_signed).collect();
            prop_assert_eq!(taken, &numbers[from..]);
        }

        #[test]
        fn whatever_is_there_is_taken_or_refused(plain in prop::collection::vec(0u8..12, 0..40), count in 0usize..20) {
            let mut input = &plain[..];
            match Planes::take(&mut input, count) {
                Ok(planes) => planes.copy(0, &mut vec![0; count]),
                Err(damage) => prop_assert_eq!((damage, input), (Damaged::Content, &plain[..])),
            }
        }
    }

    #[test]
    fn what_repeats_is_estimated_smaller_than_noise() {
        let bits = |number: fn(u64) -> u64| estimated_bits(&(0..256).map(number).collect::<Vec<_>>());
        assert_eq!(
            [bits(|_| 0), bits(|_| 3), bits(|at| at % 2), bits(|at| at), bits(|at| (at << 8) | (at % 4))],
            [0, 0, 256, 2048, 2560]
        );
    }

    #[test]
    fn numbers_have_as_many_planes_as_the_greatest_has_bytes() {
        let size = |number: u64| {
            let mut plain = Vec::new();
            put(&mut plain, &[0, number]);
            plain.len() / 2
        };
        assert_eq!([0, 1, 255, 256, 65_536, u64::MAX].map(size), [0, 1, 1, 2, 3, 8]);
        for short in [&[9, 0, 0][..], &[2, 1, 1, 1][..]] {
            assert_eq!(Planes::take(&mut &*short, 2).map(drop), Err(Damaged::Content));
        }
    }
}
