//! What single settings may look like. Errors are reasons in words; whoever asks adds the setting's name.

use std::{fmt, net::SocketAddr, path::Path, time::Duration};

use super::DEFAULT_TRUST_DOMAIN;
use crate::store::DatabaseUrl;

/// How log lines look on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl LogFormat {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json".to_owned()),
        }
    }
}

/// A DNS name in lower case that identities live under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Reads a trust domain.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        // `agents.` goes in front, and a DNS name has at most 253 bytes.
        let fits = text.len() <= 240 && text.split('.').all(is_label);
        if fits { Ok(Self(text.to_owned())) } else { Err("expected a DNS name in lower case".to_owned()) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        Self(DEFAULT_TRUST_DOMAIN.to_owned())
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// `https://host[:port]`, or `http://` where a proxy ends TLS elsewhere. No path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    scheme: &'static str,
    host: String,
    port: Option<u16>,
}

impl PublicUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected https://host or https://host:port, without a path".to_owned();
        let uri: http::Uri = text.parse().map_err(|_| expected())?;
        let scheme = match uri.scheme_str() {
            Some("https") => "https",
            Some("http") => "http",
            _ => return Err(expected()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(expected)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(expected());
        }
        Ok(Self { scheme, host: authority.host().to_ascii_lowercase(), port: authority.port_u16() })
    }

    /// The host alone; an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The same URL at another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { port: Some(port), ..self.clone() }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and port, such as 127.0.0.1:8080 or [::]:8443".to_owned())
}

/// Reads an address with a scheme, or the path of a SQLite file.
pub(super) fn database_url(text: &str) -> Result<DatabaseUrl, String> {
    if !text.contains("://") {
        return Ok(DatabaseUrl::sqlite(Path::new(text)));
    }
    text.parse().map_err(|error: crate::store::StoreError| error.to_string())
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

pub(super) fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a whole number above 0".to_owned())
}

pub(super) fn log_level(text: &str) -> Result<String, String> {
    let known = |word: &str| matches!(word, "off" | "error" | "warn" | "info" | "debug" | "trace");
    let fits = text.split(',').all(|part| part.rsplit_once('=').map_or(part, |(_, level)| level).split('=').all(known));
    if fits { Ok(text.to_owned()) } else { Err("expected error, warn, info, debug or trace".to_owned()) }
}

/// Reads `90`, `90s`, `15m`, `24h` or `30d`.
pub(super) fn duration_between(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let expected = || format!("expected a duration such as 90s, 15m, 24h or 7d, at least {}s", min.as_secs());
    let (number, unit_seconds) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let seconds =
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_seconds)).ok_or_else(expected)?;
    let duration = Duration::from_secs(seconds);
    if duration < min || duration > max { Err(expected()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_domains_are_dns_names() {
        assert!(TrustDomain::parse("fleet.example-1.org").is_ok());
        for bad in ["", "a..b", "-a", "A.b", "a/b", "a b", "a_b"] {
            assert!(TrustDomain::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn public_urls_have_no_path_and_no_user() {
        let url = PublicUrl::parse("https://Fleet.example:8443/").expect("a URL");
        assert_eq!((url.host(), url.to_string().as_str()), ("fleet.example", "https://fleet.example:8443"));
        assert_eq!(PublicUrl::parse("https://[::1]:8443").expect("a URL").host(), "::1");
        for bad in ["fleet.example", "ftp://x", "https://x/y", "https://u:p@x", "https://x?y"] {
            assert!(PublicUrl::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_have_units_and_bounds() {
        let read = |text| duration_between(text, Duration::from_secs(2), Duration::from_secs(86_400 * 90));
        assert_eq!(read("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(read("90"), Ok(Duration::from_secs(90)));
        for bad in ["", "1s", "91d", "h", "1w", "-5s", "99999999999999999999d"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
