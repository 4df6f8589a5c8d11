//! The OpenAPI 3.1 document, made of the routes that are served.

use utoipa::openapi::{
    Components, Content, Info, License, OpenApi, PathItem, Paths, Ref, RefOr, Response, ResponseBuilder, Tag,
    path::Operation,
    security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::rest::{
    problem::ProblemBody,
    routes::{Admission, BEARER, Routes},
};

/// Errors every guarded route may answer.
const GUARDED_ERRORS: [(&str, &str); 2] =
    [("401", "No valid API token"), ("403", "The token's role does not allow this")];

/// Errors every route may answer.
const ERRORS: [(&str, &str); 2] = [("500", "An internal error"), ("503", "Something this depends on does not answer")];

/// The document of `routes`.
#[must_use]
pub fn document(routes: &Routes) -> OpenApi {
    let mut paths = Paths::new();
    for (path, item) in routes.paths() {
        match paths.paths.get_mut(&path) {
            Some(known) => known.merge_operations(item),
            None => {
                paths.paths.insert(path, item);
            }
        }
    }
    for route in routes.iter() {
        let guarded = matches!(route.admission, Admission::Guarded(_));
        if let Some(item) = paths.paths.get_mut(&route.path) {
            let errors = ERRORS.iter().chain(GUARDED_ERRORS.iter().filter(|_| guarded));
            for operation in operations_mut(item) {
                describe_errors(operation);
                for (status, description) in errors.clone() {
                    operation
                        .responses
                        .responses
                        .entry((*status).to_owned())
                        .or_insert_with(|| RefOr::T(problem(description)));
                }
            }
        }
    }
    let mut document = OpenApi::new(info(), paths);
    document.components = Some(components(routes));
    document.tags = Some(tags());
    document
}

/// Gives every error response that a handler names the one body errors have.
fn describe_errors(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.starts_with(['4', '5'])
            && response.content.is_empty()
        {
            *response = problem(&response.description);
        }
    }
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

fn problem(description: &str) -> Response {
    let schema = Ref::from_schema_name(ProblemBody::name());
    ResponseBuilder::new().description(description).content("application/json", Content::new(Some(schema))).build()
}

fn info() -> Info {
    let mut info = Info::new("Muster", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Bring-your-own-server fleet management. Errors are always `{\"detail\", \"code\", \"request_id\"}`; \
         `x-request-id` names each request. Lists take `skip` and `limit`."
            .to_owned(),
    );
    info.license = Some(License::new("Apache-2.0"));
    info
}

fn components(routes: &Routes) -> Components {
    let mut components = Components::new();
    components.schemas.insert(ProblemBody::name().into_owned(), ProblemBody::schema());
    components.schemas.extend(routes.schemas().iter().cloned());
    let bearer = Http::builder().scheme(HttpAuthScheme::Bearer).description(Some("An API token, `mst_…`.")).build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    components
}

fn tags() -> Vec<Tag> {
    let tags = [
        ("servers", "Servers and what is known of them"),
        ("joining", "Bringing servers into the fleet"),
        ("commands", "What was asked of hosts, and how it ended"),
        ("monitoring", "Figures by the second"),
        ("audit", "Who did what, provably"),
        ("control plane", "The control plane itself"),
    ];
    tags.into_iter()
        .map(|(name, description)| {
            let mut tag = Tag::new(name);
            tag.description = Some(description.to_owned());
            tag
        })
        .collect()
}
