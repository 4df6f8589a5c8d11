//! A simulated host's key and certificate, and the channels they open.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use hyper_util::rt::TokioIo;
use muster_shared::{
    tls::{CaPin, JOIN_NAME, Trust, agents_name, client_config},
    wire::{self, enroll_service_client::EnrollServiceClient},
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// Who a simulated host is.
#[derive(Debug, Clone)]
pub struct Identity {
    pub server_id: String,
    pub trust_domain: String,
    pub not_after_us: i64,
    pin: CaPin,
    key: Arc<KeyPair>,
    chain: Vec<CertificateDer<'static>>,
}

/// Enrols a new key with a join token.
///
/// # Errors
/// The refusal, as the control plane worded it.
pub async fn enrol_with(
    address: SocketAddr,
    pin: CaPin,
    token: &str,
    host: wire::HostClaims,
) -> Result<Identity, Status> {
    let internal = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
    let key = KeyPair::generate().map_err(|error| internal(&error))?;
    let request = wire::EnrollRequest {
        join_token: token.to_owned(),
        csr_der: certificate_request(&key).map_err(|error| internal(&error))?,
        host: Some(host),
        ..Default::default()
    };
    let tls = client_config(Trust::Pin(pin), None).map_err(|error| internal(&error))?;
    let channel = channel(address, JOIN_NAME, tls).await.map_err(|error| Status::unavailable(format!("{error:#}")))?;
    let answer = EnrollServiceClient::new(channel).enroll(request).await?.into_inner();
    let identity = answer.identity.ok_or_else(|| Status::internal("no identity in the answer"))?;
    Ok(Identity {
        server_id: answer.server_id,
        trust_domain: answer.trust_domain,
        not_after_us: identity.not_after_us,
        pin,
        key: Arc::new(key),
        chain: chain_of(&identity),
    })
}

fn certificate_request(key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    Ok(CertificateParams::default().serialize_request(key)?.der().to_vec())
}

fn chain_of(identity: &wire::Identity) -> Vec<CertificateDer<'static>> {
    identity.certificate_chain_der.iter().cloned().map(CertificateDer::from).collect()
}

impl Identity {
    /// A channel to the agents' services that shows this certificate.
    ///
    /// # Errors
    /// When nothing answers or the handshake fails.
    pub async fn channel(&self, address: SocketAddr) -> Result<Channel> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let tls = client_config(Trust::Pin(self.pin), Some((self.chain.clone(), key)))?;
        channel(address, &agents_name(&self.trust_domain), tls).await
    }

    /// Renews the certificate over a channel this one opened.
    ///
    /// # Errors
    /// The refusal, as the control plane worded it.
    pub async fn renew(&mut self, address: SocketAddr) -> Result<()> {
        let channel = self.channel(address).await?;
        let request = wire::RenewRequest { csr_der: certificate_request(&self.key)?, ..wire::RenewRequest::default() };
        let renewed = EnrollServiceClient::new(channel).renew(request).await?.into_inner();
        let identity = renewed.identity.context("an identity")?;
        self.chain = chain_of(&identity);
        self.not_after_us = identity.not_after_us;
        Ok(())
    }
}

/// An HTTP/2 channel over TLS to `address` under the name `name`.
///
/// # Errors
/// When nothing answers or the handshake fails.
pub async fn channel(address: SocketAddr, name: &str, tls: ClientConfig) -> Result<Channel> {
    let connector = TlsConnector::from(Arc::new(tls));
    let name = ServerName::try_from(name.to_owned())?;
    let connect = tower::service_fn(move |_| {
        let (connector, name) = (connector.clone(), name.clone());
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            connector.connect(name, stream).await.map(TokioIo::new)
        }
    });
    // TLS is the connector's; the scheme only fills the request's pseudo-header.
    Ok(Endpoint::from_static("http://agents.muster").connect_with_connector(connect).await?)
}
