//! `/api/v1/vms/{id}/reboot`, `/stop` and `/start`

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;

use super::{problem::Problem, routes::Acting};
use crate::{api::model::power::PowerAnswer, app::App, power::Asked};

type Answer = Result<(StatusCode, Json<PowerAnswer>), Problem>;

/// Reboot a server.
///
/// The command succeeds once the host is back in another boot; its result has `old_boot_id`, `new_boot_id`, `boot_time`
/// and `downtime_seconds`. The host's own policy must allow `power`.
#[utoipa::path(post, path = "/api/v1/vms/{id}/reboot", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 202, description = "The host reboots", body = PowerAnswer),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "Its agent is not connected (`agent_offline`, `no_agent`), the host's policy does not allow it (`policy_refused`), the host is going down already (`going_down`), or could not do it (`command_failed`)"),
        (status = 429, description = "Too many commands wait for the server")))]
pub async fn reboot_server(State(app): State<App>, Acting(act): Acting, Path(id): Path<String>) -> Answer {
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    Ok(answer(&app.power.reboot(&act, id).await?))
}

/// Shut a server down.
///
/// Its agent takes no further commands, sends what it holds, reports, and has the host powered off. The server is
/// `stopped` once it has disconnected. The host's own policy must allow `power`.
#[utoipa::path(post, path = "/api/v1/vms/{id}/stop", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 202, description = "The host shuts down", body = PowerAnswer),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "Its agent is not connected (`agent_offline`, `no_agent`), the host's policy does not allow it (`policy_refused`), the host is going down already (`going_down`), or could not do it (`command_failed`)"),
        (status = 429, description = "Too many commands wait for the server")))]
pub async fn stop_server(State(app): State<App>, Acting(act): Acting, Path(id): Path<String>) -> Answer {
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    Ok(answer(&app.power.stop(&act, id).await?))
}

/// Start a server by Wake-on-LAN.
///
/// Another server of the organisation, with a connected agent and in the same network, sends the packet; its own policy
/// must allow `power`. The command succeeds once the server's agent is back, and fails when it is not after five minutes.
#[utoipa::path(post, path = "/api/v1/vms/{id}/start", tag = "servers",
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "It runs already; nothing was done", body = PowerAnswer),
        (status = 202, description = "The packet is sent", body = PowerAnswer),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "What is missing: `no_hardware_address`, `no_peer`, `peer_not_allowed`; or the other server refused (`policy_refused`) or could not (`command_failed`)"),
        (status = 429, description = "Too many commands wait for the server that would send the packet")))]
pub async fn start_server(State(app): State<App>, Acting(act): Acting, Path(id): Path<String>) -> Answer {
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    Ok(answer(&app.power.start(&act, id).await?))
}

fn answer(asked: &Asked) -> (StatusCode, Json<PowerAnswer>) {
    let status = match asked {
        Asked::UnderWay { .. } => StatusCode::ACCEPTED,
        Asked::Already { .. } => StatusCode::OK,
    };
    (status, Json(PowerAnswer::of(asked)))
}
