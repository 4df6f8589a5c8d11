//! `/api/v1/organizations/{id}/metrics-retention`

use axum::extract::{Path, State};

use super::{extract::Body, organizations::acted_in, problem::Problem, routes::Acting};
use crate::{
    api::model::metrics_retention::{MetricsRetention, MetricsRetentionOwn},
    app::App,
};

/// Show how long the organisation keeps its samples.
#[utoipa::path(get, path = "/api/v1/organizations/{id}/metrics-retention", tag = "monitoring",
    params(("id" = String, Path, description = "An organisation's id")), responses(
        (status = 200, description = "The retention", body = MetricsRetention),
        (status = 404, description = "The caller is no member of such an organisation")))]
pub async fn get_metrics_retention(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<axum::Json<MetricsRetention>, Problem> {
    let id = acted_in(&act, &id)?;
    Ok(axum::Json(MetricsRetention::of(&app.metrics_retentions.get(id).await?)))
}

/// Set how long the organisation keeps its samples; what is absent or `null` is as long as the control plane lets it. What
/// is too old by it is deleted within ten minutes and does not come back.
#[utoipa::path(put, path = "/api/v1/organizations/{id}/metrics-retention", tag = "monitoring",
    request_body = MetricsRetentionOwn,
    params(("id" = String, Path, description = "An organisation's id")), responses(
        (status = 200, description = "The retention", body = MetricsRetention),
        (status = 400, description = "The body is not JSON"),
        (status = 404, description = "The caller is no member of such an organisation"),
        (status = 409, description = "An engine keeps the samples, as long as it is set up to"),
        (status = 422, description = "A field is not acceptable")))]
pub async fn set_metrics_retention(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
    Body(own): Body<MetricsRetentionOwn>,
) -> Result<axum::Json<MetricsRetention>, Problem> {
    acted_in(&act, &id)?;
    Ok(axum::Json(MetricsRetention::of(&app.metrics_retentions.set(&act, own.into()).await?)))
}
