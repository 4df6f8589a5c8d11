//! Numbers that are whole more often than not: `4` cores reads better than `4.0`.

use serde::Serializer;

/// Largest magnitude below which every whole `f64` is exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// `number` as an integer where it is one.
#[must_use]
pub fn to_integer(number: f64) -> Option<i64> {
    // The cast is exact: the fraction is zero and the magnitude below 2⁵³.
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

/// Serialises a whole number without a fraction.
///
/// # Errors
/// The serializer's own.
pub fn whole<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match number {
        None => serializer.serialize_none(),
        Some(number) => match to_integer(*number) {
            Some(integer) => serializer.serialize_i64(integer),
            None => serializer.serialize_f64(*number),
        },
    }
}

/// The same for a number that is always there.
///
/// # Errors
/// The serializer's own.
pub fn plain<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    whole(&Some(*number), serializer)
}

/// A gRPC number as the API's: zero stands for `null`.
#[must_use]
pub fn positive(number: f64) -> Option<f64> {
    Some(number).filter(|number| *number > 0.0)
}
