//! The same samples as people get them: over REST, a step a second.

use anyhow::{Context as _, Result, ensure};
use muster_shared::metric::{Series, SeriesKind};
use serde_json::Value;

use super::compare::{Samples, made};
use crate::{fleet::Host, rest::Rest};

const SECOND_US: i64 = 1_000_000;
/// A counter's samples further apart make no rate.
const LONGEST_RATE_SECONDS: i64 = 60;
/// Seconds asked for at once.
const SECONDS_AT_ONCE: i64 = 1000;
/// Values are told as decimal numbers.
const ROUNDING: f64 = 1e-9;

/// Fails unless each second of each of a host's series is answered as it was made: gauges with their value, counters with
/// their rate, a second without a sample with none. Answers how many values that were.
pub(super) async fn every_second(rest: &Rest, host: &Host) -> Result<u64> {
    let made = made(host);
    let ticks = || made.values().flatten().map(|(at_us, _)| *at_us);
    let (first_us, last_us) = (ticks().min().context("a sample")?, ticks().max().context("a sample")?);
    let mut names: Vec<_> = made.keys().map(|series| format!("metric={}", series.name)).collect();
    names.dedup();
    let (names, mut agreed) = (names.join("&"), 0);
    let (mut from, last) = (first_us / SECOND_US, last_us / SECOND_US);
    while from <= last {
        let to = last.min(from + SECONDS_AT_ONCE - 1);
        let path =
            format!("/api/v1/monitoring/servers/{}/series?{names}&from={from}&to={to}&step=1s", host.server_id());
        let answer = rest.get(&path).await?;
        agreed += agree(&made, &answer, (from, to)).with_context(|| format!("{} over REST", host.name()))?;
        from = to + 1;
    }
    Ok(agreed)
}

fn agree(made: &Samples, answer: &Value, (from, to): (i64, i64)) -> Result<u64> {
    let answered = answer["series"].as_array().context("series")?;
    let mut agreed = 0;
    for (series, points) in made {
        let labels = serde_json::to_value(&series.labels)?;
        let is_it = |answered: &&Value| answered["metric"] == series.name.as_str() && answered["labels"] == labels;
        let expected = readings(series, points, (from, to));
        let Some(answered) = answered.iter().find(is_it) else {
            ensure!(expected.is_empty(), "no {series:?}");
            continue;
        };
        let mut expected = expected.into_iter().peekable();
        let times = answered["t"].as_array().context("times")?;
        ensure!(times.len() as i64 == to - from + 1, "{} steps of {from} to {to}", times.len());
        for (step, at_ms) in times.iter().enumerate() {
            let at_us = at_ms.as_i64().context("milliseconds")? * 1000;
            let value = expected.next_if(|(made_us, _)| *made_us == at_us).map(|(_, value)| value);
            for field in ["min", "avg", "max"] {
                let told = answered[field][step].as_f64();
                let is_same = match (value, told) {
                    (Some(made), Some(told)) => (made - told).abs() <= ROUNDING * made.abs(),
                    (None, None) => true,
                    _ => false,
                };
                ensure!(is_same, "{series:?} at {at_us}: {value:?} was made, {field} is {told:?}");
            }
            agreed += u64::from(value.is_some());
        }
        ensure!(expected.peek().is_none(), "{series:?}: {:?} is not answered", expected.peek());
    }
    Ok(agreed)
}

/// What each second says: a gauge's value, or a counter's rate since the sample before, unless that was too long ago.
fn readings(series: &Series, points: &[(i64, i64)], (from, to): (i64, i64)) -> Vec<(i64, f64)> {
    let of_range = |(at_us, _): &(i64, f64)| (from..=to).contains(&(at_us / SECOND_US));
    let unit = |integer: f64| integer * 10f64.powi(series.scale);
    match series.kind {
        SeriesKind::Gauge => {
            points.iter().map(|(at_us, value)| (*at_us, unit(*value as f64))).filter(of_range).collect()
        }
        SeriesKind::Counter => {
            let rates = points.windows(2).filter_map(|pair| {
                let [(before_us, before), (at_us, after)] = *pair else { return None };
                let seconds = (at_us - before_us) / SECOND_US;
                (seconds <= LONGEST_RATE_SECONDS).then(|| (at_us, unit((after - before) as f64 / seconds as f64)))
            });
            rates.filter(of_range).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made() -> Samples {
        let series = |name: &str, scale, kind| Series { name: name.to_owned(), labels: [].into(), scale, kind };
        let at = |points: &[(i64, i64)]| points.iter().map(|(second, value)| (second * SECOND_US, *value)).collect();
        [
            (series("gauge", -1, SeriesKind::Gauge), at(&[(5, 25), (7, 30)])),
            (series("total", 0, SeriesKind::Counter), at(&[(5, 100), (7, 140), (90, 150)])),
        ]
        .into()
    }

    fn answer(gauge: &Value, total: &Value) -> Value {
        let series = |name: &str, told: &Value| json!({ "metric": name, "labels": {}, "t": [5000, 6000, 7000], "min": told, "avg": told, "max": told });
        json!({ "series": [series("gauge", gauge), series("total", total)] })
    }

    #[test]
    fn gaps_are_gaps_and_any_other_value_is_noticed() {
        let (gauge, total) = (json!([2.5, null, 3.0]), json!([null, null, 20.0]));
        assert_eq!(agree(&made(), &answer(&gauge, &total), (5, 7)).expect("the same"), 3);
        for (gauge, total) in [
            (json!([2.5, 2.5, 3.0]), total.clone()),
            (json!([2.5, null, 3.1]), total.clone()),
            (json!([2.5, null, null]), total.clone()),
            (gauge.clone(), json!([0.0, null, 20.0])),
        ] {
            assert!(agree(&made(), &answer(&gauge, &total), (5, 7)).is_err(), "{gauge} {total}");
        }
        assert_eq!(readings(made().keys().last().expect("total"), &[(0, 1), (83 * SECOND_US, 2)], (0, 90)), []);
    }
}
