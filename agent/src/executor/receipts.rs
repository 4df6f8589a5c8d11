//! The key that signs receipts: made on this host, root's alone, and never leaves it. Its public half goes into the host's
//! certificate when the host joins.

use std::{fs, io, path::Path};

use muster_shared::{
    command::Envelope,
    receipt::{ReceiptSigner, result_sha256, sha256},
    wire,
};
use zeroize::Zeroizing;

use crate::durable;

/// Longest key file read, in bytes.
const MAX_KEY_BYTES: u64 = 4096;

/// A receipt key as it is kept: PKCS#8.
pub struct StoredKey(Zeroizing<Vec<u8>>);

impl StoredKey {
    /// The key in the file at `path`, or a new one, not written yet, where there is no file.
    ///
    /// # Errors
    /// When it can't be read, or the system has no randomness.
    pub fn load_or_generate(path: &Path) -> io::Result<Self> {
        match fs::File::open(path) {
            Ok(file) => {
                let mut pkcs8 = Zeroizing::new(Vec::new());
                io::Read::read_to_end(&mut io::Read::take(file, MAX_KEY_BYTES), &mut pkcs8)?;
                Ok(Self(pkcs8))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                ReceiptSigner::generate_pkcs8().map(Self).map_err(io::Error::other)
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps it in the file at `path`, for the owner alone.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        durable::write_atomically(path, &self.0, 0o600)
    }

    /// What signs with it.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn signer(&self) -> io::Result<ReceiptSigner> {
        let damaged = |_| io::Error::new(io::ErrorKind::InvalidData, "the receipt key is damaged");
        ReceiptSigner::from_pkcs8(&self.0).map_err(damaged)
    }
}

/// What signs with the key in the file at `path`; makes a new one where there is none.
///
/// # Errors
/// When it can't be read, understood or written. A damaged key is not replaced by itself: the certificate names it, and a
/// new one counts only after joining again.
pub fn load_or_make(path: &Path) -> io::Result<ReceiptSigner> {
    let key = StoredKey::load_or_generate(path)?;
    let signer = key.signer()?;
    if !path.exists() {
        key.save(path)?;
    }
    Ok(signer)
}

/// The receipt for the end of the command that came as `signed`.
#[must_use]
pub fn receipt(
    signer: &ReceiptSigner,
    (signed, envelope): &(wire::SignedCommand, Envelope),
    finished: &wire::Finished,
    started_at_us: Option<i64>,
    ended_at_us: i64,
) -> wire::SignedReceipt {
    signer.sign(&wire::Receipt {
        command_id: envelope.command_id.to_string(),
        server_id: envelope.server_id.to_string(),
        command_sha256: sha256(&signed.envelope).to_vec(),
        outcome: finished.outcome,
        code: finished.code.clone(),
        result_sha256: result_sha256(finished.result.as_ref()).map(Vec::from).unwrap_or_default(),
        started_at_us: started_at_us.unwrap_or_default(),
        ended_at_us,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_root_alone_and_never_replaced_by_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipt.key");
        let made = load_or_make(&path).expect("made").public_key();
        assert_eq!(load_or_make(&path).expect("read").public_key(), made);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"damaged").expect("written");
        assert!(load_or_make(&path).is_err());
        assert_eq!(fs::read(&path).expect("there"), b"damaged");
    }
}
