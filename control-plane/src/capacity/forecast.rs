//! When a disk will be full, from its use by the hour. Pure.
//!
//! The slope is the median of the slopes between any two points (Theil and Sen), which a quarter of wild points doesn't
//! move. It counts only where it is significant: by Mann's and Kendall's test, and in both halves of the history alike, so
//! that one large file is no trend. Neighbouring hours resemble each other, so the test asks for more than it would of
//! independent points.

/// How far back a forecast looks.
pub const WINDOW_HOURS: i64 = 14 * 24;
/// Most points it takes: one an hour.
pub const MAX_POINTS: usize = WINDOW_HOURS as usize;
/// The shortest history that a forecast is made from: one day shows whether the night takes back what the day brought.
pub const MIN_HOURS: i64 = 24;
/// Fewest points in it.
const MIN_POINTS: usize = 24;
/// Standard deviations by which the order of the points must differ from chance.
const SIGNIFICANT_DEVIATIONS: f64 = 5.0;
/// The least that the disk must have filled over the history, in percent of its size.
const MIN_RISE_PERCENT: f64 = 0.5;
/// Nothing is said of what lies further ahead.
const HORIZON_HOURS: f64 = 365.0 * 24.0;

/// What is to be expected of a disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Forecast {
    /// The history is too short to say anything: so many hours of [`MIN_HOURS`].
    HistoryTooShort { hours: i64 },
    /// It does not fill up, or not within a year.
    NotFilling,
    /// It fills up.
    Full {
        /// From the hour of the last point on; 0 for one that is full.
        in_days: f64,
        from_hour: i64,
        percent_per_day: f64,
    },
}

impl Forecast {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HistoryTooShort { .. } => "history_too_short",
            Self::NotFilling => "not_filling",
            Self::Full { .. } => "filling",
        }
    }

    /// In words.
    #[must_use]
    pub fn detail(self) -> String {
        match self {
            Self::HistoryTooShort { hours } => {
                format!("no forecast yet: {hours} of {MIN_HOURS} hours of disk use are known")
            }
            Self::NotFilling => "the disk is not filling up".to_owned(),
            Self::Full { in_days, .. } if in_days < 1.0 => "disk full within a day".to_owned(),
            Self::Full { in_days, .. } => match in_days.round() {
                1.0 => "disk full in 1 day".to_owned(),
                days => format!("disk full in {days} days"),
            },
        }
    }
}

/// What is to be expected of a disk whose use was `points`: hour and percent, one point an hour, in any order.
#[must_use]
pub fn forecast(points: &[(i64, f64)]) -> Forecast {
    let mut points: Vec<(i64, f64)> = points.iter().copied().filter(|(_, percent)| percent.is_finite()).collect();
    points.sort_by_key(|(hour, _)| *hour);
    points.dedup_by_key(|(hour, _)| *hour);
    points.drain(..points.len().saturating_sub(MAX_POINTS));
    let hours = match (points.first(), points.last()) {
        (Some((first, _)), Some((last, _))) => last.saturating_sub(*first),
        _ => 0,
    };
    if hours < MIN_HOURS || points.len() < MIN_POINTS {
        return Forecast::HistoryTooShort { hours: hours.min(MIN_HOURS).min(points.len() as i64) };
    }
    let slope = slope(&points);
    let halves = points.split_at(points.len() / 2);
    let rises = slope > 0.0
        && self::slope(halves.0) > 0.0
        && self::slope(halves.1) > 0.0
        && slope * hours as f64 >= MIN_RISE_PERCENT
        && deviations(&points) >= SIGNIFICANT_DEVIATIONS;
    if !rises {
        return Forecast::NotFilling;
    }
    let from_hour = points.last().map_or(0, |(hour, _)| *hour);
    let level = level_at(from_hour, &points, slope);
    let hours_left = ((100.0 - level) / slope).max(0.0);
    if hours_left > HORIZON_HOURS {
        return Forecast::NotFilling;
    }
    Forecast::Full { in_days: hours_left / 24.0, from_hour, percent_per_day: slope * 24.0 }
}

/// Percent an hour.
fn slope(points: &[(i64, f64)]) -> f64 {
    let slopes = pairs(points).map(|(early, late)| (late.1 - early.1) / (late.0 - early.0) as f64);
    median(slopes.collect())
}

/// Where the line is at `end`, which no single last point can move.
fn level_at(end: i64, points: &[(i64, f64)], slope: f64) -> f64 {
    median(points.iter().map(|(hour, percent)| percent + slope * (end - hour) as f64).collect())
}

fn pairs(points: &[(i64, f64)]) -> impl Iterator<Item = (&(i64, f64), &(i64, f64))> {
    points.iter().enumerate().flat_map(|(at, early)| points[at + 1..].iter().map(move |late| (early, late)))
}

/// How far the number of rising pairs lies above that of a history without a trend, in standard deviations.
fn deviations(points: &[(i64, f64)]) -> f64 {
    let sign = |(early, late): (&(i64, f64), &(i64, f64))| match late.1.total_cmp(&early.1) {
        std::cmp::Ordering::Less => -1.0,
        std::cmp::Ordering::Equal => 0.0,
        std::cmp::Ordering::Greater => 1.0,
    };
    let score: f64 = pairs(points).map(sign).sum();
    let spread = |count: f64| count * (count - 1.0) * (2.0 * count + 5.0);
    let mut values: Vec<f64> = points.iter().map(|(_, percent)| *percent).collect();
    values.sort_by(f64::total_cmp);
    let ties: f64 = values.chunk_by(|one, other| one == other).map(|tied| spread(tied.len() as f64)).sum();
    let variance = (spread(points.len() as f64) - ties) / 18.0;
    if variance > 0.0 { score / variance.sqrt() } else { 0.0 }
}

/// 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let (middle, is_odd) = (values.len() / 2, values.len() % 2 == 1);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if is_odd {
        return *upper;
    }
    f64::midpoint(below.iter().copied().fold(f64::NEG_INFINITY, f64::max), *upper)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 490_000;

    fn line(hours: i64, from: f64, per_day: f64) -> Vec<(i64, f64)> {
        (0..=hours).map(|hour| (START + hour, from + per_day * hour as f64 / 24.0)).collect()
    }

    fn days(points: &[(i64, f64)]) -> Option<f64> {
        match forecast(points) {
            Forecast::Full { in_days, .. } => Some(in_days),
            _ => None,
        }
    }

    #[test]
    fn a_steady_rise_ends_when_it_does() {
        let points = line(5 * 24, 68.0, 2.0);
        assert!((days(&points).expect("a forecast") - 11.0).abs() < 0.01);
        assert_eq!(forecast(&line(7 * 24, 68.0, 2.0)).detail(), "disk full in 9 days");
    }

    #[test]
    fn a_short_history_says_so() {
        assert_eq!(forecast(&[]), Forecast::HistoryTooShort { hours: 0 });
        let short = forecast(&line(5, 50.0, 10.0));
        assert_eq!(short.detail(), "no forecast yet: 5 of 24 hours of disk use are known");
        let gaps = [(START, 10.0), (START + 300, 90.0)];
        assert_eq!(forecast(&gaps), Forecast::HistoryTooShort { hours: 2 });
    }

    #[test]
    fn what_is_no_trend_is_none() {
        let flat = line(10 * 24, 60.0, 0.0);
        let falling = line(10 * 24, 90.0, -2.0);
        let one_large_file: Vec<_> =
            (0..240).map(|hour| (START + hour, if hour < 120 { 40.0 } else { 60.0 })).collect();
        // Backups that come each night and go again.
        let by_day: Vec<_> =
            (0..240).map(|hour| (START + hour, 50.0 + 10.0 * f64::from((hour % 24) as i32) / 24.0)).collect();
        let far_away = line(10 * 24, 10.0, 0.2);
        for points in [flat, falling, one_large_file, by_day, far_away] {
            assert_eq!(forecast(&points), Forecast::NotFilling);
        }
    }

    fn full_in(in_days: f64) -> Forecast {
        Forecast::Full { in_days, from_hour: START, percent_per_day: 1.0 }
    }

    #[test]
    fn a_full_disk_is_full_now() {
        assert_eq!(days(&line(48, 96.0, 4.0)), Some(0.0));
        assert_eq!(full_in(0.0).detail(), "disk full within a day");
        assert_eq!(full_in(1.2).detail(), "disk full in 1 day");
    }

    #[test]
    fn medians_are_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
    }

    /// Independent noise of the size given, the same for the same seed.
    fn noisy(points: Vec<(i64, f64)>, size: f64, seed: u64) -> Vec<(i64, f64)> {
        let mut state = seed | 1;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31) - 0.5
        };
        points.into_iter().map(|(hour, percent)| (hour, percent + 2.0 * size * next())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn noise_hardly_moves_a_rise(from in 10.0..40.0, per_day in 1.0..4.0, seed: u64) {
            let points = noisy(line(10 * 24, from, per_day), 0.5, seed);
            let expected = (100.0 - from - 10.0 * per_day) / per_day;
            let found = days(&points).expect("a forecast");
            prop_assert!((found - expected).abs() <= 0.1 * expected + 0.5, "{found} instead of {expected}");
        }

        #[test]
        fn a_tenth_of_wild_points_hardly_moves_a_rise(
            from in 10.0..30.0, per_day in 2.0..4.0, at in 0_usize..10, wild in 0.0..100.0,
        ) {
            let mut points = line(10 * 24, from, per_day);
            for point in points.iter_mut().skip(at).step_by(10) {
                point.1 = wild;
            }
            let expected = (100.0 - from - 10.0 * per_day) / per_day;
            let found = days(&points).expect("a forecast");
            prop_assert!((found - expected).abs() <= 0.2 * expected + 0.5, "{found} instead of {expected}");
        }

        #[test]
        fn noise_alone_is_no_trend(level in 5.0..90.0, size in 0.0..5.0, seed: u64) {
            prop_assert_eq!(forecast(&noisy(line(10 * 24, level, 0.0), size, seed)), Forecast::NotFilling);
        }

        #[test]
        fn neither_order_nor_date_matters(from in 10.0..60.0, per_day in -2.0..4.0, seed: u64, later in 0_i64..10_000) {
            let points = noisy(line(6 * 24, from, per_day), 0.3, seed);
            let reversed: Vec<_> = points.iter().rev().copied().collect();
            let moved: Vec<_> = points.iter().map(|(hour, percent)| (hour + later, *percent)).collect();
            prop_assert_eq!(forecast(&reversed), forecast(&points));
            prop_assert_eq!(days(&moved), days(&points));
        }

        #[test]
        fn whatever_the_history_the_answer_is_a_number_or_none(
            points in proptest::collection::vec((0_i64..1000, prop_oneof![0.0..200.0, Just(f64::NAN)]), 0..400),
        ) {
            if let Forecast::Full { in_days, percent_per_day, .. } = forecast(&points) {
                prop_assert!((0.0..=365.0).contains(&in_days) && percent_per_day > 0.0);
            }
        }
    }
}
