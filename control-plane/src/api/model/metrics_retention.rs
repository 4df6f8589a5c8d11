//! How long samples are kept, as callers see and set it.

use std::time::Duration;

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::retention::{self, Kept, Own};

/// How long an organisation keeps its samples, their minutes and their hours, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "organization_id": "01890a5d-ac96-774b-bcce-b302099a8058", "kept_by": "database", "raw_retention_seconds": 259_200,
    "minute_retention_seconds": 7_776_000, "hour_retention_seconds": 63_072_000,
    "own": { "raw_retention_seconds": 259_200, "minute_retention_seconds": null, "hour_retention_seconds": null },
    "max": { "raw_retention_seconds": 604_800, "minute_retention_seconds": 7_776_000,
        "hour_retention_seconds": 63_072_000 }
}))]
pub struct MetricsRetention {
    pub organization_id: String,
    /// `database`, or `engine` where the control plane's `metric_store_url` names one: that keeps the samples of all
    /// organisations as long as it is set up to, which only its operator knows, and the three periods below are `null`.
    pub kept_by: String,
    /// Single samples, one a second.
    pub raw_retention_seconds: Option<u64>,
    pub minute_retention_seconds: Option<u64>,
    pub hour_retention_seconds: Option<u64>,
    /// What the organisation set itself; `null` is as long as the control plane lets it.
    pub own: MetricsRetentionOwn,
    /// What the control plane lets organisations keep.
    pub max: MetricsRetentionMax,
}

/// What an organisation sets; absent or `null` is as long as the control plane lets it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "raw_retention_seconds": 259_200, "minute_retention_seconds": null, "hour_retention_seconds": null
}))]
pub struct MetricsRetentionOwn {
    /// At least an hour; neither minutes nor hours may go before.
    #[schema(minimum = 1)]
    pub raw_retention_seconds: Option<u64>,
    #[schema(minimum = 1)]
    pub minute_retention_seconds: Option<u64>,
    #[schema(minimum = 1)]
    pub hour_retention_seconds: Option<u64>,
}

/// What the control plane lets organisations keep.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricsRetentionMax {
    pub raw_retention_seconds: u64,
    pub minute_retention_seconds: u64,
    pub hour_retention_seconds: u64,
}

/// Who keeps samples.
const DATABASE: &str = "database";
const ENGINE: &str = "engine";

impl MetricsRetention {
    /// Whether an engine keeps the samples, by a period of its own.
    #[must_use]
    pub fn is_by_engine(&self) -> bool {
        self.kept_by == ENGINE
    }

    /// How long an organisation keeps its samples.
    #[must_use]
    pub fn of(retention: &retention::MetricsRetention) -> Self {
        let seconds = |period: fn(&Kept) -> Duration| retention.kept.as_ref().map(|kept| period(kept).as_secs());
        Self {
            organization_id: retention.org_id.to_string(),
            kept_by: if retention.kept.is_some() { DATABASE } else { ENGINE }.to_owned(),
            raw_retention_seconds: seconds(|kept| kept.raw),
            minute_retention_seconds: seconds(|kept| kept.minutes),
            hour_retention_seconds: seconds(|kept| kept.hours),
            own: MetricsRetentionOwn {
                raw_retention_seconds: retention.own.raw.map(|it| it.as_secs()),
                minute_retention_seconds: retention.own.minutes.map(|it| it.as_secs()),
                hour_retention_seconds: retention.own.hours.map(|it| it.as_secs()),
            },
            max: MetricsRetentionMax {
                raw_retention_seconds: retention.max.raw.as_secs(),
                minute_retention_seconds: retention.max.minutes.as_secs(),
                hour_retention_seconds: retention.max.hours.as_secs(),
            },
        }
    }
}

impl From<MetricsRetentionOwn> for Own {
    fn from(own: MetricsRetentionOwn) -> Self {
        Self {
            raw: own.raw_retention_seconds.map(Duration::from_secs),
            minutes: own.minute_retention_seconds.map(Duration::from_secs),
            hours: own.hour_retention_seconds.map(Duration::from_secs),
        }
    }
}

impl From<wire::SetMetricsRetentionRequest> for MetricsRetentionOwn {
    fn from(request: wire::SetMetricsRetentionRequest) -> Self {
        Self {
            raw_retention_seconds: request.raw_retention_seconds,
            minute_retention_seconds: request.minute_retention_seconds,
            hour_retention_seconds: request.hour_retention_seconds,
        }
    }
}

impl From<MetricsRetentionOwn> for wire::SetMetricsRetentionRequest {
    fn from(own: MetricsRetentionOwn) -> Self {
        Self {
            raw_retention_seconds: own.raw_retention_seconds,
            minute_retention_seconds: own.minute_retention_seconds,
            hour_retention_seconds: own.hour_retention_seconds,
        }
    }
}

impl From<MetricsRetention> for wire::MetricsRetention {
    fn from(retention: MetricsRetention) -> Self {
        let (own, max) = (retention.own, retention.max);
        Self {
            organization_id: retention.organization_id,
            kept_by: retention.kept_by,
            raw_retention_seconds: retention.raw_retention_seconds,
            minute_retention_seconds: retention.minute_retention_seconds,
            hour_retention_seconds: retention.hour_retention_seconds,
            own: Some(wire::MetricsRetentionOwn {
                raw_retention_seconds: own.raw_retention_seconds,
                minute_retention_seconds: own.minute_retention_seconds,
                hour_retention_seconds: own.hour_retention_seconds,
            }),
            max: Some(wire::MetricsRetentionMax {
                raw_retention_seconds: max.raw_retention_seconds,
                minute_retention_seconds: max.minute_retention_seconds,
                hour_retention_seconds: max.hour_retention_seconds,
            }),
        }
    }
}

impl From<wire::MetricsRetention> for MetricsRetention {
    fn from(retention: wire::MetricsRetention) -> Self {
        let (own, max) = (retention.own.unwrap_or_default(), retention.max.unwrap_or_default());
        Self {
            organization_id: retention.organization_id,
            kept_by: retention.kept_by,
            raw_retention_seconds: retention.raw_retention_seconds,
            minute_retention_seconds: retention.minute_retention_seconds,
            hour_retention_seconds: retention.hour_retention_seconds,
            own: MetricsRetentionOwn {
                raw_retention_seconds: own.raw_retention_seconds,
                minute_retention_seconds: own.minute_retention_seconds,
                hour_retention_seconds: own.hour_retention_seconds,
            },
            max: MetricsRetentionMax {
                raw_retention_seconds: max.raw_retention_seconds,
                minute_retention_seconds: max.minute_retention_seconds,
                hour_retention_seconds: max.hour_retention_seconds,
            },
        }
    }
}
