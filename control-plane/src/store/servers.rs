//! Servers: making, reading, listing and changing them.

use std::str::FromStr as _;

use muster_shared::{
    id::{OrgId, ServerId},
    policy::Family,
    preflight::Qualification,
};
use sqlx::{AnyConnection, any::AnyRow};

use super::{
    Result, Store, Tx,
    quota::{admit_growth, admit_server},
    rows::Columns as _,
};
use crate::{
    audit::Record,
    servers::{
        AddressChoice, Addresses, Agent, AgentStatus, AuthMethod, ConnectionOutcome, ConnectionRecord, Detected,
        EnvironmentTally, IdempotencyKey, PreflightRecord, Resources, SealedAuth, Server, ServerFilter, ServerRow,
        ServerStatus, SshAccount, SudoMode,
    },
};

/// Secrets and the facts document stay where they are: a list reads neither.
macro_rules! select_server {
    ($rest:literal) => {
        concat!(
            "SELECT s.id, s.org_id, o.name AS organization_name, s.name, s.provider, s.region, s.status, \
             s.created_at_us, s.updated_at_us, s.ipv4_address, s.ipv6_address, s.fqdn, s.hostname, \
             s.connection_host_type, s.ssh_port, s.ssh_username, s.ssh_auth_method, s.ssh_sudo_mode, \
             s.ssh_host_key_fingerprint, s.ssh_host_key_offered, s.connection_outcome, s.connection_detail, \
             s.connection_at_us, s.cpu_cores_milli, s.memory_gb_milli, s.disk_gb_milli, s.max_projects, \
             s.facts_collected_at_us, s.detected_hostname, s.os_type, s.os_version, s.os_arch, s.docker_status, \
             s.docker_version, s.detected_cpu_cores, s.detected_memory_bytes, s.data_disk_bytes, \
             s.data_disk_available_bytes, s.preflight_verdict, s.preflight_at_us, s.agent_status, s.agent_version, \
             s.agent_allowed_families, s.last_seen_at_us, s.ssh_key_pair_id, s.revision, s.hardening_score, h.status AS health_status, \
             h.reason AS health_reason, h.since_us AS health_since_us, h.checked_at_us AS health_checked_at_us, \
             h.next_check_at_us, h.sample_arrived_at_us, h.sample_looked_at_us, h.sample_disk_percent_milli, \
             h.certificate_not_before_us, h.certificate_not_after_us, h.disk_use_hour, h.probe_failures, \
             h.probe_revision, h.next_probe_at_us, h.probe_looked_at_us, \
             (SELECT COUNT(*) FROM environments e WHERE e.server_id = s.id AND e.is_active = 1 \
             AND e.deleted_at_us IS NULL) AS environment_count, \
             (SELECT COUNT(*) FROM environments e WHERE e.server_id = s.id AND e.is_active = 1 \
             AND e.deleted_at_us IS NULL AND e.status = 'running') AS running_environment_count \
             FROM servers s JOIN organizations o ON o.id = s.org_id \
             LEFT JOIN server_health h ON h.server_id = s.id \
             WHERE s.org_id = $1 AND s.deleted_at_us IS NULL ",
            $rest
        )
    };
}

/// The query for servers of the organisation `$1`, open to more conditions.
pub(super) const SELECT: &str = select_server!("");

impl Store {
    /// The server `id`.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn server(&self, org: OrgId, id: ServerId) -> Result<Option<Server>> {
        let row = sqlx::query(select_server!("AND s.id = $2"))
            .bind(org.to_string())
            .bind(id.to_string())
            .fetch_optional(self.read())
            .await?;
        row.as_ref().map(server).transpose()
    }

    /// The server called `name`.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn server_named(&self, org: OrgId, name: &str) -> Result<Option<Server>> {
        let row = sqlx::query(select_server!("AND s.name = $2"))
            .bind(org.to_string())
            .bind(name)
            .fetch_optional(self.read())
            .await?;
        row.as_ref().map(server).transpose()
    }

    /// A page of servers, oldest first.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn list_servers(&self, org: OrgId, filter: ServerFilter) -> Result<Vec<Server>> {
        let query = match filter.status {
            Some(status) => {
                sqlx::query(select_server!("AND s.status = $4 ORDER BY s.created_at_us, s.id LIMIT $2 OFFSET $3"))
                    .bind(org.to_string())
                    .bind(i64::from(filter.limit))
                    .bind(i64::from(filter.skip))
                    .bind(status.as_str())
            }
            None => sqlx::query(select_server!("ORDER BY s.created_at_us, s.id LIMIT $2 OFFSET $3"))
                .bind(org.to_string())
                .bind(i64::from(filter.limit))
                .bind(i64::from(filter.skip)),
        };
        query.fetch_all(self.read()).await?.iter().map(server).collect()
    }

    /// The part of the server `id` that people change.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn server_row(&self, org: OrgId, id: ServerId) -> Result<Option<ServerRow>> {
        let row = sqlx::query(
            "SELECT id, name, provider, region, ipv4_address, ipv6_address, fqdn, hostname, connection_host_type, \
             ssh_port, ssh_username, ssh_auth_method, ssh_sudo_mode, ssh_password_sealed, ssh_private_key_sealed, \
             ssh_key_passphrase_sealed, ssh_host_key_fingerprint, cpu_cores_milli, memory_gb_milli, disk_gb_milli, \
             max_projects, ssh_key_pair_id, revision FROM servers WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .fetch_optional(self.read())
        .await?;
        row.as_ref().map(server_row).transpose()
    }

    /// Makes a server, and remembers the call's idempotency key with the sealed digest of its body.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](super::StoreError::Conflict) when the name or the key is taken;
    /// [`StoreError::OverQuota`](super::StoreError::OverQuota).
    pub async fn insert_server(
        &self,
        row: &ServerRow,
        repeat: Option<&(&IdempotencyKey, Vec<u8>)>,
        record: &Record,
    ) -> Result<()> {
        let (org, now_us) = (record.act.org_id, record.act.at_us);
        let mut tx = self.begin().await?;
        insert(&mut tx, org, row, ServerStatus::Running, AgentStatus::None, now_us).await?;
        if let Some((key, body_sealed)) = repeat {
            sqlx::query(
                "INSERT INTO idempotency_keys (org_id, idempotency_key, body_sealed, server_id, created_at_us) \
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(org.to_string())
            .bind(key.as_str())
            .bind(body_sealed.as_slice())
            .bind(row.id.to_string())
            .bind(now_us)
            .execute(&mut *tx)
            .await?;
        }
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The server that was made under `key`, and the sealed digest of the body it was made from.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn idempotent_creation(&self, org: OrgId, key: &IdempotencyKey) -> Result<Option<(ServerId, Vec<u8>)>> {
        let row = sqlx::query(
            "SELECT server_id, body_sealed FROM idempotency_keys WHERE org_id = $1 AND idempotency_key = $2",
        )
        .bind(org.to_string())
        .bind(key.as_str())
        .fetch_optional(self.read())
        .await?;
        row.map(|row| Ok((row.parsed("server_id")?, row.value("body_sealed")?))).transpose()
    }

    /// Forgets idempotency keys older than `before_us`, of every organisation, and answers how many.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn forget_idempotency_keys(&self, before_us: i64) -> Result<u64> {
        let done = sqlx::query("DELETE FROM idempotency_keys WHERE created_at_us < $1")
            .bind(before_us)
            .execute(self.write())
            .await?;
        Ok(done.rows_affected())
    }

    /// Writes `row` where nobody changed the server since it was read; answers whether it was written.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](super::StoreError::Conflict) when the name is taken;
    /// [`StoreError::OverQuota`](super::StoreError::OverQuota) where it would grow over what is left.
    pub async fn update_server(&self, row: &ServerRow, record: &Record) -> Result<bool> {
        let mut tx = self.begin().await?;
        if !self.update_server_in(&mut tx, row, record).await? {
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    /// The same within a transaction, which the caller commits.
    pub(super) async fn update_server_in(&self, tx: &mut Tx, row: &ServerRow, record: &Record) -> Result<bool> {
        let ssh = row.ssh.as_ref();
        let Some(server) = server_in(&mut *tx, record.act.org_id, row.id).await? else { return Ok(false) };
        admit_growth(&mut *tx, &server, &row.declared).await?;
        let done = sqlx::query(
            "UPDATE servers SET name = $4, provider = $5, region = $6, ipv4_address = $7, ipv6_address = $8, \
             fqdn = $9, hostname = $10, connection_host_type = $11, ssh_port = $12, ssh_username = $13, \
             ssh_auth_method = $14, ssh_sudo_mode = $15, ssh_password_sealed = $16, ssh_private_key_sealed = $17, \
             ssh_key_passphrase_sealed = $18, ssh_host_key_fingerprint = $19, cpu_cores_milli = $20, \
             memory_gb_milli = $21, disk_gb_milli = $22, max_projects = $23, updated_at_us = $24, \
             ssh_key_pair_id = $25, revision = revision + 1 WHERE org_id = $1 AND id = $2 AND revision = $3 AND deleted_at_us IS NULL",
        )
        .bind(record.act.org_id.to_string())
        .bind(row.id.to_string())
        .bind(row.revision)
        .bind(row.name.as_str())
        .bind(row.provider.as_str())
        .bind(row.region.as_str())
        .bind(row.addresses.ipv4.map(|address| address.to_string()))
        .bind(row.addresses.ipv6.map(|address| address.to_string()))
        .bind(row.addresses.fqdn.as_ref().map(ToString::to_string))
        .bind(row.addresses.hostname.as_ref().map(ToString::to_string))
        .bind(row.addresses.choice.as_str())
        .bind(port(ssh))
        .bind(ssh.map(|ssh| ssh.username.to_string()))
        .bind(ssh.map(|ssh| ssh.auth_method.as_str()))
        .bind(sudo_mode(ssh))
        .bind(row.auth.password.clone())
        .bind(row.auth.private_key.clone())
        .bind(row.auth.key_passphrase.clone())
        .bind(row.host_key.as_ref().map(ToString::to_string))
        .bind(thousandths(row.declared.cpu_cores))
        .bind(thousandths(row.declared.memory_gb))
        .bind(thousandths(row.declared.disk_gb))
        .bind(row.max_projects.map(i64::from))
        .bind(record.act.at_us)
        .bind(row.auth.key_pair.map(|id| id.to_string()))
        .execute(&mut **tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.append_audit(tx, record).await?;
        Ok(true)
    }
}

/// The server `id`, as it is within the transaction.
pub(super) async fn server_in(connection: &mut AnyConnection, org: OrgId, id: ServerId) -> Result<Option<Server>> {
    let row = sqlx::query(select_server!("AND s.id = $2"))
        .bind(org.to_string())
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(server).transpose()
}

/// Inserts a server; the name must be free, and the quota must have room for it.
pub(super) async fn insert(
    tx: &mut Tx,
    org: OrgId,
    row: &ServerRow,
    status: ServerStatus,
    agent: AgentStatus,
    now_us: i64,
) -> Result<()> {
    admit_server(tx, org, &row.declared).await?;
    let ssh = row.ssh.as_ref();
    sqlx::query(
        "INSERT INTO servers (id, org_id, name, provider, region, status, created_at_us, updated_at_us, \
         ipv4_address, ipv6_address, fqdn, hostname, connection_host_type, ssh_port, ssh_username, ssh_auth_method, \
         ssh_sudo_mode, ssh_password_sealed, ssh_private_key_sealed, ssh_key_passphrase_sealed, \
         ssh_host_key_fingerprint, cpu_cores_milli, memory_gb_milli, disk_gb_milli, max_projects, agent_status, \
         ssh_key_pair_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, \
         $22, $23, $24, $25, $26)",
    )
    .bind(row.id.to_string())
    .bind(org.to_string())
    .bind(row.name.as_str())
    .bind(row.provider.as_str())
    .bind(row.region.as_str())
    .bind(status.as_str())
    .bind(now_us)
    .bind(row.addresses.ipv4.map(|address| address.to_string()))
    .bind(row.addresses.ipv6.map(|address| address.to_string()))
    .bind(row.addresses.fqdn.as_ref().map(ToString::to_string))
    .bind(row.addresses.hostname.as_ref().map(ToString::to_string))
    .bind(row.addresses.choice.as_str())
    .bind(port(ssh))
    .bind(ssh.map(|ssh| ssh.username.to_string()))
    .bind(ssh.map(|ssh| ssh.auth_method.as_str()))
    .bind(sudo_mode(ssh))
    .bind(row.auth.password.clone())
    .bind(row.auth.private_key.clone())
    .bind(row.auth.key_passphrase.clone())
    .bind(row.host_key.as_ref().map(ToString::to_string))
    .bind(thousandths(row.declared.cpu_cores))
    .bind(thousandths(row.declared.memory_gb))
    .bind(thousandths(row.declared.disk_gb))
    .bind(row.max_projects.map(i64::from))
    .bind(agent.as_str())
    .bind(row.auth.key_pair.map(|id| id.to_string()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn port(ssh: Option<&SshAccount>) -> i64 {
    i64::from(ssh.map_or(crate::servers::DEFAULT_SSH_PORT, |ssh| ssh.port))
}

fn sudo_mode(ssh: Option<&SshAccount>) -> &'static str {
    ssh.map_or(SudoMode::Auto, |ssh| ssh.sudo_mode).as_str()
}

fn thousandths(value: Option<f64>) -> Option<i64> {
    value.map(|value| (value * 1000.0).round() as i64)
}

pub(super) fn server(row: &AnyRow) -> Result<Server> {
    Ok(Server {
        id: row.parsed("id")?,
        org_id: row.parsed("org_id")?,
        organization_name: row.value("organization_name")?,
        name: row.parsed("name")?,
        provider: row.parsed("provider")?,
        region: row.parsed("region")?,
        status: row.word("status", ServerStatus::parse)?,
        addresses: addresses(row)?,
        ssh: ssh_account(row)?,
        key_pair: row.parsed_if_any("ssh_key_pair_id")?,
        host_key: row.parsed_if_any("ssh_host_key_fingerprint")?,
        host_key_offered: row.parsed_if_any("ssh_host_key_offered")?,
        connection: connection_record(row)?,
        declared: resources(row)?,
        max_projects: row.unsigned_if_any("max_projects")?.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        detected: detected(row)?,
        facts_collected_at_us: row.value("facts_collected_at_us")?,
        preflight: preflight_record(row)?,
        hardening_score: row.unsigned_if_any("hardening_score")?.and_then(|score| u8::try_from(score).ok()),
        agent: Agent {
            status: row.word("agent_status", AgentStatus::parse)?,
            version: row.value("agent_version")?,
            allowed_families: families(row.value("agent_allowed_families")?),
            last_seen_at_us: row.value("last_seen_at_us")?,
        },
        health_record: super::health::health_record(row)?,
        revision: row.value("revision")?,
        environments: EnvironmentTally {
            active: u32::try_from(row.unsigned("environment_count")?).unwrap_or(u32::MAX),
            running: u32::try_from(row.unsigned("running_environment_count")?).unwrap_or(u32::MAX),
        },
        created_at_us: row.value("created_at_us")?,
        updated_at_us: row.value("updated_at_us")?,
    })
}

fn server_row(row: &AnyRow) -> Result<ServerRow> {
    Ok(ServerRow {
        id: row.parsed("id")?,
        name: row.parsed("name")?,
        provider: row.parsed("provider")?,
        region: row.parsed("region")?,
        addresses: addresses(row)?,
        ssh: ssh_account(row)?,
        auth: SealedAuth {
            password: row.value("ssh_password_sealed")?,
            private_key: row.value("ssh_private_key_sealed")?,
            key_passphrase: row.value("ssh_key_passphrase_sealed")?,
            key_pair: row.parsed_if_any("ssh_key_pair_id")?,
        },
        host_key: row.parsed_if_any("ssh_host_key_fingerprint")?,
        declared: resources(row)?,
        max_projects: row.unsigned_if_any("max_projects")?.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        revision: row.value("revision")?,
    })
}

fn addresses(row: &AnyRow) -> Result<Addresses> {
    Ok(Addresses {
        ipv4: row.parsed_if_any("ipv4_address")?,
        ipv6: row.parsed_if_any("ipv6_address")?,
        fqdn: row.parsed_if_any("fqdn")?,
        hostname: row.parsed_if_any("hostname")?,
        choice: row.word("connection_host_type", AddressChoice::parse)?,
    })
}

fn ssh_account(row: &AnyRow) -> Result<Option<SshAccount>> {
    let Some(username) = row.parsed_if_any("ssh_username")? else { return Ok(None) };
    let port = row.unsigned("ssh_port")?;
    Ok(Some(SshAccount {
        port: u16::try_from(port).map_err(|_| super::StoreError::Unreadable { column: "ssh_port" })?,
        username,
        auth_method: row.word("ssh_auth_method", AuthMethod::parse)?,
        sudo_mode: row.word("ssh_sudo_mode", SudoMode::parse)?,
    }))
}

fn connection_record(row: &AnyRow) -> Result<Option<ConnectionRecord>> {
    let Some(at_us) = row.value("connection_at_us")? else { return Ok(None) };
    Ok(Some(ConnectionRecord {
        outcome: row.word("connection_outcome", ConnectionOutcome::parse)?,
        detail: row.value("connection_detail")?,
        at_us,
    }))
}

fn preflight_record(row: &AnyRow) -> Result<Option<PreflightRecord>> {
    let Some(checked_at_us) = row.value("preflight_at_us")? else { return Ok(None) };
    Ok(Some(PreflightRecord { verdict: row.word("preflight_verdict", Qualification::parse)?, checked_at_us }))
}

fn resources(row: &AnyRow) -> Result<Resources> {
    let units = |column| Ok::<_, super::StoreError>(row.value::<Option<i64>>(column)?.map(|value| value as f64 / 1e3));
    Ok(Resources {
        cpu_cores: units("cpu_cores_milli")?,
        memory_gb: units("memory_gb_milli")?,
        disk_gb: units("disk_gb_milli")?,
    })
}

fn detected(row: &AnyRow) -> Result<Detected> {
    Ok(Detected {
        hostname: row.value("detected_hostname")?,
        os_type: row.value("os_type")?,
        os_version: row.value("os_version")?,
        os_arch: row.value("os_arch")?,
        docker_status: row.value("docker_status")?,
        docker_version: row.value("docker_version")?,
        cpu_cores: row.unsigned_if_any("detected_cpu_cores")?,
        memory_bytes: row.unsigned_if_any("detected_memory_bytes")?,
        disk_bytes: row.unsigned_if_any("data_disk_bytes")?,
        disk_available_bytes: row.unsigned_if_any("data_disk_available_bytes")?,
    })
}

/// The families in a list that this version knows.
pub(super) fn families(list: Option<&str>) -> Vec<Family> {
    list.unwrap_or_default().split(',').filter_map(|word| Family::from_str(word).ok()).collect()
}
