//! `muster quota …`

use clap::Subcommand;
use muster_shared::wire;
use prost_types::FieldMask;

use super::{client::Fleet, failure::Failure, output::Output, table};
use crate::api::model::quota::{Quota, QuotaUse};

/// What to do with the organisation's quota.
#[derive(Debug, Subcommand)]
pub enum QuotaCommand {
    /// Show what the organisation may use, uses and has left.
    Show,
    /// Set limits; those not named stay.
    #[command(arg_required_else_help = true)]
    Set {
        /// Cores, or `none`.
        #[arg(long, value_name = "CORES", value_parser = limit)]
        cpu: Option<Limit>,
        /// Megabytes, or `none`.
        #[arg(long, value_name = "MB", value_parser = limit)]
        ram_mb: Option<Limit>,
        /// Gigabytes, or `none`.
        #[arg(long, value_name = "GB", value_parser = limit)]
        disk_gb: Option<Limit>,
    },
}

/// A limit as it is given; `None` lifts it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit(Option<f64>);

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        number => number
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite() && *number >= 0.0)
            .map(|number| Limit(Some(number)))
            .ok_or_else(|| "expected a number from 0 on, or `none`".to_owned()),
    }
}

impl QuotaCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let quota = match self {
            Self::Show => fleet.get_quota(wire::GetQuotaRequest {}).await?,
            Self::Set { cpu, ram_mb, disk_gb } => fleet.set_quota(request(cpu, ram_mb, disk_gb)).await?,
        };
        output.print(&Quota::from(quota.into_inner()), draw)
    }
}

fn request(cpu: Option<Limit>, ram_mb: Option<Limit>, disk_gb: Option<Limit>) -> wire::SetQuotaRequest {
    let named = [("total_cpu_quota", cpu), ("total_ram_quota_mb", ram_mb), ("total_disk_quota_gb", disk_gb)];
    let paths = named.iter().filter(|(_, limit)| limit.is_some()).map(|(name, _)| (*name).to_owned()).collect();
    let number = |limit: Option<Limit>| limit.and_then(|Limit(number)| number);
    wire::SetQuotaRequest {
        total_cpu_quota: number(cpu),
        total_ram_quota_mb: number(ram_mb),
        total_disk_quota_gb: number(disk_gb),
        update_mask: Some(FieldMask { paths }),
    }
}

fn draw(quota: &Quota) -> String {
    let or_none = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let row = |what: &str, limit, used: fn(&QuotaUse) -> f64, left: fn(&QuotaUse) -> Option<f64>| {
        vec![
            what.to_owned(),
            or_none(limit),
            used(&quota.servers).to_string(),
            or_none(left(&quota.servers)),
            used(&quota.environments).to_string(),
            or_none(left(&quota.environments)),
        ]
    };
    let rows = vec![
        row("cores", quota.total_cpu_quota, |used| used.cpu_cores_used, |used| used.cpu_cores_left),
        row("ram, MB", quota.total_ram_quota_mb, |used| used.ram_mb_used, |used| used.ram_mb_left),
        row("disk, GB", quota.total_disk_quota_gb, |used| used.disk_gb_used, |used| used.disk_gb_left),
    ];
    table::draw(&["RESOURCE", "QUOTA", "SERVERS", "LEFT", "ENVIRONMENTS", "LEFT"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_none_and_only_named_ones_are_set() {
        assert_eq!((limit("1.5"), limit("none")), (Ok(Limit(Some(1.5))), Ok(Limit(None))));
        for bad in ["", "-1", "NaN", "inf", "much"] {
            assert!(limit(bad).is_err(), "{bad:?}");
        }
        let request = request(Some(Limit(Some(8.0))), None, Some(Limit(None)));
        assert_eq!(request.update_mask.expect("a mask").paths, ["total_cpu_quota", "total_disk_quota_gb"]);
        assert_eq!((request.total_cpu_quota, request.total_disk_quota_gb), (Some(8.0), None));
    }
}
