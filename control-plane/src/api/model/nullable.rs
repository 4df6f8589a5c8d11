//! Telling a field that is `null` from one that is not there: the first empties, the second leaves.

use serde::{Deserialize, Deserializer};

/// What was there, `null` too. With `#[serde(default)]`, what was not there is `None`.
///
/// # Errors
/// The value's own.
pub fn there<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}
