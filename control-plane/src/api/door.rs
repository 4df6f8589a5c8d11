//! Which door a request came through: it is where hosts are sent, unless a public address is configured.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::{header::HOST, request::Parts};

use crate::{
    config::Config,
    edge::Peer,
    error::{Error, ErrorKind},
    install_script::Origin,
};

/// How a request's sender reached the control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Door {
    /// The host, and port where one was given, as the sender wrote it.
    authority: String,
    over_tls: bool,
}

impl Door {
    /// The door of a request with this head.
    #[must_use]
    pub fn of(parts: &Parts) -> Self {
        let host = || parts.headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
        let authority = parts.uri.authority().map(ToString::to_string).or_else(host).unwrap_or_default();
        let over_tls = parts.extensions.get::<Peer>().is_some_and(|peer| peer.over_tls);
        Self { authority, over_tls }
    }

    /// The host, and port where one was given, as the sender wrote it.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether it is the TLS door.
    #[must_use]
    pub fn is_over_tls(&self) -> bool {
        self.over_tls
    }

    /// Where hosts fetch the script and the agent.
    ///
    /// # Errors
    /// [`ErrorKind::Precondition`] when neither the configuration nor the request tells.
    pub fn origin(&self, config: &Config) -> Result<Origin, Error> {
        let port = config.listen.port();
        let origin = match &config.public_url {
            Some(url) => url.to_string().parse(),
            None if self.over_tls => Origin::https(&self.authority),
            // Hosts come through the TLS door, whichever one this request took.
            None if port == 0 => Err(crate::install_script::InvalidOrigin),
            None => Origin::https_at(&self.authority, port),
        };
        origin.map_err(|error| {
            let detail = "it is not known where hosts find this control plane: set public_url to its https address";
            Error::new(ErrorKind::Precondition, "no_public_url", detail).because(error)
        })
    }

    /// Where the agent finds the control plane.
    ///
    /// # Errors
    /// As [`Self::origin`].
    pub fn agent_origin(&self, config: &Config) -> Result<Origin, Error> {
        let origin = self.origin(config)?;
        let Some(address) = config.agent_listen else { return Ok(origin) };
        let authority = origin.to_string();
        let authority = authority.trim_start_matches("https://");
        Origin::https_at(authority, address.port()).map_err(Error::internal)
    }
}

impl<S: Sync> FromRequestParts<S> for Door {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}
