//! The OpenAPI 3.1 document, made of the routes that are served.
//!
//! A handler describes what is its own: summary, parameters, its success and its particular errors. Whatever follows
//! from a route's shape is added here, so that no route can lack it: the errors every route of that shape may answer,
//! their bodies and headers, an example of every body, and integers' real bounds.

mod errors;
mod examples;
mod rules;
mod schemas;
#[cfg(test)]
mod snapshot;

pub use schemas::one_of;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::rest::{
    problem::ProblemBody,
    routes::{Admission, BEARER, COOKIE, Routes},
};

/// The operation of `method` in a path's entry.
type Operation = Map<String, Value>;

/// The document of `routes`.
#[must_use]
pub fn document(routes: &Routes) -> Value {
    let mut components = components(routes);
    rules::constrain(&mut components);
    schemas::bound_integers(&mut components);
    examples::complete_schemas(&mut components);
    let mut paths = Map::new();
    for route in routes.iter() {
        let method = serde_json::to_value(&route.method).unwrap_or_default();
        let mut operation = serde_json::to_value(&route.description).unwrap_or_default();
        schemas::bound_integers(&mut operation);
        schemas::describe_events(&mut operation);
        rules::constrain_parameters(&mut operation);
        if let Some(operation) = operation.as_object_mut() {
            errors::complete(operation, &route.path, route.admission != Admission::Public);
            examples::complete(operation, &components);
        }
        let path = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(method.as_str().unwrap_or_default().to_owned(), operation);
        }
    }
    json!({ "openapi": "3.1.0", "info": info(), "paths": paths, "components": components, "tags": tags(routes) })
}

fn info() -> Value {
    json!({
        "title": "Muster",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Bring-your-own-server fleet management. Errors are always `{\"detail\", \"code\", \
            \"request_id\"}`; `x-request-id` names each request. Lists take `skip` and `limit`. A request acts in one \
            organization: the one that the header `x-organization-id` names, else the path, else the token's own or the \
            session's choice.",
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    })
}

fn components(routes: &Routes) -> Value {
    let mut named: Map<String, Value> = routes
        .schemas()
        .iter()
        .map(|(name, schema)| (name.clone(), serde_json::to_value(schema).unwrap_or_default()))
        .collect();
    let problem = serde_json::to_value(ProblemBody::schema()).unwrap_or_default();
    named.insert(ProblemBody::name().into_owned(), problem);
    named.insert(schemas::EVENT.to_owned(), schemas::event());
    json!({
        "schemas": named,
        "securitySchemes": {
            BEARER: { "type": "http", "scheme": "bearer", "description": "An API token, `mst_…`." },
            COOKIE: {
                "type": "apiKey", "in": "cookie", "name": "__Host-muster",
                "description": "A browser's session; changes need the header `x-csrf-token`, too. Over plain HTTP the \
                    cookie is called `muster`.",
            },
        },
    })
}

/// What the tags mean, in the order they are shown.
const TAGS: &[(&str, &str)] = &[
    ("servers", "Servers and what is known of them"),
    ("projects", "Projects, their environments and the quota they share"),
    ("joining", "Bringing servers into the fleet"),
    ("ssh keys", "Key pairs of an organisation, used by any number of its servers"),
    ("commands", "What was asked of hosts, and how it ended"),
    ("monitoring", "Figures by the second"),
    ("audit", "Who did what, provably"),
    ("events", "What happens in the fleet, as it happens"),
    ("people", "Organizations, their members and users"),
    ("account", "The caller: password, second factor, sessions, tokens"),
    ("control plane", "The control plane itself"),
];

fn tags(routes: &Routes) -> Value {
    let used: BTreeSet<_> = routes.iter().flat_map(|route| route.description.tags.iter().flatten()).collect();
    let known = TAGS.iter().filter(|(tag, _)| used.iter().any(|used| used.as_str() == *tag));
    let known = known.map(|(name, description)| json!({ "name": name, "description": description }));
    let others = used.iter().filter(|tag| TAGS.iter().all(|(known, _)| *known != tag.as_str()));
    known.chain(others.map(|name| json!({ "name": name }))).collect()
}
