//! `muster environments …`

use clap::{Args, Subcommand};
use muster_shared::wire;
use serde_json::json;

use super::{
    ask,
    client::Fleet,
    failure::Failure,
    output::Output,
    table::{self, or_dash},
};
use crate::api::model::environment::Environment;

/// What to do with environments.
#[derive(Debug, Subcommand)]
pub enum EnvironmentsCommand {
    /// List a project's environments, or those on a server.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Make an environment.
    Create(CreateArgs),
    /// Move an environment to another server.
    Move {
        /// Its project's slug or id.
        project: String,
        /// Its name or id.
        environment: String,
        /// The name or id of the server.
        #[arg(long, value_name = "SERVER")]
        to: String,
    },
    /// Delete an environment. Its containers stay as they are.
    Delete {
        /// Its project's slug or id.
        project: String,
        /// Its name or id.
        environment: String,
        /// Do it without asking.
        #[arg(long, short)]
        yes: bool,
    },
}

/// Whose environments to list.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ListArgs {
    /// The project's slug or id.
    project: Option<String>,
    /// A server's name or id.
    #[arg(long)]
    server: Option<String>,
}

/// What to make.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The project's slug or id.
    project: String,
    /// A name unique in the project.
    name: String,
    #[arg(long = "type", value_parser = ["production", "staging", "development"])]
    environment_type: Option<String>,
    #[arg(long)]
    domain: Option<String>,
    #[arg(long)]
    port: Option<u16>,
    /// The id or name of the container it runs in.
    #[arg(long, value_name = "CONTAINER")]
    container: Option<String>,
    #[arg(long, required_unless_present = "replica_of")]
    cpu_cores: Option<f64>,
    #[arg(long, required_unless_present = "replica_of")]
    ram_mb: Option<u64>,
    #[arg(long, required_unless_present = "replica_of")]
    disk_gb: Option<f64>,
    /// The environment of the project that it replicates, whose sizes it has.
    #[arg(long, value_name = "ENVIRONMENT", conflicts_with_all = ["cpu_cores", "ram_mb", "disk_gb"])]
    replica_of: Option<String>,
    /// The name or id of the server it runs on.
    #[arg(long)]
    server: Option<String>,
}

impl EnvironmentsCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let environment = match self {
            Self::List(args) => return list(args, fleet, output).await,
            Self::Create(args) => fleet.create_environment(create(args)).await?,
            Self::Move { project, environment, to } => {
                let mask = prost_types::FieldMask { paths: vec!["vm_id".to_owned()] };
                let request = wire::UpdateEnvironmentRequest {
                    project,
                    environment,
                    vm_id: to,
                    update_mask: Some(mask),
                    ..wire::UpdateEnvironmentRequest::default()
                };
                fleet.update_environment(request).await?
            }
            Self::Delete { project, environment, yes } => {
                let named = format!("{project}/{environment}");
                ask::unless(yes, &format!("delete the environment {named}; its containers stay"))?;
                fleet.delete_environment(wire::DeleteEnvironmentRequest { project, environment }).await?;
                let deleted = json!({ "environment": named, "status": "deleted" });
                return output.print(&deleted, |_| format!("deleted {named}\n"));
            }
        };
        output.print(&Environment::from(environment.into_inner()), draw_one)
    }
}

async fn list(args: ListArgs, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
    let request = wire::ListEnvironmentsRequest {
        project: args.project.unwrap_or_default(),
        server: args.server.unwrap_or_default(),
        skip: 0,
        limit: 1000,
    };
    let answer = fleet.list_environments(request).await?.into_inner();
    let environments: Vec<Environment> = answer.environments.into_iter().map(Environment::from).collect();
    output.print(environments.as_slice(), draw)
}

fn create(args: CreateArgs) -> wire::CreateEnvironmentRequest {
    wire::CreateEnvironmentRequest {
        project: args.project,
        name: args.name,
        environment_type: args.environment_type.unwrap_or_default(),
        domain: args.domain.unwrap_or_default(),
        port: args.port.unwrap_or_default().into(),
        container_id: args.container.unwrap_or_default(),
        cpu_cores: args.cpu_cores.unwrap_or_default(),
        ram_mb: args.ram_mb.unwrap_or_default(),
        disk_gb: args.disk_gb.unwrap_or_default(),
        replica_of: args.replica_of.unwrap_or_default(),
        is_inactive: false,
        vm_id: args.server.unwrap_or_default(),
    }
}

fn draw(environments: &[Environment]) -> String {
    let rows = environments.iter().map(|environment| {
        vec![
            environment.project.slug.clone(),
            environment.name.clone(),
            environment.environment_type.clone(),
            environment.status.clone(),
            if environment.is_active { "yes" } else { "no" }.to_owned(),
            environment.cpu_cores.to_string(),
            environment.ram_mb.to_string(),
            environment.disk_gb.to_string(),
            or_dash(environment.vm_name.as_deref()),
        ]
    });
    let header = ["PROJECT", "NAME", "TYPE", "STATUS", "ACTIVE", "CPU", "RAM MB", "DISK GB", "SERVER"];
    table::draw(&header, rows.collect())
}

fn draw_one(environment: &Environment) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    table::pairs(&[
        ("id", environment.id.clone()),
        ("name", environment.name.clone()),
        ("project", environment.project.slug.clone()),
        ("type", environment.environment_type.clone()),
        ("status", environment.status.clone()),
        ("active", if environment.is_active { "yes" } else { "no" }.to_owned()),
        ("domain", text(&environment.domain)),
        ("port", environment.port.map(|port| port.to_string()).unwrap_or_default()),
        ("container", text(&environment.container_id)),
        ("cpu cores", environment.cpu_cores.to_string()),
        ("ram mb", environment.ram_mb.to_string()),
        ("disk gb", environment.disk_gb.to_string()),
        ("replica of", text(&environment.replica_of)),
        ("server", text(&environment.vm_name)),
    ])
}
