//! A control plane in this process, and hosts that speak the wire protocol to it over real TLS.

#![allow(dead_code, unreachable_pub, reason = "each suite uses its part")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use muster::{
    access::{Act, Origin, Principal},
    app::{self, App},
    config::{Config, Layers},
    enrollment::NewJoinToken,
};
use muster_shared::{
    id::{OrgId, ServerId},
    tls::{Trust, agents_name, client_config},
    wire::{
        self, agent_message, control_message, enroll_service_client::EnrollServiceClient,
        link_service_client::LinkServiceClient,
    },
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sqlx::Connection as _;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming, transport::Channel};

/// Longest that anything here may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const TRUST_DOMAIN: &str = "muster.internal";

/// A running control plane on a scratch directory.
pub struct Plane {
    pub app: App,
    pub address: SocketAddr,
    pub org: OrgId,
    owner: Principal,
    pub stop: CancellationToken,
    serving: JoinHandle<()>,
    pub folder: TempDir,
}

impl Plane {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), change).await
    }

    /// One that finds what another left in `folder`.
    pub async fn start_in(folder: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::resolve(&Layers::default()).expect("defaults");
        config.data_dir = folder.path().to_owned();
        config.database_url = muster::store::DatabaseUrl::sqlite_in(folder.path());
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        change(&mut config);
        let stop = CancellationToken::new();
        let (ready, is_ready) = oneshot::channel();
        let serving = tokio::spawn({
            let stop = stop.clone();
            async move {
                app::serve(config, stop, |app, doors| {
                    let address = doors.tls.local_addr().expect("bound");
                    assert!(ready.send((app.clone(), address)).is_ok());
                })
                .await
                .expect("served");
            }
        });
        let (app, address) = is_ready.await.expect("started");
        let token = std::fs::read_to_string(folder.path().join("owner.token")).expect("the owner's token");
        let owner = app.access.authenticate(token.trim(), app.clock.now_us()).await.expect("the owner");
        Self { app, address, org: owner.org_id, owner, stop, serving, folder }
    }

    /// What the owner does at `now_us`.
    pub fn act(&self, now_us: i64) -> Act {
        self.owner.act(Origin::default(), now_us)
    }

    pub async fn token(&self) -> String {
        self.token_like(NewJoinToken::default()).await
    }

    pub async fn token_like(&self, token: NewJoinToken) -> String {
        let now_us = self.app.clock.now_us();
        let (_, secret) = self.app.enrollment.create_token(&self.act(now_us), token).await.expect("made");
        secret.reveal().to_owned()
    }

    pub fn ca(&self) -> CertificateDer<'static> {
        self.app.identity.authority.certificate().clone()
    }

    /// A host with an identity of its own.
    pub async fn enrolled(&self) -> Agent {
        let mut agent = Agent::new(self);
        agent.enroll(&self.token().await).await.expect("enrolled");
        agent
    }

    /// What an operator would read of a counter; 0 before it counted.
    pub fn counted(&self, name_and_labels: &str) -> f64 {
        let text = self.app.counters.render();
        let line = text.lines().find(|line| line.starts_with(&format!("{name_and_labels} ")));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    /// Takes the database's write lock, as another process may; nothing can be stored until it lets go.
    pub async fn hold_database(&self) -> sqlx::AnyConnection {
        sqlx::any::install_default_drivers();
        let address = format!("sqlite://{}", self.folder.path().join("muster.db").display());
        let mut connection = sqlx::AnyConnection::connect(&address).await.expect("connected");
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.expect("held");
        connection
    }

    pub async fn stopped(self) {
        self.into_folder().await;
    }

    /// Stops, and leaves everything for another start.
    pub async fn into_folder(self) -> (OrgId, TempDir) {
        self.stop.cancel();
        timeout(PATIENCE, self.serving).await.expect("drained in time").expect("stopped in order");
        (self.org, self.folder)
    }
}

/// A host: a key, and what it got for it.
#[derive(Clone)]
pub struct Agent {
    pub address: SocketAddr,
    pub ca: CertificateDer<'static>,
    pub key: Arc<KeyPair>,
    pub server_id: Option<ServerId>,
    pub chain: Vec<CertificateDer<'static>>,
    pub machine_id: String,
    pub generation: u64,
    /// What it says, when it enrolls and renews, that it signs receipts with; empty for an agent that signs none.
    pub receipt_key: Vec<u8>,
}

impl Agent {
    pub fn new(plane: &Plane) -> Self {
        Self {
            address: plane.address,
            ca: plane.ca(),
            key: Arc::new(new_key()),
            server_id: None,
            chain: Vec::new(),
            machine_id: "a".repeat(64),
            generation: 0,
            receipt_key: Vec::new(),
        }
    }

    pub fn server(&self) -> ServerId {
        self.server_id.expect("enrolled")
    }

    pub async fn enroll(&mut self, token: &str) -> Result<wire::EnrollResponse, Status> {
        let request = wire::EnrollRequest {
            join_token: token.to_owned(),
            csr_der: request(&self.key),
            host: Some(self.claims()),
            receipt_key: self.receipt_key.clone(),
            ..wire::EnrollRequest::default()
        };
        self.enroll_with(request).await
    }

    pub async fn enroll_with(&mut self, request: wire::EnrollRequest) -> Result<wire::EnrollResponse, Status> {
        let channel = channel(self.address, &self.ca, None).await?;
        let response = EnrollServiceClient::new(channel).enroll(request).await?.into_inner();
        self.server_id = Some(response.server_id.parse().expect("an id"));
        self.take(response.identity.as_ref().expect("an identity"));
        Ok(response)
    }

    pub fn claims(&self) -> wire::HostClaims {
        wire::HostClaims {
            hostname: "host-1".into(),
            machine_id_sha256: self.machine_id.clone(),
            arch: "x86_64".into(),
            agent_version: "0.1.0".into(),
        }
    }

    pub fn take(&mut self, identity: &wire::Identity) {
        self.chain = identity.certificate_chain_der.iter().map(|der| CertificateDer::from(der.clone())).collect();
    }

    pub async fn renew(&mut self) -> Result<(), Status> {
        let key = new_key();
        let mut client = EnrollServiceClient::new(self.channel().await?);
        let response = client
            .renew(wire::RenewRequest { csr_der: request(&key), receipt_key: self.receipt_key.clone() })
            .await?
            .into_inner();
        self.key = Arc::new(key);
        self.take(response.identity.as_ref().expect("an identity"));
        Ok(())
    }

    pub async fn channel(&self) -> Result<Channel, Status> {
        channel(self.address, &self.ca, Some((self.chain.clone(), self.private_key()))).await
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }

    pub fn hello(&self) -> wire::Hello {
        wire::Hello {
            protocol: 1,
            agent_version: "0.1.0".into(),
            boot_id: "boot".into(),
            machine_id_sha256: self.machine_id.clone(),
            hostname: "host-1".into(),
            generation: self.generation,
            allowed_families: vec!["observe".into()],
            ..wire::Hello::default()
        }
    }

    /// A stream whose welcome is confirmed.
    pub async fn connect(&mut self) -> Result<Link, Status> {
        let channel = self.channel().await?;
        self.connect_over(channel).await
    }

    pub async fn connect_over(&mut self, channel: Channel) -> Result<Link, Status> {
        let mut link = Link::open(channel, self.hello()).await?;
        let Some(control_message::Kind::Welcome(welcome)) = link.next().await? else { panic!("no welcome") };
        self.generation = welcome.generation;
        link.welcome = welcome.clone();
        link.send(agent_message::Kind::Confirm(wire::Confirm { generation: welcome.generation })).await;
        Ok(link)
    }
}

/// A host's open stream.
pub struct Link {
    pub welcome: wire::Welcome,
    outbound: mpsc::Sender<wire::AgentMessage>,
    inbound: Streaming<wire::ControlMessage>,
}

impl Link {
    pub async fn open(channel: Channel, hello: wire::Hello) -> Result<Self, Status> {
        let (outbound, messages) = mpsc::channel(64);
        let first = wire::AgentMessage { kind: Some(agent_message::Kind::Hello(hello)) };
        outbound.send(first).await.expect("room");
        let mut client = LinkServiceClient::new(channel);
        let call = client.link(ReceiverStream::new(messages));
        let inbound = timeout(PATIENCE, call).await.expect("answered in time")?.into_inner();
        Ok(Self { welcome: wire::Welcome::default(), outbound, inbound })
    }

    pub async fn send(&self, kind: agent_message::Kind) {
        // A stream that is over is noticed when reading.
        let _ = self.outbound.send(wire::AgentMessage { kind: Some(kind) }).await;
    }

    /// The next message; pings are answered on the way.
    pub async fn next(&mut self) -> Result<Option<control_message::Kind>, Status> {
        loop {
            let message = timeout(PATIENCE, self.inbound.message()).await.expect("a message in time")?;
            match message.and_then(|message| message.kind) {
                Some(control_message::Kind::Ping(ping)) => {
                    self.send(agent_message::Kind::Pong(wire::Pong { nonce: ping.nonce })).await;
                }
                kind => return Ok(kind),
            }
        }
    }

    /// How the stream ends.
    pub async fn end(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("closed"),
                Err(status) => return status,
            }
        }
    }
}

pub fn new_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("randomness")
}

pub fn request(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).expect("a request").der().to_vec()
}

pub type ClientIdentity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub async fn tls(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(config).connect(name, TcpStream::connect(address).await?).await
}

pub async fn channel(
    address: SocketAddr,
    ca: &CertificateDer<'static>,
    identity: Option<ClientIdentity>,
) -> Result<Channel, Status> {
    let config = client_config(Trust::Roots(vec![ca.clone()]), identity).expect("a configuration");
    channel_of(address, Arc::new(config)).await
}

pub async fn channel_of(address: SocketAddr, config: Arc<rustls::ClientConfig>) -> Result<Channel, Status> {
    let connector = tower::service_fn(move |_: http::Uri| {
        let config = Arc::clone(&config);
        async move {
            let stream = tls(address, config, &agents_name(TRUST_DOMAIN)).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    tonic::transport::Endpoint::from_static("https://agents.muster.internal")
        .connect_with_connector(connector)
        .await
        .map_err(|error| Status::unavailable(app::chain(&error)))
}

/// The word an error carries.
pub fn code(status: &Status) -> &str {
    status.metadata().get("muster-error-code").and_then(|code| code.to_str().ok()).unwrap_or("")
}
