//! Organisations: the tenants. One is made at the first start; an owner may make others.

use muster_shared::id::{OrgId, UserId};
use serde_json::json;

use crate::{
    access::{Act, Principal},
    audit::{Action, Record},
    error::Error,
    servers::{is_label_text, names},
    store::Store,
};

names! {
    /// An organisation's name, as people call it; two may have the same.
    OrganizationName = "an organization's name",
        "1 to 100 printable characters that start with a letter or digit and don't end with a space", is_label_text;
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    pub id: OrgId,
    pub name: String,
    pub created_at_us: i64,
}

/// The organisations. Clones share the store.
#[derive(Debug, Clone)]
pub struct Organizations {
    store: Store,
}

impl Organizations {
    /// The organisations in `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Those the caller may act in, the oldest membership first.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn of(&self, caller: &Principal) -> Result<Vec<Organization>, Error> {
        let mut organizations = self.store.organizations_of(caller.user_id).await?;
        organizations.retain(|organization| caller.acting_in(organization.id).is_ok());
        Ok(organizations)
    }

    /// The organisation.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
    pub async fn get(&self, id: OrgId) -> Result<Organization, Error> {
        self.store.organization(id).await?.ok_or_else(|| Error::not_found("organization"))
    }

    /// Makes an organisation; who makes it owns it.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn create(&self, act: &Act, name: &OrganizationName) -> Result<Organization, Error> {
        let owner: UserId = act.user_id().ok_or_else(|| Error::internal("an organisation is made by a user"))?;
        let id = OrgId::generate();
        let record = Record::new(&act.within(id), Action::OrganizationCreated, id, name);
        self.store.insert_organization(name, owner, &record.after(json!({ "name": name.as_str() }))).await?;
        Ok(Organization { id, name: name.to_string(), created_at_us: act.at_us })
    }

    /// Renames the organisation acted in.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
    pub async fn rename(&self, act: &Act, name: &OrganizationName) -> Result<Organization, Error> {
        let record = Record::new(act, Action::OrganizationUpdated, act.org_id, name);
        let renamed = self.store.rename_organization(name, record).await?;
        renamed.ok_or_else(|| Error::not_found("organization"))
    }
}
