//! Projects: what environments belong to, and who sees them.

mod project;
mod scope;

pub use crate::servers::{Description, Label, ProjectName, Slug};
pub use project::{NewProject, Project, ProjectMember, ProjectPatch, slug_of};
pub use scope::Scope;

use muster_shared::id::{OrgId, ProjectId, UserId};

use crate::{
    access::Act,
    audit::{Action, Record},
    error::{Error, ErrorKind},
    events::{EventKind, Events},
    store::{ProjectDeletion, Store, StoreError},
};

type Result<T> = std::result::Result<T, Error>;

/// The projects of every organisation. Clones share the store.
#[derive(Debug, Clone)]
pub struct Projects {
    store: Store,
    events: Events,
}

impl Projects {
    /// The projects in `store`.
    #[must_use]
    pub fn new(store: Store, events: Events) -> Self {
        Self { store, events }
    }

    /// Makes a project; without a slug it gets one of its name.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the slug is taken; [`ErrorKind::Invalid`] where the name gives none.
    pub async fn create(&self, act: &Act, new: NewProject) -> Result<Project> {
        let slug = match new.slug {
            Some(slug) => slug,
            None => slug_of(&new.name).ok_or_else(|| {
                Error::invalid("slug_required", "the name has no letter or digit to make a slug of: give one")
            })?,
        };
        let project = Project {
            id: ProjectId::generate(),
            org_id: act.org_id,
            name: new.name,
            slug,
            description: new.description,
            odoo_version: new.odoo_version,
            environment_count: 0,
            created_at_us: act.at_us,
            updated_at_us: act.at_us,
        };
        let record = Record::new(act, Action::ProjectCreated, project.id, &project.name).after(project.shown());
        self.store.insert_project(&project, &record).await.map_err(|error| slug_taken(&project.slug, error))?;
        self.tell(act.org_id, project.id);
        Ok(project)
    }

    /// The project that `reference`, an id or a slug, means to somebody who may see `scope`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn resolve(&self, org: OrgId, scope: Scope, reference: &str) -> Result<Project> {
        let project = match (reference.parse::<ProjectId>(), reference.parse::<Slug>()) {
            (Ok(id), _) => self.store.project(org, scope, id).await?,
            (Err(_), Ok(slug)) => self.store.project_with_slug(org, scope, &slug).await?,
            (Err(_), Err(_)) => None,
        };
        project.ok_or_else(|| Error::not_found("project"))
    }

    /// A page of the projects in `scope`, oldest first.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn list(&self, org: OrgId, scope: Scope, skip: u32, limit: u32) -> Result<Vec<Project>> {
        Ok(self.store.list_projects(org, scope, skip, limit).await?)
    }

    /// Changes what `patch` names.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] when the slug is taken.
    pub async fn update(&self, act: &Act, id: ProjectId, patch: &ProjectPatch) -> Result<Project> {
        let updated = self.store.update_project(act, id, patch).await;
        let updated = updated.map_err(|error| match &patch.slug {
            Some(slug) => slug_taken(slug, error),
            None => error.into(),
        });
        let project = updated?.ok_or_else(|| Error::not_found("project"))?;
        self.tell(act.org_id, id);
        Ok(project)
    }

    /// Deletes a project that has no environments left.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] for one that has environments.
    pub async fn delete(&self, act: &Act, id: ProjectId) -> Result<()> {
        match self.store.delete_project(act, id).await? {
            ProjectDeletion::Deleted => {
                self.tell(act.org_id, id);
                Ok(())
            }
            ProjectDeletion::Gone => Err(Error::not_found("project")),
            ProjectDeletion::HasEnvironments(count) => {
                let detail = format!("Cannot delete project with {count} environment(s). Delete them first.");
                Err(Error::new(ErrorKind::Precondition, "project_not_empty", detail))
            }
        }
    }

    /// Who belongs to a project.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn members(&self, org: OrgId, id: ProjectId) -> Result<Vec<ProjectMember>> {
        Ok(self.store.project_members(org, id).await?)
    }

    /// Lets a user of the organisation belong to a project; twice is once.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a project or user that is not the organisation's.
    pub async fn add_member(&self, act: &Act, project: &Project, user: UserId) -> Result<()> {
        if self.store.add_project_member(act, project, user).await? {
            self.tell(act.org_id, project.id);
            return Ok(());
        }
        Err(Error::not_found("user"))
    }

    /// Ends a user's belonging to a project.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for somebody who does not belong to it.
    pub async fn remove_member(&self, act: &Act, project: &Project, user: UserId) -> Result<()> {
        if self.store.remove_project_member(act, project, user).await? {
            self.tell(act.org_id, project.id);
            return Ok(());
        }
        Err(Error::not_found("project member"))
    }

    fn tell(&self, org: OrgId, id: ProjectId) {
        self.events.publish(org, None, EventKind::ProjectChanged(id));
    }
}

fn slug_taken(slug: &Slug, error: StoreError) -> Error {
    match error {
        StoreError::Conflict(_) => {
            Error::new(ErrorKind::Conflict, "slug_taken", format!("there is a project with the slug {slug} already"))
                .because(error)
        }
        error => error.into(),
    }
}
