//! Exchanges with an engine of Prometheus' kind: one connection, kept while it lasts, with bounds on time and size. The address
//! is the operator's, so it is dialled as it is.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT},
    uri::PathAndQuery,
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::dial::trusting;

/// Time for a whole exchange.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the engine to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most that is read of an answer to what was written, in bytes.
const MAX_WORDS_BYTES: usize = 64 * 1024;
/// Most that is shown of an answer, in characters.
const MAX_WORDS: usize = 200;
const PRODUCT: &str = concat!("muster/", env!("CARGO_PKG_VERSION"));

/// Where an engine is, and what goes with every request.
#[derive(Debug, Clone)]
pub struct Destination {
    /// `http` or `https`, with a host.
    pub url: Uri,
    pub bearer_token: Option<SecretString>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Authorities trusted beside the public ones.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("the engine can't be reached")]
    Connection(#[from] std::io::Error),
    #[error("the exchange failed")]
    Exchange(#[from] hyper::Error),
    #[error("the request can't be made")]
    Request(#[from] http::Error),
    #[error("no answer within {} seconds", ANSWER_TIMEOUT.as_secs())]
    Timeout,
}

/// An answer to what was written.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    /// The beginning of what it says.
    pub words: String,
}

/// An answer as it is.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// `None` where it is longer than wanted.
    pub(super) body: Option<Bytes>,
}

impl Reply {
    /// The beginning of what it says.
    pub(super) fn words(&self) -> String {
        let body = self.body.as_deref().unwrap_or_default();
        String::from_utf8_lossy(body).trim().chars().take(MAX_WORDS).collect()
    }
}

/// What is posted, and what it is.
#[derive(Debug, Clone, Copy)]
struct Content {
    of_type: &'static str,
    /// Whether it is a message of remote-write.
    is_write: bool,
}

/// Asks and tells one destination.
#[derive(Debug)]
pub struct Client {
    destination: Destination,
    tls: Arc<ClientConfig>,
    connection: Option<Connection>,
}

type Connection = (SendRequest<Full<Bytes>>, AbortOnDropHandle<()>);

impl Client {
    /// To `destination`, trusting the public authorities and its own.
    ///
    /// # Errors
    /// When one of them is no certificate.
    pub fn new(destination: Destination) -> Result<Self, rustls::Error> {
        let tls = Arc::new(trusting(&destination.authorities)?);
        Ok(Self { destination, tls, connection: None })
    }

    /// Another one to the same destination, with a connection of its own.
    pub(super) fn another(&self) -> Self {
        Self { destination: self.destination.clone(), tls: Arc::clone(&self.tls), connection: None }
    }

    /// Posts a snappy-compressed `WriteRequest` and reads the answer.
    ///
    /// # Errors
    /// [`SendError`]; the next attempt connects anew.
    pub async fn send(&mut self, body: Bytes) -> Result<Answered, SendError> {
        let content = Content { of_type: "application/x-protobuf", is_write: true };
        let path = self.destination.url.path_and_query().cloned();
        let reply = self.exchange((path, content), body, MAX_WORDS_BYTES).await?;
        Ok(Answered { status: reply.status, words: reply.words() })
    }

    /// Whether an answer came lately on a connection that is kept.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Posts a form to `path` below the destination's own and reads an answer of at most `max_bytes`.
    ///
    /// # Errors
    /// [`SendError`]; the next attempt connects anew.
    pub(super) async fn ask(&mut self, path: &str, form: String, max_bytes: usize) -> Result<Reply, SendError> {
        let content = Content { of_type: "application/x-www-form-urlencoded", is_write: false };
        let path = PathAndQuery::try_from(below(&self.destination.url, path)).map_err(http::Error::from)?;
        self.exchange((Some(path), content), form.into(), max_bytes).await
    }

    async fn exchange(
        &mut self,
        (path, content): (Option<PathAndQuery>, Content),
        body: Bytes,
        max_bytes: usize,
    ) -> Result<Reply, SendError> {
        let request = self.request(path.as_ref(), content, body)?;
        let connection = self.connection.take();
        let (reply, connection) = timeout(ANSWER_TIMEOUT, self.exchange_on(connection, request, max_bytes))
            .await
            .map_err(|_| SendError::Timeout)??;
        // What was not read to its end would be taken for the next answer.
        self.connection = reply.body.is_some().then_some(connection);
        Ok(reply)
    }

    async fn exchange_on(
        &self,
        connection: Option<Connection>,
        request: Request<Full<Bytes>>,
        max_bytes: usize,
    ) -> Result<(Reply, Connection), SendError> {
        let mut connection = match connection {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        // An engine closes what was idle for a while.
        if connection.0.ready().await.is_err() {
            connection = self.connect().await?;
        }
        let response = connection.0.send_request(request).await?;
        let status = response.status();
        let body = match Limited::new(response.into_body(), max_bytes).collect().await {
            Ok(body) => Some(body.to_bytes()),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(broken) => return Err(SendError::Exchange(*broken)),
                Err(_too_long) => None,
            },
        };
        Ok((Reply { status, body }, connection))
    }

    async fn connect(&self) -> Result<Connection, SendError> {
        let url = &self.destination.url;
        let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = url.scheme_str() == Some("https");
        let address = (host.as_str(), url.port_u16().unwrap_or(if is_tls { 443 } else { 80 }));
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = connecting.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        if !is_tls {
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            return Ok((sender, driven(connection)));
        }
        let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok((sender, driven(connection)))
    }

    fn request(
        &self,
        path: Option<&PathAndQuery>,
        content: Content,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let Destination { url, bearer_token, headers, .. } = &self.destination;
        let mut request = Request::post(path.map_or("/", PathAndQuery::as_str))
            .header(HOST, url.authority().map_or("", |it| it.as_str()))
            .header(USER_AGENT, PRODUCT)
            .header(CONTENT_TYPE, content.of_type);
        if content.is_write {
            request = request.header(CONTENT_ENCODING, "snappy").header("x-prometheus-remote-write-version", "0.1.0");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(token) = bearer_token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Full::new(body))
    }
}

/// `path`, which begins with a slash, below the one of `url`.
pub fn below(url: &Uri, path: &str) -> String {
    format!("{}{path}", url.path().trim_end_matches('/'))
}

/// Drives a connection for as long as the answer lives. How it ends shows in the exchange.
fn driven(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = connection.await;
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_below_the_urls_own() {
        let of = |url: &str| below(&url.parse().expect("a URL"), "/api/v1/query");
        assert_eq!(of("http://vm:8428"), "/api/v1/query");
        assert_eq!(of("https://mimir/prometheus/"), "/prometheus/api/v1/query");
    }
}
