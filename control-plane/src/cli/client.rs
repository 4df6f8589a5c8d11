//! The connection to a control plane: TLS by pin or by public roots, plain HTTP/2 for `http://`, and the API token.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use http::Uri;
use hyper_util::rt::TokioIo;
use muster_shared::{
    tls::{self, CaPin, Trust},
    wire::fleet_service_client::FleetServiceClient,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use super::failure::Failure;

/// How long to try for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 pings while a stream is quiet, so that a dead control plane is noticed.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer accepted, in bytes: a page of servers, or one server's facts.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// Which control plane, and who asks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Control plane")]
pub struct Target {
    /// The control plane's address.
    #[arg(long, env = "MUSTER_URL", global = true, default_value = "https://127.0.0.1:8443")]
    pub url: Uri,
    /// A file with the API token; MUSTER_TOKEN holds the token itself.
    #[arg(long, env = "MUSTER_TOKEN_FILE", global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Believe only the CA whose certificate has this SHA-256; publicly trusted CAs otherwise.
    #[arg(long, env = "MUSTER_CA_SHA256", global = true, value_name = "HEX")]
    pub ca_sha256: Option<CaPin>,
}

/// Calls with the token attached.
pub(super) type Fleet = FleetServiceClient<InterceptedService<Channel, Bearer>>;

/// Adds the API token to every call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

impl Target {
    /// The token from the file, else from `MUSTER_TOKEN`.
    fn token(&self) -> Result<Bearer, Failure> {
        let next_step = "the owner's token is in owner.token in the control plane's data directory";
        let token = match (&self.token_file, std::env::var("MUSTER_TOKEN")) {
            (Some(path), _) => std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!("the token file {} can't be read: {error}", path.display()), next_step)
            })?,
            (None, Ok(token)) => token,
            (None, Err(_)) => {
                let failure = Failure::usage("no API token: pass --token-file FILE or set MUSTER_TOKEN", next_step);
                return Err(Failure { exit_code: 4, ..failure });
            }
        };
        let mut value = MetadataValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|_| Failure::usage("the API token holds characters no token has", next_step))?;
        value.set_sensitive(true);
        Ok(Bearer(value))
    }

    fn tls(&self) -> Result<ClientConfig, Failure> {
        let config = match self.ca_sha256 {
            Some(pin) => tls::client_config(Trust::Pin(pin), None),
            None => public_roots(),
        };
        config.map_err(|error| Failure::ended_badly(format!("TLS can't be set up: {error}")))
    }
}

fn public_roots() -> Result<ClientConfig, rustls::Error> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let mut config = ClientConfig::builder_with_provider(tls::crypto())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![tls::ALPN_H2.to_vec()];
    Ok(config)
}

/// Connects and returns a client that may be called.
///
/// # Errors
/// When the URL or token can't be used, or nobody answers.
pub(super) async fn connect(target: &Target) -> Result<Fleet, Failure> {
    let bearer = target.token()?;
    let secure = match target.url.scheme_str() {
        Some("https") => Some(Arc::new(target.tls()?)),
        Some("http") => None,
        _ => return Err(bad_url()),
    };
    let host = target.url.host().ok_or_else(bad_url)?.trim_matches(['[', ']']).to_owned();
    let port = target.url.port_u16().unwrap_or(if secure.is_some() { 443 } else { 80 });
    let connector = tower::service_fn(move |_: Uri| dial(host.clone(), port, secure.clone()));
    let channel = Endpoint::from(target.url.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .connect_with_connector(connector)
        .await
        .map_err(|error| Failure::unreachable(&target.url.to_string(), &error))?;
    Ok(FleetServiceClient::with_interceptor(channel, bearer).max_decoding_message_size(MAX_ANSWER_BYTES))
}

fn bad_url() -> Failure {
    Failure::usage("the URL must be https://HOST[:PORT] or http://HOST[:PORT]", "check --url (MUSTER_URL)")
}

async fn dial(
    host: String,
    port: u16,
    secure: Option<Arc<ClientConfig>>,
) -> std::io::Result<TokioIo<Box<dyn Transport>>> {
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let Some(config) = secure else { return Ok(TokioIo::new(Box::new(stream))) };
    let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await?;
    Ok(TokioIo::new(Box::new(stream)))
}
