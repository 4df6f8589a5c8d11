//! How long one organisation keeps its samples: what it set itself, held under what the control plane lets it. Pure.

use std::time::Duration;

use super::Kept;

/// The least an organisation may set: a block of single samples holds an hour.
pub const MIN_OWN: Duration = Duration::from_secs(3_600);

/// What an organisation set itself; `None` is as long as the control plane lets it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    pub raw: Option<Duration>,
    pub minutes: Option<Duration>,
    pub hours: Option<Duration>,
}

/// A period that can't be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    #[error(
        "{field}: expected {min_seconds} to {max_seconds} seconds, or null for as long as the control plane lets you"
    )]
    OutOfBounds { field: &'static str, min_seconds: u64, max_seconds: u64 },
    #[error(
        "{finer} would be {finer_seconds} seconds and {coarser} only {coarser_seconds}: roll-ups are kept at least as long as \
         what they were made of, so shorten the former or lengthen the latter"
    )]
    Shorter { finer: &'static str, finer_seconds: u64, coarser: &'static str, coarser_seconds: u64 },
}

impl Own {
    /// How long samples are kept under `max`, which may have become less than what was set.
    #[must_use]
    pub fn under(&self, max: Kept) -> Kept {
        let held = |own: Option<Duration>, max: Duration| own.map_or(max, |own| own.min(max));
        Kept {
            raw: held(self.raw, max.raw),
            minutes: held(self.minutes, max.minutes),
            hours: held(self.hours, max.hours),
        }
    }

    /// Whether an organisation may set this under `max`.
    ///
    /// # Errors
    /// [`Unacceptable`]: a period out of bounds, or roll-ups that would go before what they were made of.
    pub fn check(&self, max: Kept) -> Result<(), Unacceptable> {
        let periods = [
            ("raw_retention_seconds", self.raw, max.raw),
            ("minute_retention_seconds", self.minutes, max.minutes),
            ("hour_retention_seconds", self.hours, max.hours),
        ];
        for (field, own, max) in periods {
            let min = MIN_OWN.min(max);
            if own.is_some_and(|own| !(min..=max).contains(&own)) {
                let (min_seconds, max_seconds) = (min.as_secs(), max.as_secs());
                return Err(Unacceptable::OutOfBounds { field, min_seconds, max_seconds });
            }
        }
        for [(finer, finer_own, finer_max), (coarser, coarser_own, coarser_max)] in periods.array_windows() {
            let (finer_kept, coarser_kept) = (finer_own.unwrap_or(*finer_max), coarser_own.unwrap_or(*coarser_max));
            // What the control plane itself is set to is its operator's business.
            if coarser_kept < finer_kept && (finer_own.is_some() || coarser_own.is_some()) {
                let (finer_seconds, coarser_seconds) = (finer_kept.as_secs(), coarser_kept.as_secs());
                return Err(Unacceptable::Shorter { finer, finer_seconds, coarser, coarser_seconds });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn what_is_not_set_is_the_control_planes() {
        assert_eq!(Own::default().under(Kept::default()), Kept::default());
        assert_eq!(Own::default().check(Kept::default()), Ok(()));
        let own = Own { raw: Some(3 * DAY), ..Own::default() };
        assert_eq!(own.check(Kept::default()), Ok(()));
        assert_eq!(own.under(Kept::default()), Kept { raw: 3 * DAY, ..Kept::default() });
    }

    #[test]
    fn a_bound_that_came_down_holds_what_was_set_before() {
        let own = Own { raw: Some(3 * DAY), minutes: None, hours: Some(100 * DAY) };
        let max = Kept { raw: DAY, minutes: 10 * DAY, hours: 50 * DAY };
        assert_eq!(own.under(max), max);
    }

    #[test]
    fn out_of_bounds_and_out_of_order_are_refused_with_what_would_do() {
        let refused = |own: Own| own.check(Kept::default()).expect_err("refused").to_string();
        let short = refused(Own { raw: Some(Duration::from_secs(3_599)), ..Own::default() });
        assert!(short.starts_with("raw_retention_seconds: expected 3600 to 604800 seconds"), "{short}");
        let long = refused(Own { hours: Some(731 * DAY), ..Own::default() });
        assert!(long.starts_with("hour_retention_seconds"), "{long}");
        let order = refused(Own { minutes: Some(DAY), ..Own::default() });
        assert!(order.contains("minute_retention_seconds only 86400"), "{order}");
    }

    #[test]
    fn a_control_plane_that_keeps_less_than_an_hour_can_still_be_agreed_with() {
        let minute = Duration::from_secs(60);
        let max = Kept { raw: minute, ..Kept::default() };
        assert_eq!(Own { raw: Some(minute), ..Own::default() }.check(max), Ok(()));
    }

    fn period() -> impl Strategy<Value = Option<Duration>> {
        proptest::option::of((0u64..800 * 86_400).prop_map(Duration::from_secs))
    }

    proptest! {
        #[test]
        fn whatever_is_let_in_is_kept_as_set(raw in period(), minutes in period(), hours in period()) {
            let (own, max) = (Own { raw, minutes, hours }, Kept::default());
            let kept = own.under(max);
            prop_assert!(kept.raw <= max.raw && kept.minutes <= max.minutes && kept.hours <= max.hours);
            if own.check(max).is_ok() {
                prop_assert_eq!(kept.raw, raw.unwrap_or(max.raw));
                prop_assert!(kept.raw <= kept.minutes && kept.minutes <= kept.hours);
            }
        }
    }
}
