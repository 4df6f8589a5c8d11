//! The route table. A route can't be added without saying who may use it, and what the OpenAPI document says of it is
//! what is served: method and path come from the handler's own description.

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRequestParts, Request, State},
    handler::Handler,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use http::request::Parts;
use utoipa::{
    __dev::{SchemaReferences, Tags},
    openapi::{
        RefOr, Schema,
        path::{HttpMethod, Operation as Description},
        security::SecurityRequirement,
    },
};

use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{And, NotForContentType, Predicate as _, SizeAbove},
    },
};

use super::problem::{Problem, RequestId};
use crate::{
    access::{Act, Principal},
    api::{
        authorization::{Asked, admit, origin},
        csrf,
        operation::Operation,
    },
    app::App,
    error::{Error, ErrorKind},
};

pub use crate::api::authorization::Admission;

/// The names of the ways to say who asks, in the document.
pub const BEARER: &str = "bearer";
pub const COOKIE: &str = "session";

/// Answers below this many bytes gain nothing by being compressed.
const MIN_COMPRESSED_BYTES: u64 = 1024;

/// One route.
pub struct Route {
    pub method: HttpMethod,
    /// As axum and OpenAPI both write it: `/api/v1/vms/{id}`.
    pub path: String,
    pub admission: Admission,
    pub(in crate::api) description: Description,
    /// Whether its answers are compressed for whoever takes that.
    pub(in crate::api) is_compressed: bool,
    handler: MethodRouter<App>,
}

/// A handler's description, as `#[utoipa::path]` makes it.
pub trait Described: utoipa::Path + SchemaReferences + Tags<'static> {}
impl<P: utoipa::Path + SchemaReferences + Tags<'static>> Described for P {}

/// All routes, and the schemas they speak of.
#[derive(Default)]
pub struct Routes {
    routes: Vec<Route>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Routes {
    /// Adds a route that anybody may use.
    #[must_use]
    pub fn public<P: Described, H: Handler<T, App>, T: 'static>(self, handler: H) -> Self {
        self.add::<P, H, T>(Admission::Public, handler)
    }

    /// Adds a route for everybody who proved who they are: it is about themselves.
    #[must_use]
    pub fn signed_in<P: Described, H: Handler<T, App>, T: 'static>(self, handler: H) -> Self {
        self.add::<P, H, T>(Admission::SignedIn, handler)
    }

    /// Adds a route for callers who may do `operation`.
    #[must_use]
    pub fn guarded<P: Described, H: Handler<T, App>, T: 'static>(self, operation: Operation, handler: H) -> Self {
        self.add::<P, H, T>(Admission::Guarded(operation), handler)
    }

    /// Has the answers of the route added last compressed. Only for those that hold no secret: the length of a compressed
    /// answer tells something of what stands in it to whoever can put texts of their own beside it.
    #[must_use]
    pub fn compressed(mut self) -> Self {
        if let Some(route) = self.routes.last_mut() {
            route.is_compressed = true;
        }
        self
    }

    fn add<P: Described, H: Handler<T, App>, T: 'static>(mut self, admission: Admission, handler: H) -> Self {
        P::schemas(&mut self.schemas);
        for (nth, method) in P::methods().into_iter().enumerate() {
            let mut description = P::operation();
            if nth > 0 {
                // Two methods of one handler are two operations, and the document's ids are unique.
                let id = description.operation_id.unwrap_or_default();
                description.operation_id = Some(format!("{id}_{}", nth + 1));
            }
            description.tags = Some(P::tags().into_iter().map(str::to_owned).collect());
            if let Admission::Guarded(operation) = admission {
                let needs = format!("Needs the permission `{}`.", operation.permission().as_str());
                let told = description.description.take();
                description.description = Some(told.map_or_else(|| needs.clone(), |told| format!("{told}\n\n{needs}")));
            }
            if admission != Admission::Public {
                let ways = [BEARER, COOKIE].map(|way| SecurityRequirement::new(way, Vec::<String>::new()));
                description.security = Some(ways.into());
            }
            self.routes.push(Route {
                handler: on(filter(&method), handler.clone()),
                method,
                path: P::path(),
                admission,
                description,
                is_compressed: false,
            });
        }
        self
    }

    /// The routes.
    pub fn iter(&self) -> std::slice::Iter<'_, Route> {
        self.routes.iter()
    }

    /// The schemas the routes speak of, by name.
    #[must_use]
    pub fn schemas(&self) -> &[(String, RefOr<Schema>)] {
        &self.schemas
    }

    /// The router that serves them.
    pub fn into_router(self, app: &App) -> Router<App> {
        self.routes.into_iter().fold(Router::new(), |router, route| {
            let handler = if route.is_compressed { route.handler.layer(compression()) } else { route.handler };
            let handler = match route.admission {
                Admission::Public => handler,
                admission => handler.layer(middleware::from_fn_with_state((app.clone(), admission), guard)),
            };
            router.route(&route.path, handler)
        })
    }
}

/// Streams of events stay as they are: each must leave at once.
fn compression() -> CompressionLayer<And<SizeAbove, NotForContentType>> {
    let worth_it = SizeAbove::new(MIN_COMPRESSED_BYTES).and(NotForContentType::SSE);
    CompressionLayer::new().quality(CompressionLevel::Precise(4)).compress_when(worth_it)
}

async fn guard(State((app, admission)): State<(App, Admission)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let asked = Asked::rest(&app.config, &parts);
    match admit(&app.access, &asked, admission, app.clock.now_us()).await {
        Ok(principal) => {
            parts.extensions.insert(principal);
            if let Some(session) = asked.session() {
                parts.extensions.insert(CsrfToken(csrf::token_of(session).into()));
            }
            parts.extensions.insert(asked);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

/// The token that the caller's session sends with changes.
#[derive(Clone)]
pub struct CsrfToken(pub Arc<str>);

/// Who calls, as the guard found out.
#[derive(Debug, Clone)]
pub struct Caller(pub Principal);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // A handler that asks who calls on a public route gets no answer, rather than a wrong one.
        let nobody = || Error::new(ErrorKind::Unauthenticated, "unauthenticated", "this route knows no caller").into();
        parts.extensions.get().cloned().map(Self).ok_or_else(nobody)
    }
}

/// What the caller does now: for handlers that change something.
#[derive(Debug, Clone)]
pub struct Acting(pub Act);

impl FromRequestParts<App> for Acting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Caller(principal) = Caller::from_request_parts(parts, app).await?;
        let request_id = parts.extensions.get::<RequestId>();
        let origin = origin(&parts.headers, parts.extensions.get(), request_id);
        Ok(Self(principal.act(origin, app.clock.now_us())))
    }
}

fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Options => MethodFilter::OPTIONS,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Trace => MethodFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Request, StatusCode, header};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use crate::api::{rest::routes, test_api::Api};

    async fn asked(api: &Api, path: &str, accepted: &str) -> (Option<String>, Vec<u8>) {
        let request = Request::builder()
            .uri(path)
            .header("authorization", format!("Bearer {}", api.owner))
            .header(header::ACCEPT_ENCODING, accepted);
        let request = request.body(Body::empty()).expect("a request");
        let response = api.router.clone().oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let encoding = response.headers().get(header::CONTENT_ENCODING);
        let encoding = encoding.and_then(|value| value.to_str().ok()).map(str::to_owned);
        (encoding, response.into_body().collect().await.expect("a body").to_bytes().to_vec())
    }

    #[tokio::test]
    async fn long_answers_are_compressed_for_whoever_takes_that() {
        let api = Api::open().await;
        for nth in 0..4 {
            api.make_server(&format!("web-{nth}")).await;
        }
        let (encoding, whole) = asked(&api, "/api/v1/vms", "identity").await;
        assert_eq!(encoding, None);
        let (encoding, small) = asked(&api, "/api/v1/vms", "gzip, br").await;
        assert_eq!(encoding.as_deref(), Some("gzip"));
        assert!(
            small.starts_with(&[0x1f, 0x8b]) && small.len() * 3 < whole.len(),
            "{} of {}",
            small.len(),
            whole.len()
        );
        let (encoding, _) = asked(&api, "/api/v1/vms?limit=1&skip=4", "gzip").await;
        assert_eq!(encoding, None, "an empty list gains nothing");
    }

    #[test]
    fn nothing_that_may_hold_a_secret_is_compressed() {
        const HOLD_SECRETS: [&str; 7] = ["session", "sessions", "tokens", "join-tokens", "me", "url", "login-requests"];
        for route in routes().iter().filter(|route| route.is_compressed) {
            assert_eq!(super::filter(&route.method), axum::routing::MethodFilter::GET, "{}", route.path);
            assert!(!route.path.split('/').any(|part| HOLD_SECRETS.contains(&part)), "{}", route.path);
        }
        assert!(routes().iter().filter(|route| route.is_compressed).count() > 20);
    }
}
