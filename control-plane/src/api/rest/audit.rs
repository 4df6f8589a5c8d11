//! `/api/v1/audit`

use axum::{
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse as _, Response},
};
use futures_util::TryStreamExt as _;
use http::header::CONTENT_TYPE;
use muster_shared::id::{OrgId, ServerId};
use serde::Deserialize;
use utoipa::{
    IntoParams,
    openapi::{RefOr, Schema},
};

use super::{
    extract::{self, Query},
    problem::Problem,
    routes::Caller,
};
use crate::{
    api::model::{
        audit::{AuditEntry, AuditVerified, Link, known_words},
        time::Time,
    },
    api::openapi::one_of,
    app::App,
    audit::{Action, ResourceType},
    error::{Error, ErrorKind},
    store::AuditFilter,
};

/// Which entries to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Such as `server`.
    #[param(schema_with = resource_types)]
    pub resource_type: Option<String>,
    pub resource_id: Option<String>,
    /// Such as `SERVER_CREATED`.
    #[param(schema_with = actions)]
    pub action: Option<String>,
    /// The user or server that did it.
    pub actor_id: Option<String>,
    /// A server's id or name: only entries about it and about the commands that it carries out or is the target of. The
    /// id finds also what is on record of a server that was deleted.
    pub server: Option<String>,
    /// Not before this.
    pub from: Option<Time>,
    /// Before this.
    pub to: Option<Time>,
    /// How many to leave out at the start.
    #[param(default = 0)]
    pub skip: Option<u32>,
    /// How many at most, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

impl AuditQuery {
    async fn filter(self, app: &App, org: OrgId) -> Result<AuditFilter, Error> {
        let (skip, limit) = extract::bounds(self.skip.unwrap_or(0), self.limit.unwrap_or(extract::DEFAULT_PAGE))?;
        let filter = AuditFilter {
            resource_type: self.resource_type,
            resource_id: self.resource_id,
            action: self.action,
            actor_id: self.actor_id,
            server: about(app, org, self.server.as_deref()).await?,
            from_us: self.from.map(|time| time.0),
            to_us: self.to.map(|time| time.0),
            skip,
            limit,
        };
        known_words(&filter)?;
        Ok(filter)
    }
}

/// The server that `reference` names; an id names also one that was deleted, since it is on record.
///
/// # Errors
/// [`ErrorKind::NotFound`]: the organisation never had such a server.
pub async fn about(app: &App, org: OrgId, reference: Option<&str>) -> Result<Option<ServerId>, Error> {
    let Some(reference) = reference else { return Ok(None) };
    let error = match app.servers.resolve(org, reference).await {
        Ok(server) => return Ok(Some(server.id)),
        Err(error) if error.kind == ErrorKind::NotFound => error,
        Err(error) => return Err(error),
    };
    let Ok(id) = reference.parse::<ServerId>() else { return Err(error) };
    let on_record = AuditFilter {
        resource_type: Some(ResourceType::Server.as_str().to_owned()),
        resource_id: Some(id.to_string()),
        limit: 1,
        ..AuditFilter::default()
    };
    if app.audit.list(org, &on_record).await?.is_empty() { Err(error) } else { Ok(Some(id)) }
}

fn resource_types() -> RefOr<Schema> {
    one_of(ResourceType::ALL.iter().map(|kind| kind.as_str()))
}

fn actions() -> RefOr<Schema> {
    one_of(Action::ALL.iter().map(|action| action.as_str()))
}

/// List what was done in the organisation, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditQuery), responses(
    (status = 200, description = "The entries of the page", body = Vec<AuditEntry>),
    (status = 404, description = "The caller's organisation never had such a server"),
    (status = 422, description = "A parameter is not acceptable")))]
pub async fn list_audit(
    State(app): State<App>,
    Caller(caller): Caller,
    Query(query): Query<AuditQuery>,
) -> Result<axum::Json<Vec<AuditEntry>>, Problem> {
    let filter = query.filter(&app, caller.org_id).await?;
    let entries = app.audit.list(caller.org_id, &filter).await?;
    Ok(axum::Json(entries.iter().map(AuditEntry::of).collect()))
}

/// Walk the organisation's whole chain and name what does not fit.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "audit", responses(
    (status = 200, description = "What was found", body = AuditVerified)))]
pub async fn verify_audit(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<axum::Json<AuditVerified>, Problem> {
    let verified = app.audit.verify(caller.org_id).await?;
    Ok(axum::Json(AuditVerified::of(&verified, app.audit.verifier())))
}

/// Export the organisation's whole chain as JSON lines, in its order.
///
/// The first line is `{"authority": …}`, whose certificates vouch for the keys under receipts; each further one is
/// `{"entry": …}`; the last is `{"end": …}`, the signed end. `muster audit verify --file` checks the file
/// without a control plane. A file without its end was cut short.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "audit", responses(
    (status = 200, description = "The chain", body = String, content_type = "application/x-ndjson")))]
pub async fn export_audit(State(app): State<App>, Caller(caller): Caller) -> Result<Response, Problem> {
    let verifier = app.audit.verifier().clone();
    let lines = app.audit.export(caller.org_id).and_then(move |link| {
        let line = serde_json::to_string(&Link::of(link, &verifier)).map_err(Error::internal);
        std::future::ready(line.map(|line| Bytes::from(line + "\n")))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Request, StatusCode};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::test_api::Api,
        audit::{Head, HeadVerifier, Verifier},
    };

    async fn exported(api: &Api) -> String {
        let request =
            Request::builder().uri("/api/v1/audit/export").header("authorization", format!("Bearer {}", api.owner));
        let (status, text) = api.send(request, Body::empty()).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        text
    }

    #[tokio::test]
    async fn what_is_done_over_the_api_is_listed_verified_and_exported() {
        let api = Api::open().await;
        let id = api.make_server("web-1").await["id"].as_str().expect("an id").to_owned();
        let patch = json!({ "region": "Helsinki", "ssh_password": "battery staple" });
        let (status, body) = api.call("PATCH", "/api/v1/vms/web-1", &patch).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let (_, list) = api.call("GET", "/api/v1/audit?resource_type=server&action=SERVER_UPDATED", &Value::Null).await;
        assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
        assert_eq!((&list[0]["resource_id"], &list[0]["actor_name"]), (&json!(id), &json!("owner")));
        assert_eq!(list[0]["after"], json!({ "region": "Helsinki", "ssh_password": "replaced" }));
        assert!(list[0]["request_id"].is_string());
        let (_, verified) = api.call("GET", "/api/v1/audit/verify", &Value::Null).await;
        assert_eq!((&verified["sound"], &verified["entries"]), (&json!(true), &json!(3)), "{verified}");

        let text = exported(&api).await;
        assert!(!text.contains("horse") && !text.contains("staple"));
        let lines: Vec<Link> = text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
        let mut verifier = None;
        let (mut end, mut authorities) = (None, Vec::new());
        for link in lines {
            match link {
                Link::Entry(entry) => {
                    verifier.get_or_insert_with(|| Verifier::new(entry.org_id)).entry(&entry);
                }
                Link::End(shown) => end = Some(shown),
                Link::Authority(shown) => authorities.push(shown),
            }
        }
        let end = end.expect("an end");
        let bytes = |text: &str| hex::decode(text).expect("digits");
        let head = Head {
            org_id: end.organization_id.parse().expect("an id"),
            seq: end.seq,
            hash: bytes(&end.hash).try_into().expect("a hash"),
        };
        let found = verifier
            .expect("entries")
            .finish(Some((head, &bytes(&end.signature))), &HeadVerifier::new(bytes(&end.public_key)));
        assert_eq!((found.entries, found.receipts, found.faults), (3, 0, vec![]));
        assert_eq!(authorities.len(), 1, "who vouches for the keys under receipts");
    }

    #[tokio::test]
    async fn filters_that_mean_nothing_are_refused() {
        let api = Api::open().await;
        for query in ["action=SERVER_CREATE", "resource_type=cat", "limit=0", "from=yesterday", "colour=red"] {
            let (status, body) = api.call("GET", &format!("/api/v1/audit?{query}"), &Value::Null).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {body}");
        }
        let stranger = api.stranger().await;
        let request = Request::builder().uri("/api/v1/audit").header("authorization", format!("Bearer {stranger}"));
        let (_, text) = api.send(request, Body::empty()).await;
        assert!(!text.contains("web-1") && text.contains("ORGANIZATION_CREATED"), "{text}");
    }
}
