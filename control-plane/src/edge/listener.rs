//! Accepting, shaking hands and serving until told to stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use muster_shared::tls::PeerCertificate;
use rustls::server::Acceptor;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

use super::{
    Peer,
    limits::{self, Admission, Limits, refused},
    tls::{Audience, TlsSettings},
};

/// How long to wait after the system refused to accept, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A door that can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    #[error("can't listen on {address}: {}", why(.source))]
    Bind { address: SocketAddr, source: io::Error },
}

fn why(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it or choose another port",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::PermissionDenied => "the system does not permit it; ports under 1024 need a privilege",
        _ => "the system refused",
    }
}

/// The listening sockets, bound but not served yet.
#[derive(Debug)]
pub struct Doors {
    pub tls: TcpListener,
    pub agents: Option<TcpListener>,
    pub http: Option<TcpListener>,
}

impl Doors {
    /// Binds every configured address, or none.
    ///
    /// # Errors
    /// [`EdgeError::Bind`], naming the address.
    pub async fn bind(config: &crate::config::Config) -> Result<Self, EdgeError> {
        let bind_if = async |address: Option<SocketAddr>| match address {
            Some(address) => bind(address).await.map(Some),
            None => Ok(None),
        };
        Ok(Self {
            tls: bind(config.listen).await?,
            agents: bind_if(config.agent_listen).await?,
            http: bind_if(config.http_listen).await?,
        })
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, EdgeError> {
    TcpListener::bind(address).await.map_err(|source| EdgeError::Bind { address, source })
}

/// What a door leads to; `None` closes it for that audience (`wrong_door`).
#[derive(Debug, Clone, Default)]
pub struct Routers {
    pub agents: Option<Router>,
    pub everyone: Option<Router>,
}

/// Serves TLS on `listener` until `stop`, then drains for [`limits::DRAIN_GRACE`] and cuts what is left.
pub async fn serve_tls(
    listener: TcpListener,
    tls: TlsSettings,
    routers: Routers,
    limits: Limits,
    stop: CancellationToken,
) {
    let connection = Connections::new(stop);
    let admission = Admission::new(&limits);
    let shared = Arc::new((tls, routers, connection.clone(), limits.handshake_timeout));
    while let Some((stream, address)) = connection.accept(&listener).await {
        let (place, at_the_door) = match admission.admit(address.ip()) {
            Ok(places) => places,
            Err(reason) => {
                refused(reason);
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        connection.tracker.spawn(async move {
            let _place = place;
            let (tls, routers, connection, handshake_timeout) = &*shared;
            let shaken = tokio::select! {
                shaken = timeout(*handshake_timeout, shake_hands(tls, stream)) => shaken,
                () = connection.stop.cancelled() => return,
            };
            drop(at_the_door);
            match shaken {
                Ok(Ok((stream, audience))) => {
                    let router = match audience {
                        Audience::Agents => &routers.agents,
                        Audience::Everyone => &routers.everyone,
                    };
                    let Some(router) = router.clone() else { return refused("wrong_door") };
                    let Some(peer) = identify(&stream, address, audience, &tls.trust_domain) else {
                        return refused("no_identity");
                    };
                    connection.serve(TokioIo::new(stream), audience, router, peer).await;
                }
                Ok(Err(error)) => {
                    refused("handshake");
                    tracing::debug!(%address, %error, "tls handshake failed");
                }
                Err(_) => refused("handshake_timeout"),
            }
        });
    }
    drop(listener);
    connection.drain().await;
}

/// Serves plain HTTP/1.1 and HTTP/2 on `listener` until `stop`, then drains as [`serve_tls`] does.
pub async fn serve_plain(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let connection = Connections::new(stop);
    let admission = Admission::new(&limits);
    while let Some((stream, address)) = connection.accept(&listener).await {
        let (place, _) = match admission.admit(address.ip()) {
            Ok(places) => places,
            Err(reason) => {
                refused(reason);
                continue;
            }
        };
        let (router, peer, serving) =
            (router.clone(), Peer { address, over_tls: false, certificate: None }, connection.clone());
        connection.tracker.spawn(async move {
            let _place = place;
            serving.serve(TokioIo::new(stream), Audience::Everyone, router, peer).await;
        });
    }
    drop(listener);
    connection.drain().await;
}

async fn shake_hands(tls: &TlsSettings, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Audience)> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let audience = tls.audience(start.client_hello().server_name());
    Ok((start.into_stream(tls.config(audience)).await?, audience))
}

/// The peer of a connection; `None` when it shows a certificate that names no server of ours.
fn identify(
    stream: &TlsStream<TcpStream>,
    address: SocketAddr,
    audience: Audience,
    trust_domain: &str,
) -> Option<Peer> {
    let presented = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = match (audience, presented) {
        (Audience::Agents, Some(leaf)) => Some(Arc::new(PeerCertificate::parse(leaf, trust_domain).ok()?)),
        _ => None,
    };
    Some(Peer { address, over_tls: true, certificate })
}

/// The connections of one door. Clones share them.
#[derive(Debug, Clone)]
struct Connections {
    stop: CancellationToken,
    cut: CancellationToken,
    tracker: TaskTracker,
}

impl Connections {
    fn new(stop: CancellationToken) -> Self {
        Self { stop, cut: CancellationToken::new(), tracker: TaskTracker::new() }
    }

    /// The next connection; `None` when it is time to stop.
    async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
        loop {
            match self.stop.run_until_cancelled(listener.accept()).await? {
                Ok((stream, address)) => {
                    metrics::counter!("muster_edge_connections_total").increment(1);
                    // Only latency is lost where the system refuses.
                    let _ = stream.set_nodelay(true);
                    return Some((stream, address));
                }
                Err(error) => {
                    refused("accept");
                    tracing::warn!(%error, "connection not accepted");
                    self.stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await?;
                }
            }
        }
    }

    /// Serves one connection until it ends, is asked to finish and does, or is cut.
    async fn serve<IO>(&self, io: TokioIo<IO>, audience: Audience, router: Router, peer: Peer)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _open = OpenConnection::count(audience);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            router.clone().call(request)
        });
        let builder = http_of(audience);
        let connection = builder.serve_connection(io, service);
        tokio::pin!(connection);
        let finished = tokio::select! {
            finished = connection.as_mut() => finished,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    finished = connection.as_mut() => finished,
                    () = self.cut.cancelled() => return refused("drained"),
                }
            }
        };
        if let Err(error) = finished {
            tracing::debug!(error = &*error, "connection ended early");
        }
    }

    async fn drain(self) {
        self.tracker.close();
        if timeout(limits::DRAIN_GRACE, self.tracker.wait()).await.is_err() {
            tracing::info!(connections = self.tracker.len(), "connections cut at the end of the grace");
            self.cut.cancel();
            self.tracker.wait().await;
        }
    }
}

/// Counts a connection while it is open.
struct OpenConnection(metrics::Gauge);

impl OpenConnection {
    fn count(audience: Audience) -> Self {
        let audience = match audience {
            Audience::Agents => "agents",
            Audience::Everyone => "everyone",
        };
        let gauge = metrics::gauge!("muster_edge_connections", "audience" => audience);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

fn http_of(audience: Audience) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_READ_TIMEOUT)
        .max_buf_size(limits::MAX_HTTP1_HEAD_BYTES)
        .max_headers(limits::MAX_HTTP1_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::PING_INTERVAL)
        .keep_alive_timeout(limits::PING_TIMEOUT)
        .max_header_list_size(limits::MAX_HEADER_LIST_BYTES);
    match audience {
        Audience::Agents => {
            builder
                .http2()
                .max_concurrent_streams(limits::MAX_AGENT_STREAMS)
                .initial_stream_window_size(limits::AGENT_STREAM_WINDOW_BYTES)
                .initial_connection_window_size(limits::AGENT_CONNECTION_WINDOW_BYTES)
                .max_send_buf_size(limits::AGENT_SEND_BUFFER_BYTES);
            builder.http2_only()
        }
        Audience::Everyone => {
            builder.http2().max_concurrent_streams(limits::MAX_PUBLIC_STREAMS);
            builder
        }
    }
}
