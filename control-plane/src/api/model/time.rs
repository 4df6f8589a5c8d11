//! Points in time as the API writes them: RFC 3339, UTC.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use utoipa::ToSchema;

const SECOND_US: i64 = 1_000_000;

/// Microseconds since the Unix epoch, written as `2025-01-15T10:30:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2025-01-15T10:30:00Z")]
pub struct Time(pub i64);

impl From<Time> for prost_types::Timestamp {
    fn from(time: Time) -> Self {
        // Both fit: the remainder of a second is below 10⁶ microseconds.
        let nanos = i32::try_from(time.0.rem_euclid(SECOND_US) * 1_000).unwrap_or(0);
        Self { seconds: time.0.div_euclid(SECOND_US), nanos }
    }
}

impl From<prost_types::Timestamp> for Time {
    fn from(timestamp: prost_types::Timestamp) -> Self {
        Self(timestamp.seconds.saturating_mul(SECOND_US).saturating_add(i64::from(timestamp.nanos) / 1_000))
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        prost_types::Timestamp::from(*self).fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<prost_types::Timestamp>().map(Self::from).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_rfc_3339_and_back() {
        let time = Time(1_736_937_000_000_000);
        assert_eq!(serde_json::to_string(&time).ok().as_deref(), Some("\"2025-01-15T10:30:00Z\""));
        for us in [-1, 0, 1, 1_736_937_000_123_456] {
            let text = serde_json::to_string(&Time(us)).unwrap_or_default();
            assert_eq!(serde_json::from_str::<Time>(&text).ok(), Some(Time(us)), "{text}");
        }
    }
}
