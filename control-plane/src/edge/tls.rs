//! The two TLS configurations behind the one port.

use std::sync::Arc;

use muster_shared::tls::{ALPN_H2, JOIN_NAME, agents_name, crypto};
use rustls::{Error, ServerConfig, crypto::ring::Ticketer};

use super::peer::AgentVerifier;
use crate::identity::Identity;

/// Plain HTTP/1.1, for browsers' and programs' ALPN.
const ALPN_HTTP1: &[u8] = b"http/1.1";
/// Tickets sent per full handshake; one reconnect needs one.
const TICKETS: usize = 1;

/// Which of the two a connection gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    Agents,
    Everyone,
}

/// What the TLS port presents to whom. Clones share it.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    agents: Arc<ServerConfig>,
    everyone: Arc<ServerConfig>,
    agents_name: Arc<str>,
    pub(super) trust_domain: Arc<str>,
}

impl TlsSettings {
    /// Both configurations from the control plane's identity. They share no ticket key: a ticket from the public name
    /// must not stand for a client certificate on the agents' name.
    ///
    /// # Errors
    /// When the CA can't be used as a root.
    pub fn new(identity: &Identity) -> Result<Self, Error> {
        let trust_domain = identity.authority.trust_domain();
        let builder = || ServerConfig::builder_with_provider(crypto()).with_safe_default_protocol_versions();
        let verifier = Arc::new(AgentVerifier::new(identity.authority.certificate())?);
        let mut agents = builder()?.with_client_cert_verifier(verifier).with_cert_resolver(identity.for_agents.clone());
        agents.alpn_protocols = vec![ALPN_H2.to_vec()];
        let mut everyone = builder()?.with_no_client_auth().with_cert_resolver(identity.for_everyone.clone());
        everyone.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_HTTP1.to_vec()];
        for config in [&mut agents, &mut everyone] {
            config.ticketer = Ticketer::new()?;
            config.send_tls13_tickets = TICKETS;
        }
        Ok(Self {
            agents: Arc::new(agents),
            everyone: Arc::new(everyone),
            agents_name: agents_name(trust_domain).into(),
            trust_domain: trust_domain.into(),
        })
    }

    pub(super) fn audience(&self, server_name: Option<&str>) -> Audience {
        let is_agents = |name: &str| {
            let name = name.strip_suffix('.').unwrap_or(name);
            name.eq_ignore_ascii_case(&self.agents_name) || name.eq_ignore_ascii_case(JOIN_NAME)
        };
        if server_name.is_some_and(is_agents) { Audience::Agents } else { Audience::Everyone }
    }

    pub(super) fn config(&self, audience: Audience) -> Arc<ServerConfig> {
        match audience {
            Audience::Agents => Arc::clone(&self.agents),
            Audience::Everyone => Arc::clone(&self.everyone),
        }
    }
}
