//! Asking the provider: HTTPS over the guard of addresses that others name, with bounds on time and size. Redirects are not
//! followed: a provider's endpoints are where it says.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    Method, Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::dial::{DialError, Dialler, trusting};

/// Time for a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer read, in bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const PRODUCT: &str = concat!("muster/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0:?} is no https address")]
    NotHttps(String),
    #[error("{host} {source}")]
    Dial { host: String, source: DialError },
    #[error("the connection failed")]
    Connection(#[source] std::io::Error),
    #[error("the exchange failed")]
    Exchange(#[source] hyper::Error),
    #[error("the answer can't be read, or is larger than {MAX_ANSWER_BYTES} bytes")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer in time")]
    Timeout,
    #[error("{0} answers {1}")]
    Status(String, StatusCode),
}

/// What goes with a request.
#[derive(Debug, Default)]
pub(super) struct Sent<'a> {
    /// A form to post; without one it is a GET.
    pub form: Option<String>,
    /// Scheme and credentials.
    pub authorization: Option<(&'a str, SecretString)>,
}

/// Asks providers. Clones share its TLS settings.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    dialler: Dialler,
    tls: Arc<ClientConfig>,
}

impl Fetch {
    /// Through `dialler`, trusting the public authorities and `authorities`.
    ///
    /// # Errors
    /// When one of them is no certificate.
    pub(super) fn new(dialler: Dialler, authorities: &[CertificateDer<'static>]) -> Result<Self, rustls::Error> {
        Ok(Self { dialler, tls: Arc::new(trusting(authorities)?) })
    }

    /// What `url` answers with a success.
    ///
    /// # Errors
    /// [`FetchError`].
    pub(super) async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        let (status, body) = self.ask(url, Sent::default()).await?;
        if status == StatusCode::OK { Ok(body) } else { Err(FetchError::Status(url.to_owned(), status)) }
    }

    /// What `url` answers, whatever it is.
    ///
    /// # Errors
    /// [`FetchError`], but not for its status.
    pub(super) async fn ask(&self, url: &str, sent: Sent<'_>) -> Result<(StatusCode, Bytes), FetchError> {
        timeout(ANSWER_TIMEOUT, self.exchange(url, sent)).await.map_err(|_| FetchError::Timeout)?
    }

    async fn exchange(&self, url: &str, sent: Sent<'_>) -> Result<(StatusCode, Bytes), FetchError> {
        let not_https = || FetchError::NotHttps(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| not_https())?;
        let authority = uri.authority().filter(|it| !it.as_str().contains('@')).ok_or_else(not_https)?;
        if uri.scheme_str() != Some("https") {
            return Err(not_https());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let stream = self
            .dialler
            .dial(&host, authority.port_u16().unwrap_or(443))
            .await
            .map_err(|source| FetchError::Dial { host: host.clone(), source })?;
        let name = ServerName::try_from(host).map_err(|_| not_https())?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(name, stream).await.map_err(FetchError::Connection)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::Exchange)?;
        let request = request(&uri, authority.as_str(), sent).map_err(|_| not_https())?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(FetchError::Exchange)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            Ok((status, body.map_err(unreadable)?.to_bytes()))
        };
        // The connection lives as long as the exchange it is for.
        tokio::select! {
            answered = answered => answered,
            Err(error) = connection => Err(FetchError::Exchange(error)),
        }
    }
}

fn request(uri: &Uri, authority: &str, sent: Sent<'_>) -> Result<Request<Full<Bytes>>, http::Error> {
    let method = if sent.form.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder()
        .method(method)
        .uri(uri.path_and_query().map_or("/", |it| it.as_str()))
        .header(HOST, authority)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, PRODUCT);
    if sent.form.is_some() {
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    if let Some((scheme, credentials)) = sent.authorization {
        let mut value = http::HeaderValue::try_from(format!("{scheme} {}", credentials.expose_secret()))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    request.body(Full::new(Bytes::from(sent.form.unwrap_or_default())))
}

fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> FetchError {
    if error.is::<LengthLimitError>() {
        metrics::counter!("muster_oidc_answers_too_large_total").increment(1);
    }
    FetchError::Answer(error)
}
