//! The description of the API.

use axum::Extension;
use bytes::Bytes;
use http::{HeaderName, header::CONTENT_TYPE};

use super::routes::Routes;
use crate::api::openapi;

/// The document, made once for a router.
#[derive(Debug, Clone)]
pub struct Document(Bytes);

impl Document {
    /// Describes `routes`.
    #[must_use]
    pub fn of(routes: &Routes) -> Self {
        Self(Bytes::from(openapi::document(routes).to_string()))
    }
}

/// The OpenAPI 3.1 document of this API.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "control plane",
    responses((status = 200, description = "The document", body = Object)))]
pub async fn openapi(Extension(Document(json)): Extension<Document>) -> ([(HeaderName, &'static str); 1], Bytes) {
    ([(CONTENT_TYPE, "application/json")], json)
}
