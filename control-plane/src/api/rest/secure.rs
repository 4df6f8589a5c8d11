//! `/api/v1/vms/{id}/secure`

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, header::CACHE_CONTROL};

use super::{extract::OptionalBody, problem::Problem, routes::Acting};
use crate::{
    api::{
        model::secure::{SecureRequest, Secured},
        sse,
    },
    app::App,
    error::{Error, ErrorKind},
    progress::ProgressStream,
};

/// Replace a server's password by a key of its own.
///
/// An Ed25519 key pair is made, its public part deployed to `~/.ssh/authorized_keys` over the login that is on record,
/// and proven by a fresh login; only then the record is switched to the key and the password forgotten. **The private
/// key is shown this once.** With `disable_password_auth` the server lets nobody in by a password any more: that is
/// tried out first, and the server undoes it by itself unless it is told to keep it. Whatever fails changes nothing.
///
/// Answers JSON, or with `accept: text/event-stream` server-sent events: one `status` a step, then `complete` with
/// this very answer, or `error` with `step`, `code`, `detail` and `remedy`. The run goes on when its caller leaves.
#[utoipa::path(post, path = "/api/v1/vms/{id}/secure", tag = "servers", request_body = Option<SecureRequest>,
    params(("id" = String, Path, description = "A server's id, or its name")), responses(
        (status = 200, description = "The server is entered by the key now", content(
            (Secured = "application/json"),
            (String = "text/event-stream", example = "event: status\ndata: {\"step\": \"deploying_key\", \"message\": \"Deploying the public key to ~/.ssh/authorized_keys…\"}\n\n"))),
        (status = 404, description = "No such server in the caller's organisation"),
        (status = 409, description = "A step failed and nothing was changed, `code` says how; or the server is entered by \
                                      a key already, has no login, or has another run going on"),
        (status = 429, description = "Other keys are being made")))]
pub async fn secure_server(
    State(app): State<App>,
    Acting(act): Acting,
    Path(id): Path<String>,
    headers: HeaderMap,
    OptionalBody(request): OptionalBody<SecureRequest>,
) -> Result<Response, Problem> {
    let id = app.servers.resolve(act.org_id, &id).await?.id;
    let events = app.secure.start(&act, id, request.into()).await?;
    if sse::is_asked_for(&headers) {
        return Ok(sse::respond(events));
    }
    let secured = ended(events).await?;
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], axum::Json(secured)).into_response())
}

/// What the run ends with.
async fn ended(mut events: ProgressStream) -> Result<Secured, Error> {
    while let Some(event) = events.next().await {
        match event.event {
            "complete" => return serde_json::from_value(event.data).map_err(Error::internal),
            "error" => return Err(refused(&event.data)),
            _ => {}
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "stopping", "the control plane is stopping"))
}

fn refused(data: &serde_json::Value) -> Error {
    let text = |name: &str| data[name].as_str().unwrap_or_default();
    let detail = format!("at the step {}: {} {}", text("step"), text("detail"), text("remedy"));
    let (kind, code) = crate::secure::kind_and_code(text("code"));
    Error::new(kind, code, detail.trim_end())
}
