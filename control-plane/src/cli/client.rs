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

use super::{
    contexts::{ContextName, Contexts},
    failure::Failure,
    waiting::{Explained, during},
};

/// How long to try for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 pings while a stream is quiet, so that a dead control plane is noticed.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer accepted, in bytes: a page of servers, or one server's facts.
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// Which control plane is asked where nothing names one: this machine's.
const DEFAULT_URL: &str = "https://127.0.0.1:8443";
const NEXT_STEP: &str = "the owner's token is in owner.token in the control plane's data directory";

/// Which control plane, and who asks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Control plane")]
pub struct Target {
    /// The control plane's address; https://127.0.0.1:8443 where nothing names another.
    #[arg(long, env = "MUSTER_URL", global = true)]
    pub url: Option<Uri>,
    /// A file with the API token; MUSTER_TOKEN holds the token itself.
    #[arg(long, env = "MUSTER_TOKEN_FILE", global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Believe only the CA whose certificate has this SHA-256; publicly trusted CAs otherwise.
    #[arg(long, env = "MUSTER_CA_SHA256", global = true, value_name = "HEX")]
    pub ca_sha256: Option<CaPin>,
    /// One of the control planes signed in to, instead of the current one.
    #[arg(long, env = "MUSTER_CONTEXT", global = true, value_name = "NAME", conflicts_with = "url")]
    pub context: Option<ContextName>,
}

/// Which control plane and who asks, settled.
#[derive(Clone)]
pub(super) struct Resolved {
    pub url: Uri,
    pub ca_sha256: Option<CaPin>,
    pub token: String,
}

/// Calls with the token attached.
pub(super) type Fleet = FleetServiceClient<InterceptedService<Explained<Channel>, Bearer>>;

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
    ///
    /// # Errors
    /// When the file can't be read.
    pub(super) fn given_token(&self) -> Result<Option<String>, Failure> {
        match (&self.token_file, std::env::var("MUSTER_TOKEN")) {
            (Some(path), _) => {
                let token = std::fs::read_to_string(path).map_err(|error| {
                    Failure::usage(format!("the token file {} can't be read: {error}", path.display()), NEXT_STEP)
                })?;
                Ok(Some(token.trim().to_owned()))
            }
            (None, token) => Ok(token.ok()),
        }
    }

    /// Settles what is asked and who asks. What is given here or in the environment goes before what is kept, and a
    /// context's token goes to that context's address only.
    ///
    /// # Errors
    /// When there is no token, or no context of that name.
    pub(super) fn resolve(&self, kept: &Contexts, given_token: Option<String>) -> Result<Resolved, Failure> {
        let context = if self.url.is_some() { None } else { kept.find(self.context.as_ref())? };
        let url = self.url.clone().or_else(|| context.map(|context| context.url.clone()));
        let token = given_token.or_else(|| context.map(|context| context.token.clone())).ok_or_else(|| Failure {
            exit_code: 4,
            ..Failure::usage("no API token: use `muster login`, pass --token-file FILE or set MUSTER_TOKEN", NEXT_STEP)
        })?;
        Ok(Resolved {
            url: url.unwrap_or_else(|| Uri::from_static(DEFAULT_URL)),
            ca_sha256: self.ca_sha256.or_else(|| context.and_then(|context| context.ca_sha256)),
            token,
        })
    }
}

impl Resolved {
    fn bearer(&self) -> Result<Bearer, Failure> {
        let mut value = MetadataValue::try_from(format!("Bearer {}", self.token))
            .map_err(|_| Failure::usage("the API token holds characters no token has", NEXT_STEP))?;
        value.set_sensitive(true);
        Ok(Bearer(value))
    }

    fn tls(&self) -> Result<ClientConfig, Failure> {
        let config = match self.ca_sha256 {
            Some(pin) => tls::client_config(Trust::Pin(pin), None),
            None => public_roots(),
        };
        config.map_err(|error| {
            Failure::ended_badly(format!("TLS can't be set up: {error}"), "check --ca-sha256 (MUSTER_CA_SHA256)")
        })
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

/// Connects and returns a client that may be called. Where `shows`, a terminal is told of calls that take long.
///
/// # Errors
/// When the URL or token can't be used, or nobody answers.
pub(super) async fn connect(target: &Resolved, shows: bool) -> Result<Fleet, Failure> {
    let bearer = target.bearer()?;
    let secure = match target.url.scheme_str() {
        Some("https") => Some(Arc::new(target.tls()?)),
        Some("http") => None,
        _ => return Err(bad_url()),
    };
    let host = target.url.host().ok_or_else(bad_url)?.trim_matches(['[', ']']).to_owned();
    let port = target.url.port_u16().unwrap_or(if secure.is_some() { 443 } else { 80 });
    let connector = tower::service_fn(move |_: Uri| dial(host.clone(), port, secure.clone()));
    let endpoint = Endpoint::from(target.url.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let connecting = endpoint.connect_with_connector(connector);
    let connected =
        if shows { during(format!("connecting to {}", target.url), connecting).await } else { connecting.await };
    let channel = connected.map_err(|error| Failure::unreachable(&target.url.to_string(), &error))?;
    Ok(FleetServiceClient::with_interceptor(Explained::new(channel, shows), bearer)
        .max_decoding_message_size(MAX_ANSWER_BYTES))
}

/// An address that can't be used.
pub(super) fn bad_url() -> Failure {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{super::contexts::Context, *};

    fn kept() -> Contexts {
        let context = |host: &str, token: &str| Context {
            url: format!("https://{host}").parse().expect("a URL"),
            ca_sha256: Some(CaPin([1; 32])),
            token: token.to_owned(),
        };
        let name = |name: &str| name.parse::<ContextName>().expect("a name");
        Contexts {
            current: Some(name("one")),
            contexts: BTreeMap::from([
                (name("one"), context("one.example", "a")),
                (name("two"), context("two.example", "b")),
            ]),
        }
    }

    fn target(url: Option<&str>, context: Option<&str>) -> Target {
        Target {
            url: url.map(|url| url.parse().expect("a URL")),
            token_file: None,
            ca_sha256: None,
            context: context.map(|name| name.parse().expect("a name")),
        }
    }

    #[test]
    fn the_current_context_answers_unless_another_is_named() {
        let current = target(None, None).resolve(&kept(), None).expect("resolved");
        assert_eq!((current.url.host(), current.token.as_str()), (Some("one.example"), "a"));
        let named = target(None, Some("two")).resolve(&kept(), None).expect("resolved");
        assert_eq!((named.url.host(), named.token.as_str()), (Some("two.example"), "b"));
        assert_eq!(named.ca_sha256, Some(CaPin([1; 32])));
        let missing = target(None, Some("three")).resolve(&kept(), None).map(|_| ()).expect_err("no such context");
        assert!(missing.message.contains("three"));
    }

    #[test]
    fn a_kept_token_goes_to_its_own_address_only() {
        let other = target(Some("https://evil.example"), None);
        let refused = other.resolve(&kept(), None).map(|_| ()).expect_err("no token for that address");
        assert_eq!(refused.exit_code, 4);
        let given = other.resolve(&kept(), Some("c".into())).expect("resolved");
        assert_eq!((given.url.host(), given.token.as_str(), given.ca_sha256), (Some("evil.example"), "c", None));
    }

    #[test]
    fn without_contexts_this_machine_is_asked() {
        let resolved = target(None, None).resolve(&Contexts::default(), Some("c".into())).expect("resolved");
        assert_eq!(resolved.url, DEFAULT_URL);
    }
}
