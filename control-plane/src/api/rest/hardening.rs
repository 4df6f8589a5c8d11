//! `/api/v1/vms/{id}/hardening`

use axum::{
    Json,
    extract::{Path, State},
    response::Response,
};

use super::{
    extract::Body,
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    api::{
        model::hardening::{HardenRequest, ServerHardening},
        sse,
    },
    app::App,
    hardening::Wish,
};

/// Show how a server stands towards the hardening profile.
///
/// Each item with its standing and since when, as its host last told; hosts look every two minutes.
#[utoipa::path(get, path = "/api/v1/vms/{id}/hardening", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The score and the items", body = ServerHardening),
        (status = 404, description = "No such server in the caller's organisation")))]
pub async fn get_hardening(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<ServerHardening>, Problem> {
    let id = app.servers.resolve(caller.org_id, &id).await?.id;
    Ok(Json(ServerHardening::of(&app.hardenings.get(caller.org_id, id).await?)))
}

/// Plan, apply or undo items of the hardening profile.
///
/// Answers server-sent events: `status` as each item begins, `line` for what the host says, one `item` an item with its
/// steps and differences, then `complete`, or `error`. The run goes on when the listener leaves. A change of sshd, the
/// firewall or IPv6 stays only after a fresh login from outside has worked; otherwise the host takes it back. The host's
/// own policy must allow `secure`, for a plan `observe`.
#[utoipa::path(post, path = "/api/v1/vms/{id}/hardening", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name")), request_body = HardenRequest, responses(
        (status = 200, description = "The run's events", body = String, content_type = "text/event-stream", example = "event: status\ndata: {\"step\": \"fail2ban\", \"message\": \"Applying fail2ban...\"}\n\nevent: item\ndata: {\"item\": \"fail2ban\", \"outcome\": \"applied\"}\n\nevent: complete\ndata: {\"status\": \"done\", \"done\": 1, \"already\": 0, \"failed\": 0, \"score\": 100}\n\n"),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "Its agent is not connected (`agent_offline`)"),
        (status = 422, description = "An unknown item (`unknown_item`) or mode (`unknown_mode`), or a port or network that is none (`invalid_argument`)"),
        (status = 429, description = "Too many runs are under way")))]
pub async fn harden_server(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
    Body(request): Body<HardenRequest>,
) -> Result<Response, Problem> {
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    let events = app.hardenings.start(&act, id, Wish::try_from(request)?).await?;
    Ok(sse::respond(events))
}
