//! The internal certificate authority.

use std::time::Duration;

use muster_shared::{
    id::ServerId,
    receipt::{RECEIPT_KEY_OID, ReceiptKey},
    tls::{CaPin, receipt_key_extension, spiffe_id},
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use zeroize::Zeroizing;

use super::{IdentityError, PublicKey};

/// How long the authority itself is valid.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How far certificates reach into the past, so that a host whose clock is a little behind accepts them.
const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// A certificate just signed, and what is remembered of it.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    /// Leaf first, the authority last.
    pub chain: Vec<CertificateDer<'static>>,
    /// Lower-case hex.
    pub serial: String,
    pub not_before_us: i64,
    pub not_after_us: i64,
}

/// The internal certificate authority: an ECDSA P-256 key and its self-signed certificate.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    trust_domain: String,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority").field("pin", &self.pin().to_string()).finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// Makes a new authority; answers its certificate (DER) and its private key (PKCS#8).
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate(
        trust_domain: &str,
        now_us: i64,
    ) -> Result<(CertificateDer<'static>, Zeroizing<Vec<u8>>), IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = dated(now_us, AUTHORITY_LIFE)?;
        params.distinguished_name.push(DnType::CommonName, format!("Muster CA for {trust_domain}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok((certificate.der().clone(), Zeroizing::new(key.serialize_der())))
    }

    /// An authority from its certificate and private key.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`] unless both read well and belong together.
    pub fn from_stored(
        trust_domain: &str,
        certificate: CertificateDer<'static>,
        pkcs8: &[u8],
    ) -> Result<Self, IdentityError> {
        let damaged = |_| IdentityError::Damaged;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &PKCS_ECDSA_P256_SHA256)
            .map_err(damaged)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|_| IdentityError::Damaged)?;
        if *parsed.public_key().subject_public_key.data != *key.public_key_raw() {
            return Err(IdentityError::Damaged);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(damaged)?;
        Ok(Self { issuer, certificate, trust_domain: trust_domain.to_owned() })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What a join line carries.
    #[must_use]
    pub fn pin(&self) -> CaPin {
        CaPin::of(&self.certificate)
    }

    /// The domain all identities are under.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Whether `certificate` is a client's of this authority, valid at `at`. Its expiry since then is the caller's to
    /// judge.
    #[must_use]
    pub fn has_signed(&self, certificate: &CertificateDer<'_>, at: UnixTime) -> bool {
        is_signed_by(certificate, &self.certificate, at)
    }

    /// Signs an agent's key for `server_id`. Nothing but the public keys come from the host: its own, and the one it signs
    /// receipts with.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn issue_agent(
        &self,
        key: &PublicKey,
        server_id: ServerId,
        receipt_key: Option<&ReceiptKey>,
        ttl: Duration,
        now_us: i64,
    ) -> Result<IssuedCertificate, IdentityError> {
        let mut params = dated(now_us, ttl)?;
        params.distinguished_name.push(DnType::CommonName, server_id.to_string());
        params.subject_alt_names = vec![SanType::URI(spiffe_id(&self.trust_domain, server_id).try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.custom_extensions = receipt_key
            .map(|key| CustomExtension::from_oid_content(RECEIPT_KEY_OID, receipt_key_extension(key)))
            .into_iter()
            .collect();
        self.sign(params, key)
    }

    /// Signs a fresh key of the control plane's own for `names`, for `life`.
    ///
    /// # Errors
    /// When the system has no randomness or a name is no DNS name.
    pub(super) fn issue_own(
        &self,
        names: Vec<SanType>,
        life: Duration,
        now_us: i64,
    ) -> Result<(IssuedCertificate, PrivateKeyDer<'static>), IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = dated(now_us, life)?;
        params.distinguished_name.push(DnType::CommonName, "Muster");
        params.subject_alt_names = names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issued = self.sign(params, &key)?;
        Ok((issued, PrivateKeyDer::Pkcs8(key.serialize_der().into())))
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl rcgen::PublicKeyData,
    ) -> Result<IssuedCertificate, IdentityError> {
        let serial = random_serial()?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let microseconds = |at: i64| at.saturating_mul(1_000_000);
        Ok(IssuedCertificate {
            not_before_us: microseconds(params.not_before.unix_timestamp()),
            not_after_us: microseconds(params.not_after.unix_timestamp()),
            chain: vec![params.signed_by(key, &self.issuer)?.der().clone(), self.certificate.clone()],
            serial: hex::encode(serial),
        })
    }
}

/// Whether `certificate` is a client's, signed by `authority`, and valid at `at`.
#[must_use]
pub fn is_signed_by(certificate: &CertificateDer<'_>, authority: &CertificateDer<'_>, at: UnixTime) -> bool {
    let (Ok(anchor), Ok(leaf)) =
        (webpki::anchor_from_trusted_cert(authority), webpki::EndEntityCert::try_from(certificate))
    else {
        return false;
    };
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    leaf.verify_for_usage(algorithms, &[anchor], &[], at, webpki::KeyUsage::client_auth(), None, None).is_ok()
}

/// Certificate parameters valid from a little before `now_us` until `life` after it, in whole seconds.
fn dated(now_us: i64, life: Duration) -> Result<CertificateParams, IdentityError> {
    let now = Duration::from_micros(u64::try_from(now_us).map_err(|_| IdentityError::Damaged)?);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATE).as_secs());
    params.not_after = epoch + Duration::from_secs((now + life).as_secs());
    Ok(params)
}

/// 127 random bits that DER writes as they are: positive, without a leading zero byte.
fn random_serial() -> Result<[u8; 16], IdentityError> {
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| IdentityError::Certificate(rcgen::Error::RingUnspecified))?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}

#[cfg(test)]
pub(super) mod tests {
    use muster_shared::tls::PeerCertificate;

    use super::*;
    use crate::identity::request::tests::{agent_key, csr};

    pub(in crate::identity) const NOW_US: i64 = 1_800_000_000_000_000;

    pub(in crate::identity) fn authority() -> CertificateAuthority {
        let (certificate, key) = CertificateAuthority::generate("test.internal", NOW_US).expect("randomness");
        CertificateAuthority::from_stored("test.internal", certificate, &key).expect("just made")
    }

    #[test]
    fn an_agents_certificate_says_who_it_is_and_nothing_the_host_asked_for() {
        let (authority, server, key) = (authority(), ServerId::generate(), agent_key());
        let hostile = csr(&key, |params| {
            params.subject_alt_names =
                vec![SanType::URI(spiffe_id("test.internal", ServerId::generate()).try_into().expect("a URI"))];
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        });
        let key = PublicKey::from_request(&hostile).expect("a good request");
        let ttl = Duration::from_secs(86_400);
        let issued = authority.issue_agent(&key, server, Some(&[7; 32]), ttl, NOW_US).expect("signed");
        let peer = PeerCertificate::parse(&issued.chain[0], "test.internal").expect("an identity");
        assert_eq!((peer.server_id, peer.receipt_key), (server, Some([7; 32])));
        assert!(PeerCertificate::parse(&issued.chain[0], "internal").is_err(), "another trust domain's");
        let plain = authority.issue_agent(&key, server, None, ttl, NOW_US).expect("signed");
        let plain = PeerCertificate::parse(&plain.chain[0], "test.internal").expect("an identity");
        assert_eq!(plain.receipt_key, None);
        assert_eq!((peer.serial, peer.not_after_us), (issued.serial.clone(), issued.not_after_us));
        assert_eq!(issued.not_after_us, NOW_US + 86_400_000_000);
        let (_, parsed) = x509_parser::parse_x509_certificate(&issued.chain[0]).expect("a certificate");
        assert!(!parsed.is_ca());
        assert!(parsed.extended_key_usage().expect("one").expect("there").value.client_auth);
    }

    #[test]
    fn a_key_and_certificate_that_do_not_belong_together_are_refused() {
        let (certificate, _) = CertificateAuthority::generate("a", NOW_US).expect("randomness");
        let (_, key) = CertificateAuthority::generate("a", NOW_US).expect("randomness");
        assert!(CertificateAuthority::from_stored("a", certificate, &key).is_err());
    }
}
