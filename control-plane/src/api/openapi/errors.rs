//! The errors a route may answer, from what it takes.

use serde_json::{Map, Value, json};

use super::Operation;
use crate::api::rest::problem::ProblemBody;
use utoipa::ToSchema as _;

/// An error's status, the code it most often has, and what it means.
type Known = (&'static str, &'static str, &'static str);

const ALWAYS: [Known; 3] = [
    ("500", "internal", "An internal error; the log has its reason under the request's id"),
    ("503", "unavailable", "Something this depends on does not answer"),
    ("504", "timeout", "It took too long; it may still be carried out"),
];
const GUARDED: [Known; 2] = [
    ("401", "unauthenticated", "No valid API token or session"),
    ("403", "permission_denied", "The caller's role, or the token's scopes, do not allow this"),
];
const WITH_BODY: [Known; 4] = [
    ("400", "malformed_json", "The body is not JSON"),
    ("413", "too_large", "The body is too large"),
    ("415", "not_json", "The body is not declared as `application/json`"),
    ("422", "invalid_field", "A field is not acceptable"),
];
const WITH_QUERY: [Known; 1] = [("422", "invalid_query", "A parameter is not acceptable")];
const WITH_PATH: [Known; 1] = [("400", "invalid", "The path is not UTF-8")];
/// Codes of statuses that only handlers answer.
const OTHERS: [(&str, &str); 3] = [("404", "not_found"), ("409", "conflict"), ("429", "too_many_runs")];

/// Adds what is missing, and gives every response its headers and every error its body.
pub(super) fn complete(operation: &mut Operation, path: &str, guarded: bool) {
    let takes_query = operation
        .get("parameters")
        .and_then(Value::as_array)
        .is_some_and(|parameters| parameters.iter().any(|parameter| parameter["in"] == "query"));
    let groups: [(bool, &[Known]); 5] = [
        (operation.contains_key("requestBody"), &WITH_BODY),
        (takes_query, &WITH_QUERY),
        (path.contains('{'), &WITH_PATH),
        (guarded, &GUARDED),
        (true, &ALWAYS),
    ];
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    let Some(responses) = responses.as_object_mut() else { return };
    for (status, _, description) in groups.iter().filter(|(holds, _)| *holds).flat_map(|(_, known)| known.iter()) {
        responses.entry(*status).or_insert_with(|| json!({ "description": description }));
    }
    for (status, response) in responses.iter_mut() {
        let Some(response) = response.as_object_mut() else { continue };
        if status.starts_with(['4', '5']) {
            let content = body(status, response);
            response.entry("content").or_insert(content);
        }
        response.insert("headers".to_owned(), headers(status, response.get("headers")));
    }
    responses.sort_keys();
}

fn body(status: &str, response: &Map<String, Value>) -> Value {
    let known = WITH_BODY.iter().chain(&WITH_QUERY).chain(&GUARDED).chain(&ALWAYS);
    let codes = OTHERS.iter().copied().chain(known.map(|(status, code, _)| (*status, *code)));
    let code = codes.into_iter().find(|(known, _)| *known == status).map_or("invalid", |(_, code)| code);
    let detail = response.get("description").and_then(Value::as_str).unwrap_or_default();
    json!({
        "application/json": {
            "schema": { "$ref": format!("#/components/schemas/{}", ProblemBody::name()) },
            "example": { "detail": detail, "code": code, "request_id": "01890a5d-ac96-774b-bcce-b302099a8062" },
        }
    })
}

/// The headers a response has, beside those its handler names.
fn headers(status: &str, named: Option<&Value>) -> Value {
    let mut headers = named.and_then(Value::as_object).cloned().unwrap_or_default();
    let text =
        |description: &str| json!({ "description": description, "required": true, "schema": { "type": "string" } });
    headers.insert("x-request-id".to_owned(), text("Names the request in the control plane's log"));
    if status == "401" {
        headers.insert("www-authenticate".to_owned(), text("`Bearer`: how to show who calls"));
    }
    Value::Object(headers)
}
