//! Quotas as callers see and set them.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{nullable, number};
use crate::{
    error::Error,
    quota::{self, Amounts, Limits, LimitsPatch, Resource, Standing, thousandths},
};

/// Largest limit, in any unit.
const MAX_QUOTA: f64 = 1e9;

/// What an organisation may use, uses and has left. `null` is without limit.
///
/// Servers and environments are two accounts against the same limits: what the servers have, and what active
/// environments were given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "organization_id": "01890a5d-ac96-774b-bcce-b302099a8058", "total_cpu_quota": 16, "total_ram_quota_mb": 32768,
    "total_disk_quota_gb": null,
    "servers": { "cpu_cores_used": 4, "cpu_cores_left": 12, "ram_mb_used": 8192, "ram_mb_left": 24576,
        "disk_gb_used": 160, "disk_gb_left": null },
    "environments": { "cpu_cores_used": 1.3, "cpu_cores_left": 14.7, "ram_mb_used": 2662.4, "ram_mb_left": 30105.6,
        "disk_gb_used": 80, "disk_gb_left": null }
}))]
pub struct Quota {
    pub organization_id: String,
    /// Cores.
    #[serde(serialize_with = "number::whole")]
    pub total_cpu_quota: Option<f64>,
    #[serde(serialize_with = "number::whole")]
    pub total_ram_quota_mb: Option<f64>,
    #[serde(serialize_with = "number::whole")]
    pub total_disk_quota_gb: Option<f64>,
    /// What the organisation's servers have.
    pub servers: QuotaUse,
    /// What its active environments count for; a replica for 30 % of CPU and RAM and 100 % of the disk.
    pub environments: QuotaUse,
}

/// What is used of a quota, and left.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuotaUse {
    #[serde(serialize_with = "number::plain")]
    pub cpu_cores_used: f64,
    #[serde(serialize_with = "number::whole")]
    pub cpu_cores_left: Option<f64>,
    #[serde(serialize_with = "number::plain")]
    pub ram_mb_used: f64,
    #[serde(serialize_with = "number::whole")]
    pub ram_mb_left: Option<f64>,
    #[serde(serialize_with = "number::plain")]
    pub disk_gb_used: f64,
    #[serde(serialize_with = "number::whole")]
    pub disk_gb_left: Option<f64>,
}

/// Limits to set; what is absent stays, `null` lifts a limit.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "total_cpu_quota": 16, "total_ram_quota_mb": 32768, "total_disk_quota_gb": null }))]
pub struct QuotaPut {
    #[serde(default, deserialize_with = "nullable::there")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1_000_000_000)]
    pub total_cpu_quota: Option<Option<f64>>,
    #[serde(default, deserialize_with = "nullable::there")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1_000_000_000)]
    pub total_ram_quota_mb: Option<Option<f64>>,
    #[serde(default, deserialize_with = "nullable::there")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1_000_000_000)]
    pub total_disk_quota_gb: Option<Option<f64>>,
}

impl Quota {
    /// How an organisation stands.
    #[must_use]
    pub fn of(standing: &Standing) -> Self {
        let limit = |resource| standing.limits.of(resource).map(quota::number);
        Self {
            organization_id: standing.org_id.to_string(),
            total_cpu_quota: limit(Resource::Cpu),
            total_ram_quota_mb: limit(Resource::Ram),
            total_disk_quota_gb: limit(Resource::Disk),
            servers: QuotaUse::of(&standing.limits, &standing.servers),
            environments: QuotaUse::of(&standing.limits, &standing.environments),
        }
    }
}

impl QuotaUse {
    fn of(limits: &Limits, used: &Amounts) -> Self {
        let spent = |resource| quota::number(used.of(resource));
        let left = |resource| limits.left(resource, used).map(quota::number);
        Self {
            cpu_cores_used: spent(Resource::Cpu),
            cpu_cores_left: left(Resource::Cpu),
            ram_mb_used: spent(Resource::Ram),
            ram_mb_left: left(Resource::Ram),
            disk_gb_used: spent(Resource::Disk),
            disk_gb_left: left(Resource::Disk),
        }
    }
}

impl QuotaPut {
    /// The limits to set.
    ///
    /// # Errors
    /// A limit that is negative or too large.
    pub fn into_patch(self) -> Result<LimitsPatch, Error> {
        Ok(LimitsPatch {
            cpu_milli: limit("total_cpu_quota", self.total_cpu_quota)?,
            ram_mb_milli: limit("total_ram_quota_mb", self.total_ram_quota_mb)?,
            disk_gb_milli: limit("total_disk_quota_gb", self.total_disk_quota_gb)?,
        })
    }
}

fn limit(field: &str, limit: Option<Option<f64>>) -> Result<Option<Option<u64>>, Error> {
    match limit.flatten() {
        Some(limit) if !(0.0..=MAX_QUOTA).contains(&limit) => {
            Err(Error::invalid("invalid_field", format!("{field}: expected 0 to {MAX_QUOTA}, or null")))
        }
        _ => Ok(limit.map(|limit| limit.map(thousandths))),
    }
}

impl TryFrom<wire::SetQuotaRequest> for QuotaPut {
    type Error = Error;

    fn try_from(request: wire::SetQuotaRequest) -> Result<Self, Error> {
        let mut put = Self::default();
        for path in request.update_mask.unwrap_or_default().paths {
            match path.as_str() {
                "total_cpu_quota" => put.total_cpu_quota = Some(request.total_cpu_quota),
                "total_ram_quota_mb" => put.total_ram_quota_mb = Some(request.total_ram_quota_mb),
                "total_disk_quota_gb" => put.total_disk_quota_gb = Some(request.total_disk_quota_gb),
                _ => return Err(Error::invalid("invalid_mask", "update_mask names a field there is not")),
            }
        }
        Ok(put)
    }
}

impl From<Quota> for wire::Quota {
    fn from(quota: Quota) -> Self {
        Self {
            organization_id: quota.organization_id,
            total_cpu_quota: quota.total_cpu_quota,
            total_ram_quota_mb: quota.total_ram_quota_mb,
            total_disk_quota_gb: quota.total_disk_quota_gb,
            servers: Some(quota.servers.into()),
            environments: Some(quota.environments.into()),
        }
    }
}

impl From<QuotaUse> for wire::QuotaUse {
    fn from(used: QuotaUse) -> Self {
        Self {
            cpu_cores_used: used.cpu_cores_used,
            cpu_cores_left: used.cpu_cores_left,
            ram_mb_used: used.ram_mb_used,
            ram_mb_left: used.ram_mb_left,
            disk_gb_used: used.disk_gb_used,
            disk_gb_left: used.disk_gb_left,
        }
    }
}

impl From<wire::Quota> for Quota {
    fn from(quota: wire::Quota) -> Self {
        Self {
            organization_id: quota.organization_id,
            total_cpu_quota: quota.total_cpu_quota,
            total_ram_quota_mb: quota.total_ram_quota_mb,
            total_disk_quota_gb: quota.total_disk_quota_gb,
            servers: quota.servers.unwrap_or_default().into(),
            environments: quota.environments.unwrap_or_default().into(),
        }
    }
}

impl From<wire::QuotaUse> for QuotaUse {
    fn from(used: wire::QuotaUse) -> Self {
        Self {
            cpu_cores_used: used.cpu_cores_used,
            cpu_cores_left: used.cpu_cores_left,
            ram_mb_used: used.ram_mb_used,
            ram_mb_left: used.ram_mb_left,
            disk_gb_used: used.disk_gb_used,
            disk_gb_left: used.disk_gb_left,
        }
    }
}
