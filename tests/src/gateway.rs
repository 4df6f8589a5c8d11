//! What stands before an engine that several use, as Mimir is set up: TLS of an authority of its own, a token, a tenant, and
//! other paths than Prometheus'. It passes on what is allowed and remembers what was not.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// The header that says whose samples these are.
const TENANT: &str = "x-scope-orgid";

/// What was answered, and of which path.
type Seen = Arc<Mutex<Vec<(StatusCode, String)>>>;

/// A gateway on loopback. Ends on drop.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    authority_pem: String,
    seen: Seen,
    _task: JoinSet<()>,
}

/// Where requests go, and what they must carry.
#[derive(Debug)]
struct Rules {
    engine: SocketAddr,
    token: String,
    tenant: String,
}

impl Gateway {
    /// One before `engine` that lets in whoever says `token`, for `tenant`.
    ///
    /// # Errors
    /// When nothing can listen on loopback.
    pub async fn before(engine: SocketAddr, token: &str, tenant: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.self_signed(&key)?;
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(muster_shared::tls::crypto())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, seen) = (listener.local_addr()?, Seen::default());
        let rules = Arc::new(Rules { engine, token: format!("Bearer {token}"), tenant: tenant.to_owned() });
        let (remembered, mut task) = (Arc::clone(&seen), JoinSet::new());
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(acceptor.clone(), stream, Arc::clone(&rules), Arc::clone(&remembered)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, authority_pem: certificate.pem(), seen, _task: task })
    }

    /// The address of `path` there.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// The authority its certificate is of.
    #[must_use]
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// How often a request to `path` was answered so.
    #[must_use]
    pub fn answered(&self, path: &str, status: StatusCode) -> usize {
        let seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.iter().filter(|(had, of)| *had == status && of == path).count()
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, rules: Arc<Rules>, seen: Seen) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request: Request<Incoming>| {
        let (rules, seen) = (Arc::clone(&rules), Arc::clone(&seen));
        async move {
            let path = request.uri().path().to_owned();
            let response = answer(&rules, request).await?;
            let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            seen.push((response.status(), path));
            Ok::<_, anyhow::Error>(response)
        }
    });
    // Whoever called sees how it ends.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(rules: &Rules, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let refused = |status| Ok(Response::builder().status(status).body(Full::default())?);
    let says = |name: &str, value: &str| request.headers().get(name).is_some_and(|said| said == value);
    if !says(header::AUTHORIZATION.as_str(), &rules.token) || !says(TENANT, &rules.tenant) {
        return refused(StatusCode::UNAUTHORIZED);
    }
    let path = request.uri().path_and_query().context("a path")?.as_str();
    let path = match (path, path.strip_prefix("/prometheus/api/v1/query")) {
        ("/api/v1/push", _) => "/api/v1/write".to_owned(),
        (_, Some(rest)) => format!("/api/v1/query{rest}"),
        _ => return refused(StatusCode::NOT_FOUND),
    };
    let (mut head, body) = request.into_parts();
    head.uri = Uri::try_from(path)?;
    let body = Full::new(body.collect().await?.to_bytes());
    let stream = TcpStream::connect(rules.engine).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(Request::from_parts(head, body)).await?;
        let (head, body) = response.into_parts();
        Ok::<_, anyhow::Error>(Response::from_parts(head, Full::new(body.collect().await?.to_bytes())))
    };
    tokio::select! {
        answered = exchange => answered,
        ended = connection => Err(anyhow::anyhow!("the engine ended the connection: {ended:?}")),
    }
}
