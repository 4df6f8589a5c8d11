//! Enrolment: a join token is consumed, its server made or found, and the host's first certificate recorded, all in
//! one transaction. Of a hundred hosts with one token, the conditional update lets one through.

use muster_shared::{
    id::{JoinTokenId, OrgId, ServerId},
    policy::Family,
};

use serde_json::json;

use super::{
    Result, Store, StoreError, Tx,
    certificates::{IssuedCertificate, insert_certificate, revoke_certificates},
    rows::Columns as _,
    servers::{families, insert},
};
use crate::{
    access::{Act, Actor, Origin, TokenHash},
    audit::{Action, Record},
    servers::{Addresses, AgentStatus, HostName, Label, Resources, SealedAuth, ServerName, ServerRow, ServerStatus},
};

/// Numbers tried behind a name that is taken, before enrolment gives up.
const MAX_NAME_SUFFIX: u32 = 10_000;
/// How often enrolment starts over when two hosts of one name enrol at the same moment.
const ATTEMPTS: usize = 8;

/// What a host says of itself, parsed, and the token it shows.
#[derive(Debug)]
pub struct Enrolment {
    pub token: TokenHash,
    pub hostname: Option<HostName>,
    /// Empty where the host has none.
    pub machine_id_sha256: String,
    pub agent_version: String,
    /// The server this machine proved to be already.
    pub previous_server: Option<ServerId>,
    /// Where it calls from.
    pub origin: Origin,
}

/// How an enrolment ended.
#[derive(Debug)]
pub enum Enrolled<T, E> {
    /// The token is consumed; `made` is what signing answered.
    Consumed(Joined<T>),
    AlreadyUsed,
    Expired,
    Revoked,
    Unknown,
    /// The server the token is for is quarantined: release it first.
    Quarantined,
    /// The server the token is for was deleted meanwhile.
    ServerGone,
    /// Signing failed; the token is still good.
    NotSigned(E),
}

/// A host that joined.
#[derive(Debug)]
pub struct Joined<T> {
    pub org_id: OrgId,
    pub server_id: ServerId,
    pub token_id: JoinTokenId,
    /// What the person who made the token wants the host's policy to accept.
    pub allowed_families: Vec<Family>,
    /// Whether the server's row was made by this enrolment.
    pub is_new_server: bool,
    pub made: T,
}

struct Consumed {
    token_id: JoinTokenId,
    org_id: OrgId,
    for_server: Option<ServerId>,
    server_name: Option<ServerName>,
    allowed_families: Vec<Family>,
}

impl Store {
    /// Consumes a join token. `sign` makes the certificate for the server that the host becomes; it runs inside the
    /// transaction and may run again, so it must be quick and wait for nobody.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn enroll<T, E>(
        &self,
        enrolment: &Enrolment,
        sign: impl Fn(OrgId, ServerId) -> std::result::Result<(IssuedCertificate, T), E>,
        now_us: i64,
    ) -> Result<Enrolled<T, E>> {
        let mut attempt = 1;
        loop {
            match self.try_enroll(enrolment, &sign, now_us).await {
                Err(StoreError::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_enroll<T, E>(
        &self,
        enrolment: &Enrolment,
        sign: &impl Fn(OrgId, ServerId) -> std::result::Result<(IssuedCertificate, T), E>,
        now_us: i64,
    ) -> Result<Enrolled<T, E>> {
        let mut tx = self.begin().await?;
        let Some(consumed) = consume(&mut tx, &enrolment.token, now_us).await? else {
            return refusal(&mut tx, &enrolment.token, now_us).await;
        };
        let (server_id, is_new_server) = match existing_server(&mut tx, &consumed, enrolment).await? {
            Existing::Server(id) => (id, false),
            Existing::Quarantined => return Ok(Enrolled::Quarantined),
            Existing::Gone => return Ok(Enrolled::ServerGone),
            Existing::None => (insert_joined(&mut tx, &consumed, enrolment, now_us).await?, true),
        };
        let (certificate, made) = match sign(consumed.org_id, server_id) {
            Ok(signed) => signed,
            Err(error) => return Ok(Enrolled::NotSigned(error)),
        };
        revoke_certificates(&mut tx, server_id, "enrolled_again", now_us).await?;
        insert_certificate(&mut tx, consumed.org_id, server_id, &certificate, now_us).await?;
        record_identity(&mut tx, server_id, enrolment, now_us).await?;
        sqlx::query("UPDATE join_tokens SET used_by_server_id = $2 WHERE id = $1")
            .bind(consumed.token_id.to_string())
            .bind(server_id.to_string())
            .execute(&mut *tx)
            .await?;
        let record = joined_record(&mut tx, &consumed, enrolment, (server_id, is_new_server), now_us).await?;
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(Enrolled::Consumed(Joined {
            org_id: consumed.org_id,
            server_id,
            token_id: consumed.token_id,
            allowed_families: consumed.allowed_families,
            is_new_server,
            made,
        }))
    }
}

async fn consume(tx: &mut Tx, token: &TokenHash, now_us: i64) -> Result<Option<Consumed>> {
    let row = sqlx::query(
        "UPDATE join_tokens SET used_at_us = $2 \
         WHERE token_sha256 = $1 AND used_at_us IS NULL AND revoked_at_us IS NULL AND expires_at_us > $2 \
         RETURNING id, org_id, for_server_id, server_name, allowed_families",
    )
    .bind(token.as_bytes())
    .bind(now_us)
    .fetch_all(&mut **tx)
    .await?;
    row.first()
        .map(|row| {
            Ok(Consumed {
                token_id: row.parsed("id")?,
                org_id: row.parsed("org_id")?,
                for_server: row.parsed_if_any("for_server_id")?,
                server_name: row.parsed_if_any("server_name")?,
                allowed_families: families(row.value("allowed_families")?),
            })
        })
        .transpose()
}

async fn refusal<T, E>(tx: &mut Tx, token: &TokenHash, now_us: i64) -> Result<Enrolled<T, E>> {
    let row = sqlx::query("SELECT used_at_us, revoked_at_us, expires_at_us FROM join_tokens WHERE token_sha256 = $1")
        .bind(token.as_bytes())
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = row else { return Ok(Enrolled::Unknown) };
    Ok(if row.value::<Option<i64>>("used_at_us")?.is_some() {
        Enrolled::AlreadyUsed
    } else if row.value::<Option<i64>>("revoked_at_us")?.is_some() {
        Enrolled::Revoked
    } else if row.value::<i64>("expires_at_us")? <= now_us {
        Enrolled::Expired
    } else {
        Enrolled::AlreadyUsed
    })
}

async fn joined_record(
    tx: &mut Tx,
    consumed: &Consumed,
    enrolment: &Enrolment,
    (server_id, is_new_server): (ServerId, bool),
    now_us: i64,
) -> Result<Record> {
    let row = sqlx::query("SELECT name FROM servers WHERE org_id = $1 AND id = $2")
        .bind(consumed.org_id.to_string())
        .bind(server_id.to_string())
        .fetch_one(&mut **tx)
        .await?;
    let act = Act {
        org_id: consumed.org_id,
        actor: Actor::Host(Some(server_id)),
        origin: enrolment.origin.clone(),
        at_us: now_us,
    };
    Ok(Record::new(&act, Action::ServerJoined, server_id, row.value::<&str>("name")?).after(json!({
        "is_new_server": is_new_server,
        "join_token_id": consumed.token_id.to_string(),
        "agent_version": enrolment.agent_version,
    })))
}

enum Existing {
    Server(ServerId),
    Quarantined,
    Gone,
    None,
}

/// The server that the token names, or that the machine proved to be, in the token's organisation.
async fn existing_server(tx: &mut Tx, consumed: &Consumed, enrolment: &Enrolment) -> Result<Existing> {
    let Some(id) = consumed.for_server.or(enrolment.previous_server) else { return Ok(Existing::None) };
    let row = sqlx::query("SELECT agent_status FROM servers WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL")
        .bind(consumed.org_id.to_string())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    match row.map(|row| row.word("agent_status", AgentStatus::parse)).transpose()? {
        Some(AgentStatus::Quarantined) => Ok(Existing::Quarantined),
        Some(_) => Ok(Existing::Server(id)),
        None if consumed.for_server.is_some() => Ok(Existing::Gone),
        None => Ok(Existing::None),
    }
}

async fn insert_joined(tx: &mut Tx, consumed: &Consumed, enrolment: &Enrolment, now_us: i64) -> Result<ServerId> {
    let id = ServerId::generate();
    let wanted = consumed.server_name.clone().or_else(|| enrolment.hostname.as_ref()?.as_str().parse().ok());
    let wanted = match wanted {
        Some(wanted) => wanted,
        None => "server".parse().map_err(|_| StoreError::Unreadable { column: "server_name" })?,
    };
    let row = ServerRow {
        id,
        name: free_name(tx, consumed.org_id, wanted).await?,
        provider: Label::default(),
        region: Label::default(),
        addresses: Addresses { hostname: enrolment.hostname.clone(), ..Addresses::default() },
        ssh: None,
        auth: SealedAuth::default(),
        host_key: None,
        declared: Resources::default(),
        max_projects: None,
        revision: 0,
    };
    insert(tx, consumed.org_id, &row, ServerStatus::Running, AgentStatus::Pending, now_us).await?;
    Ok(id)
}

/// `wanted`, or the first of `wanted-2`, `wanted-3`, … that is free.
async fn free_name(tx: &mut Tx, org: OrgId, wanted: ServerName) -> Result<ServerName> {
    let mut name = wanted.clone();
    let mut suffix = 2;
    while is_taken(tx, org, &name).await? && suffix < MAX_NAME_SUFFIX {
        let end = format!("-{suffix}");
        let start: String = wanted.as_str().chars().take(100 - end.len()).collect();
        name = format!("{start}{end}").parse().map_err(|_| StoreError::Unreadable { column: "name" })?;
        suffix += 1;
    }
    Ok(name)
}

async fn is_taken(tx: &mut Tx, org: OrgId, name: &ServerName) -> Result<bool> {
    let row = sqlx::query("SELECT id FROM servers WHERE org_id = $1 AND name = $2 AND deleted_at_us IS NULL")
        .bind(org.to_string())
        .bind(name.as_str())
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.is_some())
}

/// A fresh key starts with no confirmed generation; the count of issued ones goes on.
async fn record_identity(tx: &mut Tx, id: ServerId, enrolment: &Enrolment, now_us: i64) -> Result<()> {
    sqlx::query(
        "UPDATE servers SET agent_status = $2, agent_version = $3, agent_machine_id_sha256 = $4, \
         agent_confirmed_generation = 0, updated_at_us = $5 WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(AgentStatus::Pending.as_str())
    .bind(enrolment.agent_version.as_str())
    .bind(enrolment.machine_id_sha256.as_str())
    .bind(now_us)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
