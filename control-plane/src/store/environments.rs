//! Environments. Every change locks the organisation's quota first, then looks, then writes; the record comes last.

use muster_shared::{
    facts::{Docker, Facts},
    id::{EnvironmentId, OrgId, ProjectId, ServerId},
};
use sqlx::AnyConnection;

use super::{
    Result, Store, StoreError, Tx,
    environment_rows::{environment, insert, write},
    projects,
    quota::{amounts, lock, used_by_environments},
    rows::Columns as _,
    servers::server_in,
};
use crate::{
    access::Act,
    audit::{Action, Record},
    environments::{
        Environment, EnvironmentPatch, EnvironmentStatus, Load, NewEnvironment, ProjectOf, Refused, ServerOf, Takes,
        placement, runtime,
    },
    projects::Scope,
    quota::{Amounts, Limits, admit},
    servers::{EnvironmentName, Server},
};

/// How many environments are on a server, and what they come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EnvironmentCounts {
    /// Active ones.
    pub active: u32,
    /// Active ones that run.
    pub running: u32,
    /// What the active ones count for, in thousandths.
    pub given: Amounts,
}

/// `$1` is the organisation, `$2` the user to whose projects the caller is bound.
macro_rules! select_environment {
    ($rest:literal) => {
        concat!(
            "SELECT e.id, e.org_id, e.project_id, e.name, e.environment_type, e.domain, e.port, e.container_id, \
             e.cpu_cores_milli, e.ram_mb, e.disk_gb_milli, e.replica_of, e.is_active, e.server_id, e.status, \
             e.status_at_us, e.created_at_us, e.updated_at_us, p.name AS project_name, p.slug, p.odoo_version, \
             s.name AS server_name FROM environments e JOIN projects p ON p.id = e.project_id \
             LEFT JOIN servers s ON s.id = e.server_id WHERE e.org_id = $1 AND e.deleted_at_us IS NULL \
             AND ($2 = '' OR EXISTS (SELECT 1 FROM project_members m \
             WHERE m.org_id = e.org_id AND m.project_id = e.project_id AND m.user_id = $2)) ",
            $rest
        )
    };
}

impl Store {
    /// The environment `id`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn environment(&self, org: OrgId, scope: Scope, id: EnvironmentId) -> Result<Option<Environment>> {
        let mut connection = self.read().acquire().await?;
        environment_in(&mut connection, org, scope, id).await
    }

    /// The environment of `project` called `name`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn environment_named(
        &self,
        org: OrgId,
        project: ProjectId,
        name: &EnvironmentName,
    ) -> Result<Option<Environment>> {
        let row = sqlx::query(select_environment!("AND e.project_id = $3 AND e.name = $4"))
            .bind(org.to_string())
            .bind("")
            .bind(project.to_string())
            .bind(name.as_str())
            .fetch_optional(self.read())
            .await?;
        row.as_ref().map(environment).transpose()
    }

    /// A page of a project's environments, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_environments(
        &self,
        org: OrgId,
        project: ProjectId,
        skip: u32,
        limit: u32,
    ) -> Result<Vec<Environment>> {
        let rows =
            sqlx::query(select_environment!("AND e.project_id = $3 ORDER BY e.created_at_us, e.id LIMIT $4 OFFSET $5"))
                .bind(org.to_string())
                .bind("")
                .bind(project.to_string())
                .bind(i64::from(limit))
                .bind(i64::from(skip))
                .fetch_all(self.read())
                .await?;
        rows.iter().map(environment).collect()
    }

    /// The environments on a server, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn environments_on(&self, org: OrgId, scope: Scope, server: ServerId) -> Result<Vec<Environment>> {
        let rows = sqlx::query(select_environment!("AND e.server_id = $3 ORDER BY e.created_at_us, e.id"))
            .bind(org.to_string())
            .bind(scope.user_text())
            .bind(server.to_string())
            .fetch_all(self.read())
            .await?;
        rows.iter().map(environment).collect()
    }

    /// How many environments are on a server, and what they come to.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn environment_counts(&self, org: OrgId, server: ServerId) -> Result<EnvironmentCounts> {
        let mut connection = self.read().acquire().await?;
        counts(&mut connection, org, server).await
    }

    /// Makes an environment.
    ///
    /// # Errors
    /// [`StoreError::OverQuota`], [`StoreError::Environment`]; [`StoreError::Conflict`] when the name is taken.
    pub async fn insert_environment(&self, act: &Act, project: ProjectId, new: &NewEnvironment) -> Result<Environment> {
        let mut tx = self.begin().await?;
        let limits = lock(&mut tx, act.org_id).await?;
        let project = projects::locked(&mut tx, act.org_id, project).await?.ok_or(gone("project"))?;
        let (sizes, replica_of) = match new.takes {
            Takes::Sizes(sizes) => (sizes, None),
            Takes::ReplicaOf(source) => {
                let source = environment_in(&mut tx, act.org_id, Scope::Organization, source).await?;
                let source = source.filter(|source| source.project.id == project.id);
                let source = source.ok_or(gone("environment to replicate"))?;
                if source.replica_of.is_some() {
                    return Err(Refused::ReplicaOfReplica.into());
                }
                (source.sizes, Some(source.id))
            }
        };
        let server = match new.server_id {
            Some(id) => Some(ready_server(&mut tx, act, id).await?),
            None => None,
        };
        let environment = Environment {
            id: EnvironmentId::generate(),
            org_id: act.org_id,
            project: ProjectOf {
                id: project.id,
                name: project.name,
                slug: project.slug,
                odoo_version: project.odoo_version,
            },
            name: new.name.clone(),
            environment_type: new.environment_type,
            domain: new.domain.clone(),
            port: new.port,
            container_id: new.container_id.clone(),
            sizes,
            replica_of,
            is_active: new.is_active,
            server: server.as_ref().map(server_of),
            status: EnvironmentStatus::Pending,
            status_at_us: None,
            created_at_us: act.at_us,
            updated_at_us: act.at_us,
        };
        admit_change(&mut tx, &limits, None, &environment, server.as_ref()).await?;
        insert(&mut tx, &environment).await?;
        let environment = settled(&mut tx, environment).await?;
        let record = Record::new(act, Action::EnvironmentCreated, environment.id, &environment.name);
        self.append_audit(&mut tx, &record.after(environment.shown())).await?;
        tx.commit().await?;
        Ok(environment)
    }

    /// Changes what `patch` names, and the sizes of what replicates it; answers it as it was and is.
    ///
    /// # Errors
    /// As [`Self::insert_environment`].
    pub async fn update_environment(
        &self,
        act: &Act,
        project: ProjectId,
        id: EnvironmentId,
        patch: &EnvironmentPatch,
    ) -> Result<(Environment, Environment)> {
        let mut tx = self.begin().await?;
        let limits = lock(&mut tx, act.org_id).await?;
        let before = of_project(&mut tx, act.org_id, project, id).await?;
        if before.replica_of.is_some() && patch.sizes() {
            return Err(Refused::ReplicaSizes.into());
        }
        let mut after = before.patched(patch, act.at_us);
        let mut target = None;
        match patch.server_id {
            Some(Some(to)) if before.server_id() != Some(to) => {
                let server = ready_server(&mut tx, act, to).await?;
                after = after.moved(Some(server_of(&server)), act.at_us);
                target = Some(server);
            }
            Some(None) if before.server.is_some() => after = after.moved(None, act.at_us),
            _ => {}
        }
        admit_change(&mut tx, &limits, Some(&before), &after, target.as_ref()).await?;
        write(&mut tx, &after).await?;
        if after.sizes != before.sizes {
            for replica in replicas(&mut tx, act.org_id, id).await? {
                let resized = Environment { sizes: after.sizes, updated_at_us: act.at_us, ..replica.clone() };
                admit_change(&mut tx, &limits, Some(&replica), &resized, None).await?;
                write(&mut tx, &resized).await?;
            }
        }
        let after = settled(&mut tx, after).await?;
        self.append_audit(&mut tx, &after.change(act, &before)).await?;
        tx.commit().await?;
        Ok((before, after))
    }

    /// Moves environments from one server to another, all or none; answers them as they are then.
    ///
    /// # Errors
    /// As [`Self::insert_environment`].
    pub async fn migrate_environments(
        &self,
        act: &Act,
        scope: Scope,
        source: ServerId,
        target: ServerId,
        ids: &[EnvironmentId],
    ) -> Result<Vec<Environment>> {
        let mut tx = self.begin().await?;
        let limits = lock(&mut tx, act.org_id).await?;
        let server = ready_server(&mut tx, act, target).await?;
        let mut moved = Vec::with_capacity(ids.len());
        let mut records = Vec::with_capacity(ids.len());
        for id in ids {
            let found = environment_in(&mut tx, act.org_id, scope, *id).await?;
            let before = found.filter(|found| found.server_id() == Some(source));
            let before = before.ok_or(gone("environment on this server"))?;
            let after = before.moved(Some(server_of(&server)), act.at_us);
            admit_change(&mut tx, &limits, Some(&before), &after, Some(&server)).await?;
            write(&mut tx, &after).await?;
            records.push(after.change(act, &before));
            moved.push(after.id);
        }
        look(&mut tx, act.org_id, target).await?;
        let on_target = sqlx::query(select_environment!("AND e.server_id = $3 ORDER BY e.created_at_us, e.id"))
            .bind(act.org_id.to_string())
            .bind(scope.user_text())
            .bind(target.to_string())
            .fetch_all(&mut *tx)
            .await?;
        let there = on_target.iter().map(environment).collect::<Result<Vec<_>>>()?;
        for record in &records {
            self.append_audit(&mut tx, record).await?;
        }
        tx.commit().await?;
        Ok(there.into_iter().filter(|there| moved.contains(&there.id)).collect())
    }

    /// Deletes an environment; answers it as it was.
    ///
    /// # Errors
    /// [`StoreError::Environment`].
    pub async fn delete_environment(&self, act: &Act, project: ProjectId, id: EnvironmentId) -> Result<Environment> {
        let mut tx = self.begin().await?;
        lock(&mut tx, act.org_id).await?;
        let before = of_project(&mut tx, act.org_id, project, id).await?;
        let replicas = replicas(&mut tx, act.org_id, id).await?.len();
        if replicas > 0 {
            return Err(Refused::HasReplicas(u32::try_from(replicas).unwrap_or(u32::MAX)).into());
        }
        sqlx::query(
            "UPDATE environments SET deleted_at_us = $3, updated_at_us = $3, is_active = 0, counted_cpu_milli = 0, \
             counted_ram_mb_milli = 0, counted_disk_gb_milli = 0 WHERE org_id = $1 AND id = $2",
        )
        .bind(act.org_id.to_string())
        .bind(id.to_string())
        .bind(act.at_us)
        .execute(&mut *tx)
        .await?;
        let record = Record::new(act, Action::EnvironmentDeleted, id, &before.name).before(before.shown());
        self.append_audit(&mut tx, &record).await?;
        tx.commit().await?;
        Ok(before)
    }
}

/// Records how a server's environments run, by the containers seen on it at `seen_at_us`.
pub(super) async fn observe(tx: &mut Tx, org: OrgId, server: ServerId, docker: &Docker, seen_at_us: i64) -> Result<()> {
    let rows = sqlx::query(select_environment!("AND e.server_id = $3 ORDER BY e.id"))
        .bind(org.to_string())
        .bind("")
        .bind(server.to_string())
        .fetch_all(&mut **tx)
        .await?;
    for row in &rows {
        let environment = environment(row)?;
        let container = environment.container_id.as_ref().map(|container| container.as_str());
        let expected = runtime::Expected { id: environment.id, container, was: environment.status };
        let Some(status) = runtime::status(&expected, docker) else { continue };
        if status == environment.status && environment.status_at_us.is_some() {
            continue;
        }
        sqlx::query(
            "UPDATE environments SET status = $4, status_at_us = $5 \
             WHERE org_id = $1 AND id = $2 AND server_id = $3 AND deleted_at_us IS NULL",
        )
        .bind(org.to_string())
        .bind(environment.id.to_string())
        .bind(server.to_string())
        .bind(status.as_str())
        .bind(seen_at_us)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Brings the states of a server's environments up to the containers last seen on it; what can't be read says nothing.
async fn look(tx: &mut Tx, org: OrgId, server: ServerId) -> Result<()> {
    let row = sqlx::query("SELECT json, collected_at_us FROM server_facts WHERE server_id = $1")
        .bind(server.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = row else { return Ok(()) };
    match serde_json::from_slice::<Facts>(row.value("json")?) {
        Ok(facts) => observe(tx, org, server, &facts.docker, row.value("collected_at_us")?).await,
        Err(_) => Ok(()),
    }
}

/// The environment once everything is written, with its state by the containers of its server.
async fn settled(tx: &mut Tx, environment: Environment) -> Result<Environment> {
    let Some(server) = environment.server_id() else { return Ok(environment) };
    look(tx, environment.org_id, server).await?;
    let settled = environment_in(tx, environment.org_id, Scope::Organization, environment.id).await?;
    settled.ok_or(gone("environment"))
}

fn gone(noun: &'static str) -> StoreError {
    Refused::NotThere(noun).into()
}

async fn environment_in(
    connection: &mut AnyConnection,
    org: OrgId,
    scope: Scope,
    id: EnvironmentId,
) -> Result<Option<Environment>> {
    let row = sqlx::query(select_environment!("AND e.id = $3"))
        .bind(org.to_string())
        .bind(scope.user_text())
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(environment).transpose()
}

async fn of_project(tx: &mut Tx, org: OrgId, project: ProjectId, id: EnvironmentId) -> Result<Environment> {
    let found = environment_in(tx, org, Scope::Organization, id).await?;
    found.filter(|found| found.project.id == project).ok_or(gone("environment"))
}

async fn replicas(tx: &mut Tx, org: OrgId, of: EnvironmentId) -> Result<Vec<Environment>> {
    let rows = sqlx::query(select_environment!("AND e.replica_of = $3 ORDER BY e.id"))
        .bind(org.to_string())
        .bind("")
        .bind(of.to_string())
        .fetch_all(&mut **tx)
        .await?;
    rows.iter().map(environment).collect()
}

async fn ready_server(tx: &mut Tx, act: &Act, id: ServerId) -> Result<Server> {
    let server = server_in(tx, act.org_id, id).await?.ok_or(gone("server"))?;
    placement::is_ready(&server, act.at_us).map_err(Refused::from)?;
    Ok(server)
}

fn server_of(server: &Server) -> ServerOf {
    ServerOf { id: server.id, name: server.name.clone() }
}

/// Lets `before` become `after`, or not: by the quota, and by the server it is to run on, where that is known already
/// `server`. The quota must be locked.
async fn admit_change(
    tx: &mut Tx,
    limits: &Limits,
    before: Option<&Environment>,
    after: &Environment,
    server: Option<&Server>,
) -> Result<()> {
    let counted_before = before.map(Environment::counted).unwrap_or_default();
    let added = after.counted().minus(&counted_before);
    if added != Amounts::default() {
        let used = used_by_environments(tx, after.org_id).await?;
        admit(limits, &used, &added).map_err(StoreError::OverQuota)?;
    }
    let Some(to) = after.server_id() else { return Ok(()) };
    let (was_active, was_given) = match before.filter(|before| before.server_id() == Some(to)) {
        Some(before) => (before.is_active, counted_before),
        None => (false, Amounts::default()),
    };
    let coming =
        Load { environments: u32::from(after.is_active && !was_active), given: after.counted().minus(&was_given) };
    if coming == Load::default() {
        return Ok(());
    }
    let on_it = counts(tx, after.org_id, to).await?;
    let load = Load { environments: on_it.active, given: on_it.given };
    let has_room = match server {
        Some(server) => placement::has_room(server, &load, &coming),
        None => {
            let server = server_in(tx, after.org_id, to).await?.ok_or(gone("server"))?;
            placement::has_room(&server, &load, &coming)
        }
    };
    Ok(has_room.map_err(Refused::from)?)
}

async fn counts(connection: &mut AnyConnection, org: OrgId, server: ServerId) -> Result<EnvironmentCounts> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS active, CAST(COALESCE(SUM(CASE WHEN status = 'running' THEN 1 ELSE 0 END), 0) AS BIGINT) \
         AS running, CAST(COALESCE(SUM(counted_cpu_milli), 0) AS BIGINT) AS cpu, \
         CAST(COALESCE(SUM(counted_ram_mb_milli), 0) AS BIGINT) AS ram, \
         CAST(COALESCE(SUM(counted_disk_gb_milli), 0) AS BIGINT) AS disk FROM environments \
         WHERE org_id = $1 AND server_id = $2 AND is_active = 1 AND deleted_at_us IS NULL",
    )
    .bind(org.to_string())
    .bind(server.to_string())
    .fetch_one(connection)
    .await?;
    let count = |column| Ok::<_, StoreError>(u32::try_from(row.unsigned(column)?).unwrap_or(u32::MAX));
    Ok(EnvironmentCounts { active: count("active")?, running: count("running")?, given: amounts(&row)? })
}
