//! The certificates the control plane presents, renewed while it runs.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use muster_shared::tls::{JOIN_NAME, agents_name, crypto};
use rcgen::SanType;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{CertificateAuthority, IdentityError};

/// How long a presented certificate lives.
const LIFE: Duration = Duration::from_secs(30 * 86_400);
/// When less than this is left, a new one is made.
const RENEW_WITH_LEFT_US: i64 = 10 * 86_400 * 1_000_000;
/// How often that is looked at.
pub const RENEWAL_CHECK_INTERVAL: Duration = Duration::from_secs(3600);

/// Under which names a certificate is presented.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    pub dns: BTreeSet<String>,
    pub addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// What agents dial.
    #[must_use]
    pub fn of_agents(trust_domain: &str) -> Self {
        Self { dns: BTreeSet::from([agents_name(trust_domain), JOIN_NAME.to_owned()]), addresses: BTreeSet::new() }
    }

    /// What everyone else dials: this machine's names and addresses, and the public name where one is set.
    #[must_use]
    pub fn of_everyone(hostname: Option<&str>, public_host: Option<&str>, listening: &[IpAddr]) -> Self {
        let mut names = Self::default();
        names.add("localhost");
        for host in hostname.into_iter().chain(public_host) {
            names.add(host);
        }
        names.addresses.extend([IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]);
        names.addresses.extend(listening.iter().filter(|address| !address.is_unspecified()));
        names
    }

    /// Adds a host as an address if it is one, as a DNS name otherwise.
    fn add(&mut self, host: &str) {
        match host.parse() {
            Ok(address) => {
                self.addresses.insert(address);
            }
            Err(_) => {
                self.dns.insert(host.to_ascii_lowercase());
            }
        }
    }

    fn to_alt_names(&self) -> Vec<SanType> {
        // A machine may be called what no certificate can say; it is then reached by its other names.
        let dns = self.dns.iter().filter_map(|name| name.as_str().try_into().ok().map(SanType::DnsName));
        dns.chain(self.addresses.iter().copied().map(SanType::IpAddress)).collect()
    }
}

/// One certificate and key for a set of names. Handshakes take whatever is newest.
#[derive(Debug)]
pub struct PresentedCertificates {
    authority: Arc<CertificateAuthority>,
    names: Names,
    current: RwLock<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    key: Arc<CertifiedKey>,
    not_after_us: i64,
}

impl PresentedCertificates {
    /// Makes the first certificate for `names`.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(authority: Arc<CertificateAuthority>, names: Names, now_us: i64) -> Result<Self, IdentityError> {
        let current = RwLock::new(make(&authority, &names, now_us)?);
        Ok(Self { authority, names, current })
    }

    /// Makes a new certificate if the current one is near its end. Answers whether it did.
    ///
    /// # Errors
    /// When the system has no randomness; the current certificate stays.
    pub fn renew_if_due(&self, now_us: i64) -> Result<bool, IdentityError> {
        if self.current().not_after_us.saturating_sub(now_us) > RENEW_WITH_LEFT_US {
            return Ok(false);
        }
        let fresh = make(&self.authority, &self.names, now_us)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(true)
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for PresentedCertificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().key)
    }
}

fn make(authority: &CertificateAuthority, names: &Names, now_us: i64) -> Result<Current, IdentityError> {
    let (issued, key) = authority.issue_own(names.to_alt_names(), LIFE, now_us)?;
    let key = CertifiedKey::from_der(issued.chain, key, &crypto())?;
    Ok(Current { key: Arc::new(key), not_after_us: issued.not_after_us })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::authority::tests::{NOW_US, authority};

    #[test]
    fn a_certificate_is_renewed_when_a_third_is_left_and_not_before() {
        let presented =
            PresentedCertificates::new(Arc::new(authority()), Names::of_agents("test.internal"), NOW_US).expect("made");
        let first = presented.current().key;
        let after = |days: i64| NOW_US + days * 86_400_000_000;
        assert!(!presented.renew_if_due(after(19)).expect("looked at"));
        assert!(presented.renew_if_due(after(21)).expect("renewed"));
        assert_ne!(first.cert[0], presented.current().key.cert[0]);
        assert_eq!(first.cert[1], presented.current().key.cert[1], "the chain ends in the same authority");
    }

    #[test]
    fn everyone_finds_every_name_of_this_machine() {
        let names = Names::of_everyone(Some("Box"), Some("203.0.113.7"), &[IpAddr::from([0, 0, 0, 0])]);
        assert!(names.dns.contains("box") && names.dns.contains("localhost"));
        assert!(names.addresses.contains(&IpAddr::from([203, 0, 113, 7])));
        assert!(!names.addresses.iter().any(IpAddr::is_unspecified));
    }
}
