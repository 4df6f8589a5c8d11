//! Who is who: the internal certificate authority, what it signs, and the key that signs commands.
//!
//! The authority is made at the first start and lives ten years. It signs agents' certificates (hours), and the
//! control plane's own (weeks, renewed while running). Its key never leaves the process unsealed. Everything here is
//! pure but for randomness; [`open`] is the shell that loads and stores.

mod authority;
pub mod open;
mod presented;
mod request;

pub use authority::{CertificateAuthority, IssuedCertificate, is_signed_by};
pub use open::Identity;
pub use presented::{Names, PresentedCertificates, RENEWAL_CHECK_INTERVAL};
#[cfg(test)]
pub(crate) use request::tests::test_request;
pub use request::{InvalidRequest, PublicKey, verify_possession};

/// What the authority could not do. None of it is a caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("a certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    #[error("the stored certificate authority is damaged")]
    Damaged,
    #[error("the stored command key is damaged")]
    CommandKey(#[from] muster_shared::sign::BadKey),
    #[error("a certificate can't be used for TLS")]
    Tls(#[from] rustls::Error),
}
