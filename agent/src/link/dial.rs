//! From a URL to a gRPC channel: names are resolved here (a static binary has no system resolver), TLS is verified
//! against the pinned or saved CAs under the agents' name, whatever the address.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{TokioResolver, net::NetError};
use http::Uri;
use hyper_util::rt::TokioIo;
use muster_shared::{
    tls::{self, Trust},
    wire::Endpoints,
};
use rustls::{CertificateError, ClientConfig, client::Resumption};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::state::Identity;

/// How long resolving a name may take.
const RESOLVE_WITHIN: Duration = Duration::from_secs(10);
/// How long one address may take to accept.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
/// How long the TLS handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How often the transport is probed, and how long an answer may take: a dead peer is noticed within their sum.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_WITHIN: Duration = Duration::from_secs(10);
/// TLS sessions kept for resumption.
const RESUMABLE_SESSIONS: usize = 4;
/// What the control plane may send before it is read: its messages are small and few.
const WINDOW_BYTES: u32 = 64 << 10;
/// Largest message from the control plane.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
const HEADER_LIST_BYTES: u32 = 8 << 10;
const REQUESTS_WAITING: usize = 4;

/// Why the control plane could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{0:?} is no address of a control plane: https://host:port is expected")]
    Url(String),
    #[error("no address of a control plane is known")]
    NoEndpoint,
    #[error("the name {host} can't be resolved")]
    Resolve { host: String, source: Option<NetError> },
    #[error("{host}:{port} can't be reached")]
    Connect { host: String, port: u16, source: io::Error },
    #[error("the control plane's certificate is not valid at this host's time")]
    Clock(#[source] io::Error),
    #[error("what answers there could not prove to be this host's control plane")]
    Tls(#[source] io::Error),
    #[error("the name of the trust domain is no DNS name")]
    Name(#[from] InvalidDnsNameError),
    #[error("the saved identity or the saved CAs can't be used for TLS")]
    Config(#[from] rustls::Error),
    #[error("the connection could not be set up")]
    Transport(#[from] tonic::transport::Error),
}

/// Whom to dial, and as whom.
#[derive(Clone)]
pub struct Dialer {
    urls: Vec<String>,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Dialer {
    /// A dialer for a host that has no identity yet and believes the CA with the joining line's hash.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn to_join(url: &str, pin: tls::CaPin) -> Result<Self, DialError> {
        let config = tls::client_config(Trust::Pin(pin), None)?;
        Ok(Self { urls: vec![url.to_owned()], name: ServerName::try_from(tls::JOIN_NAME)?, config: Arc::new(config) })
    }

    /// A dialer for an enrolled host.
    ///
    /// # Errors
    /// When identity and CAs can't be used.
    pub fn enrolled(identity: &Identity, endpoints: &Endpoints) -> Result<Self, DialError> {
        let roots = endpoints.ca_certificates_der.iter().cloned().map(CertificateDer::from).collect();
        let mut config = tls::client_config(Trust::Roots(roots), Some(identity.for_tls()))?;
        config.resumption = Resumption::in_memory_sessions(RESUMABLE_SESSIONS);
        Ok(Self {
            urls: endpoints.urls.clone(),
            name: ServerName::try_from(tls::agents_name(&identity.trust_domain))?,
            config: Arc::new(config),
        })
    }

    /// `endpoints` with the addresses dialled so far where it names none: a control plane that was not told its public
    /// address can't know by which one it is reached.
    #[must_use]
    pub fn complete(&self, mut endpoints: Endpoints) -> Endpoints {
        if endpoints.urls.is_empty() {
            endpoints.urls.clone_from(&self.urls);
        }
        endpoints
    }

    /// Connects to the `attempt`-th of the known addresses, counted round.
    ///
    /// # Errors
    /// [`DialError`] says which step failed.
    pub async fn dial(&self, attempt: usize) -> Result<Channel, DialError> {
        let url = self.urls.get(attempt % self.urls.len().max(1)).ok_or(DialError::NoEndpoint)?;
        let (host, port) = host_and_port(url)?;
        let tcp = connect(&host, port).await?;
        let tls = self.handshake(tcp).await?;
        channel(tls).await
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, DialError> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let late = |_| DialError::Tls(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"));
        let shaken = timeout(HANDSHAKE_WITHIN, connector.connect(self.name.clone(), tcp)).await.map_err(late)?;
        shaken.map_err(|error| if is_about_time(&error) { DialError::Clock(error) } else { DialError::Tls(error) })
    }
}

fn is_about_time(error: &io::Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()),
        Some(rustls::Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
        ))
    )
}

/// Host and port of `https://host:port`.
pub(crate) fn host_and_port(url: &str) -> Result<(String, u16), DialError> {
    let wrong = || DialError::Url(url.chars().take(200).collect());
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    if uri.scheme_str() != Some("https") || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong());
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), uri.port_u16().unwrap_or(443)))
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let mut last = None;
    for address in resolve(host).await?.into_iter().take(MAX_ADDRESSES) {
        let attempt = TcpStream::connect(SocketAddr::new(address, port));
        match timeout(CONNECT_WITHIN, attempt).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // Frames are small and written whole; waiting to merge them would only delay them.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(source) => Err(DialError::Connect { host: host.to_owned(), port, source }),
        None => Err(DialError::Resolve { host: host.to_owned(), source: None }),
    }
}

/// A resolver is made for each dial: the host's settings may have changed, and between dials it costs no memory.
async fn resolve(host: &str) -> Result<Vec<IpAddr>, DialError> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let failed = |source| DialError::Resolve { host: host.to_owned(), source };
    let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build()).map_err(|e| failed(Some(e)))?;
    match timeout(RESOLVE_WITHIN, resolver.lookup_ip(host)).await {
        Ok(Ok(found)) => Ok(found.iter().collect()),
        Ok(Err(error)) => Err(failed(Some(error))),
        Err(_) => Err(failed(None)),
    }
}

async fn channel(stream: TlsStream<TcpStream>) -> Result<Channel, DialError> {
    // The scheme is plain because TLS is done already; the name is what requests carry.
    let endpoint = Endpoint::from_static("http://control-plane")
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .buffer_size(REQUESTS_WAITING);
    let mut stream = Some(TokioIo::new(stream));
    let once = service_fn(move |_: Uri| {
        let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        async move { stream }
    });
    Ok(endpoint.connect_with_connector(once).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_and_a_port_and_nothing_else() {
        assert_eq!(host_and_port("https://a.example:8443").expect("fine"), ("a.example".into(), 8443));
        assert_eq!(host_and_port("https://[fd00::1]:1/").expect("fine"), ("fd00::1".into(), 1));
        assert_eq!(host_and_port("https://10.0.0.1").expect("fine"), ("10.0.0.1".into(), 443));
        for wrong in ["http://a:1", "a:1", "https://a/b", "https://a?b", "https://", "", "https://a b"] {
            assert!(matches!(host_and_port(wrong), Err(DialError::Url(_))), "{wrong}");
        }
    }

    #[tokio::test]
    async fn literals_need_no_resolver_and_a_closed_port_says_so() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        assert!(matches!(connect("127.0.0.1", port).await, Err(DialError::Connect { .. })));
    }
}
