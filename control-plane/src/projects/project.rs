//! A project, and what a caller may say of one.

use muster_shared::id::{OrgId, ProjectId, UserId};
use serde_json::{Value, json};

use super::{Description, Label, ProjectName, Slug};

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub id: ProjectId,
    pub org_id: OrgId,
    pub name: ProjectName,
    pub slug: Slug,
    pub description: Description,
    /// The version it runs, as its owner writes it; empty where nothing was said.
    pub odoo_version: Label,
    pub environment_count: u32,
    pub created_at_us: i64,
    pub updated_at_us: i64,
}

/// A project to be made.
#[derive(Debug, Clone)]
pub struct NewProject {
    pub name: ProjectName,
    pub slug: Option<Slug>,
    pub description: Description,
    pub odoo_version: Label,
}

/// Changes to a project; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct ProjectPatch {
    pub name: Option<ProjectName>,
    pub slug: Option<Slug>,
    pub description: Option<Description>,
    pub odoo_version: Option<Label>,
}

/// A user who belongs to a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectMember {
    pub user_id: UserId,
    pub user_name: String,
    /// What the user is in the organisation.
    pub role: crate::access::Role,
    pub added_at_us: i64,
}

impl Project {
    /// The project with what `patch` names changed.
    #[must_use]
    pub fn patched(&self, patch: &ProjectPatch, now_us: i64) -> Self {
        let patch = patch.clone();
        Self {
            name: patch.name.unwrap_or_else(|| self.name.clone()),
            slug: patch.slug.unwrap_or_else(|| self.slug.clone()),
            description: patch.description.unwrap_or_else(|| self.description.clone()),
            odoo_version: patch.odoo_version.unwrap_or_else(|| self.odoo_version.clone()),
            updated_at_us: now_us,
            ..self.clone()
        }
    }

    /// As the audit record shows it.
    #[must_use]
    pub fn shown(&self) -> Value {
        json!({
            "name": self.name.as_str(),
            "slug": self.slug.as_str(),
            "description": self.description.as_str(),
            "odoo_version": self.odoo_version.as_str(),
        })
    }
}

/// The slug that `name` suggests: its ASCII letters and digits in lower case, whatever is between them a hyphen.
#[must_use]
pub fn slug_of(name: &ProjectName) -> Option<Slug> {
    let lower = name.as_str().to_ascii_lowercase();
    let words: Vec<_> = lower.split(|character: char| !character.is_ascii_alphanumeric()).collect();
    let joined = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    let cut: String = joined.chars().take(63).collect();
    cut.trim_end_matches('-').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_suggests_a_slug() {
        let slug = |name: &str| slug_of(&name.parse().expect("a name")).map(|slug| slug.to_string());
        assert_eq!(slug("E-commerce  Shop!").as_deref(), Some("e-commerce-shop"));
        assert_eq!(slug("Zürich 2").as_deref(), Some("z-rich-2"));
        assert_eq!(slug("日本"), None);
        assert_eq!(slug(&format!("{} b", "a".repeat(62))).map(|slug| slug.len()), Some(62));
    }
}
