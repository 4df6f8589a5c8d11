//! How long samples are kept.

use muster_shared::wire;

use super::call::Call;
use crate::{
    api::model::metrics_retention::{MetricsRetention, MetricsRetentionOwn},
    error::Error,
};

type Result<T> = std::result::Result<T, Error>;

pub(super) async fn get(call: Call<wire::GetMetricsRetentionRequest>) -> Result<wire::MetricsRetention> {
    Ok(MetricsRetention::of(&call.app.metrics_retentions.get(call.caller.org_id).await?).into())
}

pub(super) async fn set(call: Call<wire::SetMetricsRetentionRequest>) -> Result<wire::MetricsRetention> {
    let own = MetricsRetentionOwn::from(call.request);
    Ok(MetricsRetention::of(&call.app.metrics_retentions.set(&call.act(), own.into()).await?).into())
}
