//! Environments: what a project runs, each on a server.
//!
//! Everything that changes what is counted happens in one transaction that first locks the organisation's quota, so that
//! any number of callers at once never pass a limit.

mod environment;
pub mod placement;
mod refused;
pub mod runtime;
#[cfg(test)]
mod tests;

pub use environment::{
    Environment, EnvironmentPatch, EnvironmentStatus, EnvironmentType, NewEnvironment, ProjectOf, ServerOf, Takes,
};
pub use placement::Load;
pub use refused::Refused;

use muster_shared::id::{EnvironmentId, OrgId, ProjectId, ServerId};

use crate::{
    access::Act,
    error::{Error, ErrorKind},
    events::{EventKind, Events},
    projects::{Project, Scope},
    servers::EnvironmentName,
    store::{Store, StoreError},
};

/// Most environments that one call moves.
pub const MAX_MIGRATED: usize = 1000;

type Result<T> = std::result::Result<T, Error>;

/// The environments of every organisation. Clones share the store.
#[derive(Debug, Clone)]
pub struct Environments {
    store: Store,
    events: Events,
}

impl Environments {
    /// The environments in `store`.
    #[must_use]
    pub fn new(store: Store, events: Events) -> Self {
        Self { store, events }
    }

    /// Makes an environment of `project`.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] over quota; [`ErrorKind::Precondition`] where its server takes none;
    /// [`ErrorKind::NotFound`] for a server or replicated environment there is not; [`ErrorKind::Conflict`] when the
    /// name is taken.
    pub async fn create(&self, act: &Act, project: &Project, new: &NewEnvironment) -> Result<Environment> {
        let made = self.store.insert_environment(act, project.id, new).await;
        let made = made.map_err(|error| name_taken(&new.name, error))?;
        self.tell(act.org_id, &made, []);
        Ok(made)
    }

    /// The environment `id` of `project`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn get(&self, org: OrgId, scope: Scope, project: ProjectId, id: EnvironmentId) -> Result<Environment> {
        let found = self.store.environment(org, scope, id).await?;
        found.filter(|found| found.project.id == project).ok_or_else(|| Error::not_found("environment"))
    }

    /// The environment of `project` that `reference`, an id or a name, means.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn resolve(&self, org: OrgId, project: ProjectId, reference: &str) -> Result<Environment> {
        if let Ok(id) = reference.parse() {
            return self.get(org, Scope::Organization, project, id).await;
        }
        let named = match reference.parse::<EnvironmentName>() {
            Ok(name) => self.store.environment_named(org, project, &name).await?,
            Err(_) => None,
        };
        named.ok_or_else(|| Error::not_found("environment"))
    }

    /// A page of a project's environments, oldest first.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn of_project(&self, org: OrgId, project: ProjectId, skip: u32, limit: u32) -> Result<Vec<Environment>> {
        Ok(self.store.list_environments(org, project, skip, limit).await?)
    }

    /// The environments on a server that belong to projects in `scope`, oldest first.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn on_server(&self, org: OrgId, scope: Scope, server: ServerId) -> Result<Vec<Environment>> {
        Ok(self.store.environments_on(org, scope, server).await?)
    }

    /// Changes what `patch` names; another server moves it there.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn update(
        &self,
        act: &Act,
        project: ProjectId,
        id: EnvironmentId,
        patch: &EnvironmentPatch,
    ) -> Result<Environment> {
        let (before, after) = match (self.store.update_environment(act, project, id, patch).await, &patch.name) {
            (Err(error), Some(name)) => return Err(name_taken(name, error)),
            (updated, _) => updated?,
        };
        self.tell(act.org_id, &after, [before.server_id()]);
        Ok(after)
    }

    /// Deletes an environment: what it counted for is free at once. Its containers stay as they are.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] for one that others replicate.
    pub async fn delete(&self, act: &Act, project: ProjectId, id: EnvironmentId) -> Result<()> {
        let before = self.store.delete_environment(act, project, id).await?;
        self.tell(act.org_id, &before, []);
        Ok(())
    }

    /// Moves environments from one server to another, all or none.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an environment that is not on `source` or not in `scope`, and for a `target` there is
    /// not; [`ErrorKind::Precondition`] where `target` does not take them; [`ErrorKind::Invalid`] for none at all.
    pub async fn migrate(
        &self,
        act: &Act,
        scope: Scope,
        source: ServerId,
        target: ServerId,
        ids: &[EnvironmentId],
    ) -> Result<Vec<Environment>> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() || ids.len() > MAX_MIGRATED {
            let detail = format!("environment_ids: name 1 to {MAX_MIGRATED} environments");
            return Err(Error::invalid("invalid_field", detail));
        }
        if source == target {
            return Err(Error::invalid("invalid_field", "target_vm_id: the environments are on this server already"));
        }
        let moved = self.store.migrate_environments(act, scope, source, target, &ids).await?;
        for environment in &moved {
            self.tell(act.org_id, environment, [Some(source)]);
        }
        Ok(moved)
    }

    /// Tells of an environment that changed, and of the servers whose count of them did: the one it is on, and the one it
    /// was on before.
    fn tell<const N: usize>(&self, org: OrgId, environment: &Environment, before: [Option<ServerId>; N]) {
        let now = environment.server_id();
        let kind = EventKind::EnvironmentChanged { environment: environment.id, project: environment.project.id };
        self.events.publish(org, now, kind);
        let left = before.into_iter().filter(|before| *before != now);
        for server in left.chain([now]).flatten() {
            self.events.publish(org, server, EventKind::ServerChanged);
        }
    }
}

fn name_taken(name: &EnvironmentName, error: StoreError) -> Error {
    match error {
        StoreError::Conflict(_) => {
            let detail = format!("the project has an environment named {name} already");
            Error::new(ErrorKind::Conflict, "name_taken", detail).because(error)
        }
        error => error.into(),
    }
}
