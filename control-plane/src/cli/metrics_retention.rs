//! `muster metrics-retention …`

use clap::Subcommand;
use muster_shared::wire;

use super::{ask, client::Fleet, failure::Failure, output::Output, table};
use crate::api::model::metrics_retention::{MetricsRetention, MetricsRetentionOwn};

/// What to do with how long the organisation keeps its samples.
#[derive(Debug, Subcommand)]
pub enum MetricsRetentionCommand {
    /// Show how long the organisation keeps its samples.
    Show,
    /// Set periods; those not named stay. What is too old by them is deleted within ten minutes.
    #[command(arg_required_else_help = true)]
    Set {
        /// Single samples, such as 3d, or `none` for as long as the control plane lets you.
        #[arg(long, value_name = "DURATION", value_parser = period)]
        raw: Option<Period>,
        /// Their minutes.
        #[arg(long, value_name = "DURATION", value_parser = period)]
        minutes: Option<Period>,
        /// Their hours.
        #[arg(long, value_name = "DURATION", value_parser = period)]
        hours: Option<Period>,
        /// Do it without asking.
        #[arg(long, short)]
        yes: bool,
    },
}

/// A period in seconds as it is given; `None` lifts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(Option<u64>);

fn period(text: &str) -> Result<Period, String> {
    let expected = || "expected a duration such as 12h, 3d or 1y, or `none`".to_owned();
    if text == "none" {
        return Ok(Period(None));
    }
    let (at, unit) = text.char_indices().last().ok_or_else(expected)?;
    let unit_seconds = match unit {
        'h' => 3_600,
        'd' => DAY_SECONDS,
        'y' => 365 * DAY_SECONDS,
        _ => return Err(expected()),
    };
    let number = text[..at].parse::<u64>().ok().filter(|number| *number > 0);
    number.and_then(|number| number.checked_mul(unit_seconds)).map(|seconds| Period(Some(seconds))).ok_or_else(expected)
}

const DAY_SECONDS: u64 = 86_400;

impl MetricsRetentionCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let shown = fleet.get_metrics_retention(wire::GetMetricsRetentionRequest {}).await?.into_inner();
        let retention = match self {
            Self::Show => shown,
            Self::Set { raw, minutes, hours, yes } => {
                let is = MetricsRetention::from(shown);
                let lost = shortened(&is, raw, minutes, hours);
                if !lost.is_empty() {
                    ask::unless(yes, &format!("delete what is older: {}", lost.join(", ")))?;
                }
                let own = changed(is.own, raw, minutes, hours);
                fleet.set_metrics_retention(wire::SetMetricsRetentionRequest::from(own)).await?.into_inner()
            }
        };
        output.print(&MetricsRetention::from(retention), draw)
    }
}

/// What is kept for less time than it is now, in words.
fn shortened(
    is: &MetricsRetention,
    raw: Option<Period>,
    minutes: Option<Period>,
    hours: Option<Period>,
) -> Vec<String> {
    let kinds = [
        ("samples", raw, is.raw_retention_seconds),
        ("minutes", minutes, is.minute_retention_seconds),
        ("hours", hours, is.hour_retention_seconds),
    ];
    let shorter = kinds.into_iter().filter_map(|(name, named, now)| match (named, now) {
        (Some(Period(Some(seconds))), Some(now)) if seconds < now => {
            Some(format!("{name} than {} instead of {}", written(seconds), written(now)))
        }
        _ => None,
    });
    shorter.collect()
}

fn changed(
    own: MetricsRetentionOwn,
    raw: Option<Period>,
    minutes: Option<Period>,
    hours: Option<Period>,
) -> MetricsRetentionOwn {
    let or = |named: Option<Period>, was| named.map_or(was, |Period(seconds)| seconds);
    MetricsRetentionOwn {
        raw_retention_seconds: or(raw, own.raw_retention_seconds),
        minute_retention_seconds: or(minutes, own.minute_retention_seconds),
        hour_retention_seconds: or(hours, own.hour_retention_seconds),
    }
}

/// In the largest unit that needs no fraction.
fn written(seconds: u64) -> String {
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(DAY_SECONDS) => format!("{}d", seconds / DAY_SECONDS),
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ => format!("{seconds}s"),
    }
}

fn draw(retention: &MetricsRetention) -> String {
    if retention.is_by_engine() {
        return "an engine keeps the samples of all organizations, as long as it is set up to: its operator knows how long\n"
            .to_owned();
    }
    let or_dash = |seconds: Option<u64>| seconds.map_or_else(|| "-".to_owned(), written);
    let row = |what: &str, kept, own, max| vec![what.to_owned(), or_dash(kept), or_dash(own), written(max)];
    let (own, max) = (&retention.own, &retention.max);
    let rows = vec![
        row("samples", retention.raw_retention_seconds, own.raw_retention_seconds, max.raw_retention_seconds),
        row("minutes", retention.minute_retention_seconds, own.minute_retention_seconds, max.minute_retention_seconds),
        row("hours", retention.hour_retention_seconds, own.hour_retention_seconds, max.hour_retention_seconds),
    ];
    table::draw(&["RESOLUTION", "KEPT", "OWN", "MOST"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_units_and_read_back() {
        assert_eq!((period("3d"), period("none")), (Ok(Period(Some(259_200))), Ok(Period(None))));
        assert_eq!(period("1y"), Ok(Period(Some(31_536_000))));
        for bad in ["", "3", "d", "-3d", "0h", "3w", "99999999999999999999d"] {
            assert!(period(bad).is_err(), "{bad:?}");
        }
        assert_eq!([259_200, 7_200, 61, 0].map(written), ["3d", "2h", "61s", "0s"]);
    }

    #[test]
    fn only_what_would_be_lost_is_asked_about() {
        let is: MetricsRetention = serde_json::from_value(serde_json::json!({
            "organization_id": "o1", "kept_by": "database", "raw_retention_seconds": 604_800, "minute_retention_seconds": 7_776_000,
            "hour_retention_seconds": 63_072_000, "own": {},
            "max": { "raw_retention_seconds": 604_800, "minute_retention_seconds": 7_776_000, "hour_retention_seconds": 63_072_000 }
        }))
        .expect("a retention");
        let lost = shortened(&is, Some(Period(Some(259_200))), Some(Period(Some(7_776_000))), Some(Period(None)));
        assert_eq!(lost, ["samples than 3d instead of 7d"]);
    }

    #[test]
    fn only_named_periods_change() {
        let own = MetricsRetentionOwn { raw_retention_seconds: Some(3_600), ..MetricsRetentionOwn::default() };
        let set = changed(own.clone(), None, Some(Period(Some(7_200))), None);
        assert_eq!((set.raw_retention_seconds, set.minute_retention_seconds), (Some(3_600), Some(7_200)));
        assert_eq!(changed(own, Some(Period(None)), None, None), MetricsRetentionOwn::default());
    }
}
