//! Points in time as people write them: so long ago, or a time in RFC 3339.

use crate::api::model::time::Time;

const SECOND_US: i64 = 1_000_000;
/// Longest time ago, in seconds: a hundred years.
const MAX_AGO_SECONDS: i64 = 100 * 366 * 86_400;

/// When something began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// So many seconds before now.
    Ago(i64),
    At(Time),
}

impl Since {
    /// In microseconds since the epoch, as seen at `now_us`.
    #[must_use]
    pub(super) fn at_us(self, now_us: i64) -> i64 {
        match self {
            Self::Ago(seconds) => now_us.saturating_sub(seconds.saturating_mul(SECOND_US)),
            Self::At(time) => time.0,
        }
    }
}

/// Reads `30m`, `12h`, `7d`, `45s` or `2025-01-15T10:30:00Z`.
///
/// # Errors
/// What it should look like.
pub(super) fn since(text: &str) -> Result<Since, String> {
    let unclear = || "say how long ago, such as 30m, 12h or 7d, or a time such as 2025-01-15T10:30:00Z".to_owned();
    let unit = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    };
    if let Some(seconds) = text.chars().next_back().and_then(unit) {
        let count: i64 = text[..text.len() - 1].parse().map_err(|_| unclear())?;
        let seconds = count.checked_mul(seconds).filter(|seconds| (0..=MAX_AGO_SECONDS).contains(seconds));
        return seconds.map(Since::Ago).ok_or_else(unclear);
    }
    text.parse::<prost_types::Timestamp>().map(|at| Since::At(at.into())).map_err(|_| unclear())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_long_ago_or_a_time() {
        let at = |text: &str| since(text).map(|since| since.at_us(1_736_937_000_000_000));
        assert_eq!(at("30m"), Ok(1_736_935_200_000_000));
        assert_eq!(at("7d"), Ok(1_736_332_200_000_000));
        assert_eq!(at("2025-01-15T10:30:00Z"), Ok(1_736_937_000_000_000));
        for text in ["", "m", "-5m", "5 minutes", "yesterday", "99999999999d", "ü"] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
