//! A range of time cut into steps, and what a series was in each of them. Pure.

use std::ops::Range;

use muster_shared::metric::{Series, SeriesKind, grown, rate_per_second};

use crate::error::Error;

pub const SECOND_US: i64 = 1_000_000;
pub const MINUTE_US: i64 = 60 * SECOND_US;
pub const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// Most steps of a range.
pub const MAX_STEPS: i64 = 11_000;
/// Longest range: longer than anything is kept.
pub const MAX_RANGE_US: i64 = 5 * 366 * DAY_US;
/// Steps of a range for which no step was asked.
const USUAL_STEPS: i64 = 600;
/// Two readings of a counter further apart than this make no rate: what lies between is a gap.
pub const MAX_RATE_GAP_US: i64 = MINUTE_US;

/// Steps people would choose.
const NICE_US: [i64; 18] = [
    SECOND_US,
    2 * SECOND_US,
    5 * SECOND_US,
    10 * SECOND_US,
    15 * SECOND_US,
    30 * SECOND_US,
    MINUTE_US,
    2 * MINUTE_US,
    5 * MINUTE_US,
    10 * MINUTE_US,
    15 * MINUTE_US,
    30 * MINUTE_US,
    HOUR_US,
    2 * HOUR_US,
    4 * HOUR_US,
    6 * HOUR_US,
    12 * HOUR_US,
    DAY_US,
];

/// A range in steps: whole multiples of the step since the epoch, from the one that holds the start to the one that
/// holds the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    pub from_us: i64,
    pub to_us: i64,
    pub step_us: i64,
}

impl Steps {
    /// The range, with a step of `step_us` or one that suits it.
    ///
    /// # Errors
    /// [`Error`] for a range that ends before it begins, is longer than [`MAX_RANGE_US`] or has more than [`MAX_STEPS`],
    /// and for a step that is not a whole number of seconds.
    pub fn new(from_us: i64, to_us: i64, step_us: Option<i64>) -> Result<Self, Error> {
        if from_us > to_us {
            return Err(Error::invalid("invalid_range", "from must not be after to"));
        }
        let length_us = to_us.saturating_sub(from_us);
        if length_us > MAX_RANGE_US {
            return Err(Error::invalid("range_too_long", "a range is at most five years long"));
        }
        let usual = || NICE_US.into_iter().find(|step| length_us / step <= USUAL_STEPS).unwrap_or(DAY_US);
        let step_us = step_us.unwrap_or_else(usual);
        if step_us < SECOND_US || step_us % SECOND_US != 0 || step_us > MAX_RANGE_US {
            return Err(Error::invalid("invalid_step", "step: a whole number of seconds, such as 10s, 5m or 1h"));
        }
        let steps = Self { from_us, to_us, step_us };
        if steps.last() - steps.first() >= MAX_STEPS {
            let detail = format!("the range has more than {MAX_STEPS} steps: ask for a longer step or a shorter range");
            return Err(Error::invalid("too_many_steps", detail));
        }
        Ok(steps)
    }

    fn first(self) -> i64 {
        self.from_us.div_euclid(self.step_us)
    }

    fn last(self) -> i64 {
        self.to_us.div_euclid(self.step_us)
    }

    /// How many steps there are.
    #[must_use]
    pub fn count(self) -> usize {
        usize::try_from(self.last() - self.first() + 1).unwrap_or(0)
    }

    /// When the steps begin.
    pub fn starts_us(self) -> impl Iterator<Item = i64> {
        (self.first()..=self.last()).map(move |step| step * self.step_us)
    }

    /// From the beginning of the first step to the end of the last, which is not part of it.
    #[must_use]
    pub fn bounds_us(self) -> (i64, i64) {
        (self.first() * self.step_us, (self.last() + 1) * self.step_us)
    }

    /// Those of the steps that `time` is in.
    #[must_use]
    pub fn part(self, time: &Range<i64>) -> Self {
        Self { from_us: self.from_us.max(time.start), to_us: self.to_us.min(time.end - 1), ..self }
    }

    /// From when to before when the step that `at_us` is in lasts.
    #[must_use]
    pub fn step_of(self, at_us: i64) -> Range<i64> {
        let begin_us = at_us.div_euclid(self.step_us).saturating_mul(self.step_us);
        begin_us..begin_us.saturating_add(self.step_us)
    }

    /// Which step `at_us` is in.
    #[must_use]
    pub fn place(self, at_us: i64) -> Option<usize> {
        let step = at_us.div_euclid(self.step_us);
        if step > self.last() { None } else { usize::try_from(step - self.first()).ok() }
    }
}

/// What a series was over some time: every sample of a gauge weighs one, a counter's rate weighs its microseconds.
///
/// Sums are whole numbers, so that they are the same however the time was taken apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    pub min: f64,
    pub max: f64,
    /// Of a gauge's integers, or what a counter grew.
    pub sum: i128,
    /// 0 where nothing is known.
    pub weight: i64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0, weight: 0 }
    }
}

impl Bucket {
    /// Takes in a value, or a rate made over `weight` microseconds.
    pub fn add(&mut self, value: f64, sum: i128, weight: i64) {
        self.merge(&Self { min: value, max: value, sum, weight });
    }

    /// Takes in what is known of other parts of the same time.
    pub fn merge(&mut self, other: &Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
        self.weight = self.weight.saturating_add(other.weight);
    }

    /// Takes in a reading.
    pub fn take(&mut self, reading: &Reading) {
        self.add(reading.value, reading.sum, reading.weight);
    }

    /// The mean by weight, a counter's per second; `None` where nothing is known.
    #[must_use]
    pub fn mean(&self, kind: SeriesKind) -> Option<f64> {
        let per = match kind {
            SeriesKind::Gauge => 1.0,
            SeriesKind::Counter => SECOND_US as f64,
        };
        (self.weight > 0).then(|| self.sum as f64 * per / self.weight as f64)
    }
}

/// What one sample says: a gauge's integer, or a counter's rate since the sample before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    pub at_us: i64,
    pub value: f64,
    pub sum: i128,
    pub weight: i64,
}

/// Makes readings of a series' integers, given in order of time; a counter's first is only what the next is compared
/// with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reader {
    before: Option<(i64, i64)>,
}

impl Reader {
    /// What the next point says, if anything.
    pub fn read(&mut self, kind: SeriesKind, after: (i64, i64)) -> Option<Reading> {
        let (at_us, integer) = after;
        match kind {
            SeriesKind::Gauge => Some(Reading { at_us, value: integer as f64, sum: i128::from(integer), weight: 1 }),
            SeriesKind::Counter => {
                let before = self.before.replace(after)?;
                let weight = at_us.saturating_sub(before.0);
                let value = rate_per_second(before, after).filter(|_| weight <= MAX_RATE_GAP_US)?;
                Some(Reading { at_us, value, sum: i128::from(grown(before.1, integer)), weight })
            }
        }
    }

    /// What the next `points`, in order of time, say together.
    pub fn bucket(&mut self, kind: SeriesKind, points: &[(i64, i64)]) -> Bucket {
        let mut bucket = Bucket::default();
        match kind {
            // Integers are compared and added as such: a bucket of them is made thousands of times for a chart.
            SeriesKind::Gauge if !points.is_empty() => {
                let (mut min, mut max) = (i64::MAX, i64::MIN);
                for (_, integer) in points {
                    min = min.min(*integer);
                    max = max.max(*integer);
                    bucket.sum += i128::from(*integer);
                }
                (bucket.min, bucket.max, bucket.weight) = (min as f64, max as f64, points.len() as i64);
            }
            _ => {
                for reading in points.iter().filter_map(|point| self.read(kind, *point)) {
                    bucket.take(&reading);
                }
            }
        }
        bucket
    }
}

/// The readings of `points`, a series' integers in order of time.
pub fn readings(series: &Series, points: impl Iterator<Item = (i64, i64)>) -> impl Iterator<Item = Reading> {
    let (kind, mut reader) = (series.kind, Reader::default());
    points.filter_map(move |point| reader.read(kind, point))
}

/// `integer`s of `series` in its unit.
#[must_use]
pub fn scaled(series: &Series, integer: f64) -> f64 {
    if series.scale < 0 { integer / 10f64.powi(-series.scale) } else { integer * 10f64.powi(series.scale) }
}

/// Reads `10s`, `5m`, `1h`, `1d` or plain seconds, in microseconds.
///
/// # Errors
/// [`Error`] for anything else.
pub fn parse_step(text: &str) -> Result<i64, Error> {
    let units = [("d", DAY_US), ("h", HOUR_US), ("m", MINUTE_US), ("s", SECOND_US), ("", SECOND_US)];
    let parsed =
        units.iter().find_map(|(unit, us)| text.strip_suffix(unit)?.parse::<u32>().ok().map(|count| (count, us)));
    let product = parsed.and_then(|(count, us)| i64::from(count).checked_mul(*us));
    product.ok_or_else(|| Error::invalid("invalid_step", "step: a whole number of seconds, such as 10s, 5m or 1h"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(kind: SeriesKind) -> Series {
        Series { name: "x".into(), labels: [].into(), scale: 0, kind }
    }

    fn collected(series: &Series, points: &[(i64, i64)], steps: Steps) -> Vec<Bucket> {
        let mut buckets = vec![Bucket::default(); steps.count()];
        for reading in readings(series, points.iter().copied()) {
            if let Some(place) = steps.place(reading.at_us) {
                buckets[place].take(&reading);
            }
        }
        buckets
    }

    proptest! {
        #[test]
        fn a_bucket_is_what_its_readings_are_together(
            values in prop::collection::vec((1i64..70_000_000, any::<i64>()), 0..60),
            cut in 0usize..60,
        ) {
            let mut at_us = 0;
            let points: Vec<_> = values.into_iter().map(|(step_us, value)| { at_us += step_us; (at_us, value) }).collect();
            for kind in [SeriesKind::Gauge, SeriesKind::Counter] {
                let (one, other) = points.split_at(cut.min(points.len()));
                let (mut reader, mut expected) = (Reader::default(), Bucket::default());
                readings(&series(kind), points.iter().copied()).for_each(|reading| expected.take(&reading));
                let mut bucket = reader.bucket(kind, one);
                bucket.merge(&reader.bucket(kind, other));
                prop_assert_eq!(bucket, expected);
            }
        }
    }

    #[test]
    fn steps_are_whole_multiples_of_themselves() {
        let steps = Steps::new(25 * SECOND_US, 40 * SECOND_US, Some(10 * SECOND_US)).expect("good");
        assert_eq!(steps.starts_us().map(|start| start / SECOND_US).collect::<Vec<_>>(), [20, 30, 40]);
        assert_eq!((steps.place(20 * SECOND_US - 1), steps.place(20 * SECOND_US)), (None, Some(0)));
        assert_eq!((steps.place(50 * SECOND_US - 1), steps.place(50 * SECOND_US)), (Some(2), None));
    }

    #[test]
    fn a_step_is_chosen_and_every_bound_is_held() {
        let step = |length_us: i64| Steps::new(0, length_us, None).map(|steps| steps.step_us).ok();
        assert_eq!(step(5 * MINUTE_US), Some(SECOND_US));
        assert_eq!(step(HOUR_US), Some(10 * SECOND_US));
        assert_eq!(step(7 * DAY_US), Some(30 * MINUTE_US));
        assert_eq!(step(2 * 365 * DAY_US), Some(DAY_US));
        let code = |from, to, step| Steps::new(from, to, step).map_err(|error| error.code).err();
        assert_eq!(code(1, 0, None), Some("invalid_range"));
        assert_eq!(code(0, MAX_RANGE_US + 1, None), Some("range_too_long"));
        assert_eq!(code(0, DAY_US, Some(SECOND_US)), Some("too_many_steps"));
        assert_eq!(code(0, DAY_US, Some(1_500_000)), Some("invalid_step"));
        assert_eq!(code(0, DAY_US, Some(0)), Some("invalid_step"));
        assert_eq!(code(0, (MAX_STEPS - 1) * SECOND_US, Some(SECOND_US)), None);
        assert_eq!(code(0, MAX_STEPS * SECOND_US, Some(SECOND_US)), Some("too_many_steps"));
    }

    #[test]
    fn steps_are_read_as_people_write_them() {
        assert_eq!(parse_step("10s").ok(), Some(10 * SECOND_US));
        assert_eq!(parse_step("90").ok(), Some(90 * SECOND_US));
        assert_eq!(parse_step("2h").ok(), Some(2 * HOUR_US));
        for bad in ["", "s", "1.5s", "-1s", "1w", "500ms", "+"] {
            assert!(parse_step(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counters_are_rates_and_gaps_are_gaps() {
        let points = [(0, 0), (1, 100), (2, 150), (200, 10_000), (201, 10_004)].map(|(s, v)| (s * SECOND_US, v));
        let steps = Steps::new(0, 209 * SECOND_US, Some(10 * SECOND_US)).expect("good");
        let buckets = collected(&series(SeriesKind::Counter), &points, steps);
        let mean = |bucket: &Bucket| bucket.mean(SeriesKind::Counter);
        assert_eq!((buckets[0].min, buckets[0].max, mean(&buckets[0])), (50.0, 100.0, Some(75.0)));
        assert!(buckets[1..20].iter().all(|bucket| mean(bucket).is_none()));
        assert_eq!(mean(&buckets[20]), Some(4.0), "the gap itself made no rate");
    }

    proptest! {
        #[test]
        fn the_mean_is_what_was_counted_over_the_time_it_took(grown in prop::collection::vec(0i64..1_000_000, 2..200)) {
            let mut total = 0;
            let points: Vec<_> = grown.iter().enumerate().map(|(second, grown)| {
                total += grown;
                (second as i64 * SECOND_US, total)
            }).collect();
            let steps = Steps::new(0, DAY_US - 1, Some(DAY_US)).expect("good");
            let [bucket] = collected(&series(SeriesKind::Counter), &points, steps)[..] else { panic!("one step") };
            let expected = grown[1..].iter().sum::<i64>() as f64 / (grown.len() - 1) as f64;
            prop_assert!((bucket.mean(SeriesKind::Counter).expect("known") - expected).abs() <= expected * 1e-9);
        }

        #[test]
        fn parts_together_are_the_whole(values in prop::collection::vec(any::<i64>(), 1..50), cut in 0usize..50) {
            let of = |values: &[i64]| {
                let mut bucket = Bucket::default();
                values.iter().for_each(|value| bucket.add(*value as f64, i128::from(*value), 1));
                bucket
            };
            let cut = cut.min(values.len());
            let mut parts = of(&values[..cut]);
            parts.merge(&of(&values[cut..]));
            prop_assert_eq!(parts, of(&values));
        }
    }
}
