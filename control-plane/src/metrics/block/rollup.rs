//! Minutes and hours of a series: the least, the greatest, the sum and how much it weighs. Pure.
//!
//! A gauge's sample weighs one; a counter's rate weighs the microseconds it was made over, and its sum is what the
//! counter grew, so that a mean over any time is the increase over the time it took. A rate belongs to the moment of
//! its later reading, on whichever side of an edge the earlier one lies.

use muster_shared::metric::SeriesKind;

use crate::metrics::steps::Bucket;

/// Lanes of a roll-up.
pub const LANES: usize = 4;

/// Bits of a 32-bit rate that roll-ups leave out: fourteen significant ones remain, an error of 0.006 % at most.
const ROUNDED_BITS: u32 = 10;

/// A rate as roll-ups keep it, and as it is shown wherever it may come from one.
#[must_use]
pub fn rounded(rate: f64) -> f64 {
    f64::from(f32::from_bits(rounded_bits(rate)))
}

fn rounded_bits(rate: f64) -> u32 {
    let bits = (rate as f32).to_bits();
    bits.saturating_add(1 << (ROUNDED_BITS - 1)) >> ROUNDED_BITS << ROUNDED_BITS
}

/// `bucket` as it is stored. Rates are [`rounded`]; sums beyond 64 bits stop there.
#[must_use]
pub fn to_lanes(kind: SeriesKind, bucket: &Bucket) -> [i64; LANES] {
    let weight = bucket.weight;
    match kind {
        SeriesKind::Gauge => {
            let (min, max) = (bucket.min as i64, bucket.max as i64);
            let above = bucket.sum.saturating_sub(i128::from(min).saturating_mul(i128::from(weight)));
            [min, max.saturating_sub(min), clamp(above), weight]
        }
        SeriesKind::Counter => {
            let bits = |rate: f64| i64::from(rounded_bits(rate));
            [bits(bucket.min), bits(bucket.max) - bits(bucket.min), clamp(bucket.sum), weight]
        }
    }
}

/// What [`to_lanes`] stored.
#[must_use]
pub fn from_lanes(kind: SeriesKind, lanes: [i64; LANES]) -> Bucket {
    let [min, above, sum, weight] = lanes;
    let max = min.saturating_add(above);
    match kind {
        SeriesKind::Gauge => Bucket {
            min: min as f64,
            max: max as f64,
            sum: i128::from(sum) + i128::from(min) * i128::from(weight),
            weight,
        },
        SeriesKind::Counter => {
            let rate = |bits: i64| f64::from(f32::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)));
            Bucket { min: rate(min), max: rate(max), sum: i128::from(sum), weight }
        }
    }
}

fn clamp(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_gauge_s_bucket_is_read_back_exactly(values in prop::collection::vec(-1i64 << 50..1 << 50, 1..100)) {
            let mut bucket = Bucket::default();
            values.iter().for_each(|value| bucket.add(*value as f64, i128::from(*value), 1));
            prop_assert_eq!(from_lanes(SeriesKind::Gauge, to_lanes(SeriesKind::Gauge, &bucket)), bucket);
        }

        #[test]
        fn a_counter_s_increase_is_exact_and_its_rates_are_near(grown in prop::collection::vec(0i64..1 << 50, 1..100)) {
            let mut bucket = Bucket::default();
            grown.iter().for_each(|grown| bucket.add(*grown as f64 / 1.7, i128::from(*grown), 1_700_000));
            let read = from_lanes(SeriesKind::Counter, to_lanes(SeriesKind::Counter, &bucket));
            prop_assert_eq!((read.sum, read.weight), (bucket.sum, bucket.weight));
            prop_assert_eq!((read.min, read.max), (rounded(bucket.min), rounded(bucket.max)));
            prop_assert!((read.max - bucket.max).abs() <= bucket.max / 16_000.0);
            prop_assert_eq!(to_lanes(SeriesKind::Counter, &read), to_lanes(SeriesKind::Counter, &bucket));
        }
    }
}
