//! The certificates given to hosts, by serial. A certificate is an identity only while it is on record here and not
//! revoked, whatever its signature says.

use muster_shared::id::{OrgId, ServerId};

use super::{Result, Store, Tx, rows::Columns as _};
use crate::servers::AgentStatus;

/// A certificate that was just signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Hex, as in the certificate.
    pub serial: String,
    /// Of the DER SubjectPublicKeyInfo.
    pub public_key_sha256: [u8; 32],
    pub not_before_us: i64,
    pub not_after_us: i64,
}

/// Whose a certificate is, and whether it may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateStanding {
    pub org_id: OrgId,
    pub server_id: ServerId,
    pub public_key_sha256: Vec<u8>,
    pub not_after_us: i64,
    /// Why it was revoked, if it was.
    pub revoked_because: Option<String>,
    pub agent_status: AgentStatus,
}

impl CertificateStanding {
    /// Whether its holder may connect or renew.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.revoked_because.is_none() && may_connect(self.agent_status)
    }
}

/// Whether an agent that stands so may use its identity.
pub(super) fn may_connect(status: AgentStatus) -> bool {
    matches!(status, AgentStatus::Pending | AgentStatus::Online | AgentStatus::Offline)
}

impl Store {
    /// The certificate with `serial`. The TLS handshake is the proof: no organisation is known before it.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn certificate(&self, serial: &str) -> Result<Option<CertificateStanding>> {
        let row = sqlx::query(
            "SELECT c.org_id, c.server_id, c.public_key_sha256, c.not_after_us, c.revoked_because, s.agent_status \
             FROM certificates c JOIN servers s ON s.id = c.server_id WHERE c.serial = $1",
        )
        .bind(serial)
        .fetch_optional(self.read())
        .await?;
        row.map(|row| {
            Ok(CertificateStanding {
                org_id: row.parsed("org_id")?,
                server_id: row.parsed("server_id")?,
                public_key_sha256: row.value("public_key_sha256")?,
                not_after_us: row.value("not_after_us")?,
                revoked_because: row.value("revoked_because")?,
                agent_status: row.word("agent_status", AgentStatus::parse)?,
            })
        })
        .transpose()
    }

    /// Records the successor of the certificate `old_serial`; answers false when that one, or the agent's standing,
    /// allows none. The old one stays good until it expires: the host may not have stored the new one yet.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn renew_certificate(
        &self,
        org: OrgId,
        server: ServerId,
        old_serial: &str,
        renewed: &IssuedCertificate,
        now_us: i64,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        let row = sqlx::query(
            "SELECT s.agent_status FROM certificates c JOIN servers s ON s.id = c.server_id \
             WHERE c.serial = $1 AND c.org_id = $2 AND c.server_id = $3 AND c.revoked_at_us IS NULL \
             AND s.deleted_at_us IS NULL",
        )
        .bind(old_serial)
        .bind(org.to_string())
        .bind(server.to_string())
        .fetch_optional(&mut *tx)
        .await?;
        let status = row.map(|row| row.word("agent_status", AgentStatus::parse)).transpose()?;
        if !status.is_some_and(may_connect) {
            return Ok(false);
        }
        insert_certificate(&mut tx, org, server, renewed, now_us).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Forgets certificates, of every organisation, that expired before `before_us`; answers how many.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn forget_certificates(&self, before_us: i64) -> Result<u64> {
        let done = sqlx::query("DELETE FROM certificates WHERE not_after_us < $1")
            .bind(before_us)
            .execute(self.write())
            .await?;
        Ok(done.rows_affected())
    }
}

pub(super) async fn insert_certificate(
    tx: &mut Tx,
    org: OrgId,
    server: ServerId,
    certificate: &IssuedCertificate,
    now_us: i64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO certificates (serial, org_id, server_id, public_key_sha256, not_before_us, not_after_us, \
         issued_at_us) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(certificate.serial.as_str())
    .bind(org.to_string())
    .bind(server.to_string())
    .bind(certificate.public_key_sha256.as_slice())
    .bind(certificate.not_before_us)
    .bind(certificate.not_after_us)
    .bind(now_us)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Revokes whatever the server has; what was revoked before keeps its reason.
pub(super) async fn revoke_certificates(tx: &mut Tx, server: ServerId, because: &str, now_us: i64) -> Result<()> {
    sqlx::query(
        "UPDATE certificates SET revoked_at_us = $2, revoked_because = $3 \
         WHERE server_id = $1 AND revoked_at_us IS NULL",
    )
    .bind(server.to_string())
    .bind(now_us)
    .bind(because)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
