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
        // A document of texts and maps with text keys always serialises.
        Self(openapi::document(routes).to_json().map(Bytes::from).unwrap_or_default())
    }
}

/// The OpenAPI 3.1 document of this API.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "control plane",
    responses((status = 200, description = "The document", body = Object)))]
pub async fn openapi(Extension(Document(json)): Extension<Document>) -> ([(HeaderName, &'static str); 1], Bytes) {
    ([(CONTENT_TYPE, "application/json")], json)
}
