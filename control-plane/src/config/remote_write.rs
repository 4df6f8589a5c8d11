//! Where samples are written to beside the control plane's own store, as it is set up.

use http::{HeaderName, HeaderValue, Uri};

use super::{
    InvalidConfig, Layers,
    file::{certificates_in, secret_in},
    missing,
};
use crate::metrics::remote_write::Destination;

const DEPENDENT: [&str; 3] = ["remote_write_bearer_token_file", "remote_write_headers", "remote_write_ca_file"];
/// What the sender itself says.
const OWN_HEADERS: [&str; 6] = [
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "x-prometheus-remote-write-version",
];

/// The destination, if one is set.
///
/// # Errors
/// The first setting that is unusable, or set without an address.
pub(super) fn resolve(layers: &Layers) -> Result<Option<Destination>, InvalidConfig> {
    let Some(url) = layers.parse("remote_write_url", url)? else {
        return match DEPENDENT.iter().find(|name| layers.text(name).is_some()) {
            Some(name) => Err(missing(name, "it means nothing without remote_write_url")),
            None => Ok(None),
        };
    };
    Ok(Some(Destination {
        url,
        bearer_token: layers.parse("remote_write_bearer_token_file", secret_in)?,
        headers: layers.parse("remote_write_headers", headers)?.unwrap_or_default(),
        authorities: layers.parse("remote_write_ca_file", certificates_in)?.unwrap_or_default(),
    }))
}

pub(super) fn url(text: &str) -> Result<Uri, String> {
    let expected = || {
        "expected http:// or https:// with a host, without a user, such as http://prometheus:9090/api/v1/write"
            .to_owned()
    };
    let url: Uri = text.parse().map_err(|_| expected())?;
    let authority = url.authority().filter(|it| !it.as_str().contains('@') && !it.host().is_empty());
    let fits = authority.is_some() && matches!(url.scheme_str(), Some("http" | "https"));
    if fits { Ok(url) } else { Err(expected()) }
}

pub(super) fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let name = HeaderName::try_from(name.trim()).ok()?;
        let value = HeaderValue::try_from(value.trim()).ok()?;
        (!OWN_HEADERS.contains(&name.as_str())).then_some((name, value))
    };
    let headers: Option<Vec<_>> = text.split(',').map(header).collect();
    headers.ok_or_else(|| {
        format!("expected NAME=VALUE, separated by commas, such as X-Scope-OrgID=fleet; not {}", OWN_HEADERS.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_host_and_no_user() {
        for good in ["http://127.0.0.1:9090/api/v1/write", "https://mimir.example.com/api/v1/push?a=b"] {
            assert!(url(good).is_ok(), "{good:?}");
        }
        for bad in ["", "prometheus:9090", "/api/v1/write", "ftp://x/", "http://u:p@x/"] {
            assert!(url(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn headers_are_pairs_and_none_of_the_senders_own() {
        let read = headers("X-Scope-OrgID=fleet, x-other = a b").expect("headers");
        assert_eq!(
            (read.len(), read[0].0.as_str(), &read[1].1),
            (2, "x-scope-orgid", &HeaderValue::from_static("a b"))
        );
        for bad in ["", "x", "a b=c", "Authorization=Bearer x", "x=1,"] {
            assert!(headers(bad).is_err(), "{bad:?}");
        }
    }
}
