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

/// Takes as many `numbers`, which are zero, off the front of `input` as there are places for.
pub(super) fn take(input: &mut &[u8], numbers: &mut [i64]) -> Result<(), Damaged> {
    let (planes, rest) = split(input, numbers.len())?;
    for (plane, bytes) in planes.chunks_exact(numbers.len().max(1)).enumerate() {
        numbers.iter_mut().zip(bytes).for_each(|(number, byte)| *number |= i64::from(*byte) << (8 * plane));
    }
    *input = rest;
    Ok(())
}

/// How many bytes `count` numbers have at the front of `input`.
pub(super) fn skip(input: &[u8], count: usize) -> Result<usize, Damaged> {
    split(input, count).map(|(_, rest)| input.len() - rest.len())
}

fn split(input: &[u8], count: usize) -> Result<(&[u8], &[u8]), Damaged> {
    let (width, rest) = input.split_first().ok_or(Damaged::Content)?;
    let width = usize::from(*width);
    if width > MAX_WIDTH {
        return Err(Damaged::Content);
    }
    count.checked_mul(width).and_then(|bytes| rest.split_at_checked(bytes)).ok_or(Damaged::Content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_put_is_taken(
            numbers in prop::collection::vec(any::<u64>(), 0..40),
            bits in 0u32..64,
        ) {
            let numbers: Vec<u64> = numbers.into_iter().map(|number| number >> bits).collect();
            let mut plain = Vec::new();
            put(&mut plain, &numbers);
            plain.extend([7, 7]);
            prop_assert_eq!(skip(&plain, numbers.len()), Ok(plain.len() - 2));
            let (mut input, mut taken) = (&plain[..], vec![0; numbers.len()]);
            take(&mut input, &mut taken).expect("whole");
            let numbers: Vec<_> = numbers.into_iter().map(u64::cast_signed).collect();
            prop_assert_eq!((taken, input), (numbers, &[7u8, 7][..]));
        }

        #[test]
        fn whatever_is_there_is_taken_or_refused(plain in prop::collection::vec(0u8..12, 0..40), count in 0usize..20) {
            let mut input = &plain[..];
            let taken = take(&mut input, &mut vec![0; count]);
            prop_assert_eq!(taken.map(|()| plain.len() - input.len()), skip(&plain, count));
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
        assert_eq!(take(&mut &[9, 0, 0][..], &mut [0; 2]), Err(Damaged::Content));
        assert_eq!(take(&mut &[2, 1, 1, 1][..], &mut [0; 2]), Err(Damaged::Content));
    }
}
