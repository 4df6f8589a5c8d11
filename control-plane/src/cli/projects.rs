//! `muster projects …`

use clap::Subcommand;
use muster_shared::wire;
use serde_json::json;

use super::{
    ask,
    client::Fleet,
    failure::Failure,
    output::Output,
    page::Page,
    table::{self, or_dash},
};
use crate::api::model::project::{Project, ProjectMember};

/// What to do with projects.
#[derive(Debug, Subcommand)]
pub enum ProjectsCommand {
    /// List the projects you may see.
    #[command(visible_alias = "ls")]
    List(Page),
    /// Show one project.
    Show {
        /// Its slug or id.
        project: String,
    },
    /// Make a project.
    Create {
        name: String,
        /// Made of the name unless given.
        #[arg(long)]
        slug: Option<String>,
        #[arg(long)]
        description: Option<String>,
        #[arg(long)]
        odoo_version: Option<String>,
    },
    /// List who belongs to a project: the project roles see only the projects they belong to.
    Members {
        /// Its slug or id.
        project: String,
    },
    /// Let a member of the organisation belong to a project.
    AddMember {
        /// Its slug or id.
        project: String,
        /// The user's name or id.
        user: String,
    },
    /// End a user's belonging to a project.
    RemoveMember {
        /// Its slug or id.
        project: String,
        /// The user's name or id.
        user: String,
        /// Do it without asking.
        #[arg(long, short)]
        yes: bool,
    },
    /// Delete a project that has no environments left.
    Delete {
        /// Its slug or id.
        project: String,
        /// Do it without asking.
        #[arg(long, short)]
        yes: bool,
    },
}

impl ProjectsCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let project = match self {
            Self::List(Page { skip, limit }) => {
                let answer = fleet.list_projects(wire::ListProjectsRequest { skip, limit }).await?.into_inner();
                let projects: Vec<Project> = answer.projects.into_iter().map(Project::from).collect();
                return output.print(projects.as_slice(), draw);
            }
            Self::Show { project } => fleet.get_project(wire::GetProjectRequest { project }).await?,
            Self::Create { name, slug, description, odoo_version } => {
                let request = wire::CreateProjectRequest {
                    name,
                    slug: slug.unwrap_or_default(),
                    description: description.unwrap_or_default(),
                    odoo_version: odoo_version.unwrap_or_default(),
                };
                fleet.create_project(request).await?
            }
            Self::Members { project } => return list_members(project, fleet, output).await,
            Self::AddMember { project, user } => {
                let user_id = user_id(fleet, user).await?;
                fleet.add_project_member(wire::AddProjectMemberRequest { project: project.clone(), user_id }).await?;
                return list_members(project, fleet, output).await;
            }
            Self::RemoveMember { project, user, yes } => {
                ask::unless(yes, &format!("take {user} out of the project {project}"))?;
                let user_id = user_id(fleet, user).await?;
                let request = wire::RemoveProjectMemberRequest { project: project.clone(), user_id };
                fleet.remove_project_member(request).await?;
                return list_members(project, fleet, output).await;
            }
            Self::Delete { project, yes } => {
                ask::unless(yes, &format!("delete the project {project}"))?;
                fleet.delete_project(wire::DeleteProjectRequest { project: project.clone() }).await?;
                let deleted = json!({ "project": project, "status": "deleted" });
                return output.print(&deleted, |_| format!("deleted {project}\n"));
            }
        };
        output.print(&Project::from(project.into_inner()), draw_one)
    }
}

async fn list_members(project: String, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
    let answer = fleet.list_project_members(wire::ListProjectMembersRequest { project }).await?.into_inner();
    let members: Vec<ProjectMember> = answer.members.into_iter().map(ProjectMember::from).collect();
    output.print(members.as_slice(), |members| {
        let rows = members.iter().map(|member| {
            let since = member.added_at.map_or_else(|| "-".to_owned(), |time| time.to_string());
            vec![member.user_id.clone(), member.user_name.clone(), member.role.clone(), since]
        });
        table::draw(&["ID", "NAME", "ROLE", "SINCE"], rows.collect())
    })
}

/// The id of the user that a name or an id means.
async fn user_id(fleet: &mut Fleet, user: String) -> Result<String, Failure> {
    Ok(fleet.get_user(wire::GetUserRequest { user }).await?.into_inner().id)
}

fn draw(projects: &[Project]) -> String {
    let rows = projects.iter().map(|project| {
        vec![
            project.slug.clone(),
            project.name.clone(),
            or_dash(project.odoo_version.as_deref()),
            project.environment_count.to_string(),
        ]
    });
    table::draw(&["SLUG", "NAME", "VERSION", "ENVIRONMENTS"], rows.collect())
}

fn draw_one(project: &Project) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    table::pairs(&[
        ("id", project.id.clone()),
        ("name", project.name.clone()),
        ("slug", project.slug.clone()),
        ("description", text(&project.description)),
        ("version", text(&project.odoo_version)),
        ("environments", project.environment_count.to_string()),
        ("created", project.created_at.map(|time| time.to_string()).unwrap_or_default()),
    ])
}
