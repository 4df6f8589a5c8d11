//! The admin commands, over gRPC. Tables for people, JSON and YAML for programs.
//!
//! Exit codes: 0 done; 1 failed, or what was asked for ended badly; 2 wrong usage or a refused argument; 3 not found;
//! 4 not authenticated or not allowed; 5 the control plane can't be reached; 6 the state does not allow it.

mod agent;
mod ask;
mod audit;
mod client;
mod commands;
mod connection;
mod contexts;
mod environments;
mod events;
mod facts;
mod failure;
mod fix;
mod fleet_runs;
mod hardening;
mod host_key;
mod join_tokens;
mod keyring;
mod login;
mod members;
mod metrics;
mod metrics_retention;
mod next_step;
mod output;
mod page;
mod power;
mod progress;
mod projects;
mod quota;
mod runs;
mod secure;
mod servers;
mod since;
mod ssh_key_rotations;
mod ssh_keys;
mod stats;
mod summary;
mod table;
mod tokens;
mod top;
mod users;
mod waiting;
mod watching;
mod web_login;
mod yaml;

use std::io::Write;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use client::Target;
pub use failure::Failure;
pub use output::Format;
use output::Output;

/// Bring-your-own-server fleet management.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 not authenticated or not allowed, 5 control plane
/// unreachable, 6 the state does not allow it.
#[derive(Debug, Parser)]
#[command(name = "muster", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub target: Target,
    /// How to print.
    #[arg(short, long, global = true, value_enum, default_value_t, help_heading = "Output")]
    pub output: Format,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process has one of these")]
pub enum Command {
    /// Run the control plane. Settings may also stand in the environment as MUSTER_… and in DIR/muster.toml. Exits
    /// with 64 when one of them can't be used.
    Serve(crate::config::ServeFlags),
    #[command(flatten)]
    Fleet(FleetCommand),
}

/// What to ask a control plane.
#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// List, show, create and change servers.
    #[command(subcommand, visible_alias = "server")]
    Servers(servers::ServersCommand),
    /// Make, list and revoke the tokens servers join with.
    #[command(subcommand, visible_alias = "join-token")]
    JoinTokens(join_tokens::JoinTokensCommand),
    /// Make, list, change, rotate and delete the organisation's SSH key pairs.
    #[command(subcommand, visible_alias = "ssh-key")]
    SshKeys(ssh_keys::SshKeysCommand),
    /// Show and turn the keys that seal stored secrets.
    #[command(subcommand)]
    Keyring(keyring::KeyringCommand),
    /// List, show, make and delete projects.
    #[command(subcommand, visible_alias = "project")]
    Projects(projects::ProjectsCommand),
    /// List, make, move and delete a project's environments.
    #[command(subcommand, visible_alias = "environment")]
    Environments(environments::EnvironmentsCommand),
    /// Show and set what the organisation may use.
    #[command(subcommand)]
    Quota(quota::QuotaCommand),
    /// Show and set how long the organisation keeps its samples.
    #[command(subcommand)]
    MetricsRetention(metrics_retention::MetricsRetentionCommand),
    /// Run the readiness checks. Exits with 1 unless the server is qualified.
    Preflight(runs::Server),
    /// Fix what the preflight found, showing every step. Exits with 1 unless the server is qualified afterwards.
    Fix(fix::Fix),
    /// Install the agent over SSH and wait for its first sample.
    Bootstrap(runs::Server),
    /// Replace a server's password by a key of its own, proven before the password is forgotten.
    Secure(secure::SecureArgs),
    /// Log in over SSH and show what is there, for a saved server or before saving one.
    TestConnection(connection::TestConnection),
    /// Show what is known of a host.
    Facts(facts::Facts),
    /// Show a server's latest figures.
    Summary(runs::Server),
    /// Show the fleet live in the terminal: sort, search, and a server's containers.
    Top(top::TopArgs),
    /// Show, follow and list what hosts and containers measured.
    #[command(subcommand)]
    Metrics(metrics::MetricsCommand),
    /// Follow a server: its changes, commands and, each second, its figures.
    Watch(runs::Server),
    Events(events::Events),
    /// List, show and cancel commands.
    #[command(subcommand)]
    Commands(commands::CommandsCommand),
    /// Run one typed command on many servers, in waves with a failure budget; list, follow and cancel such runs.
    #[command(subcommand, name = "fleet")]
    FleetRuns(fleet_runs::FleetRunsCommand),
    /// Show how a server stands towards the hardening profile, or plan, apply and undo items of it.
    Harden(hardening::HardenArgs),
    /// Decide about a server's SSH host key.
    #[command(subcommand, visible_alias = "host-key")]
    Hostkey(host_key::HostKeyCommand),
    /// Revoke a server's agent, or release it from quarantine.
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// List, export and verify what was done.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Make, list and revoke your own API tokens.
    #[command(subcommand, visible_alias = "token")]
    Tokens(tokens::TokensCommand),
    /// List, add, change and remove the organisation's members.
    #[command(subcommand, visible_alias = "member")]
    Members(members::MembersCommand),
    /// List, make and delete the organisation's users.
    #[command(subcommand, visible_alias = "user")]
    Users(users::UsersCommand),
    /// Sign in: keep a control plane's address, CA and token, and use them from now on.
    Login(login::Login),
    /// List, choose and forget the control planes signed in to.
    #[command(subcommand, visible_alias = "context")]
    Contexts(login::ContextsCommand),
    #[command(flatten)]
    Describe(login::Describe),
}

impl FleetCommand {
    /// Asks the control plane and prints its answer to `out`.
    ///
    /// # Errors
    /// What went wrong, with an exit code and a next step.
    pub async fn run(self, target: &Target, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
        let mut output = Output::new(format, out);
        match self {
            Self::Audit(command) if command.is_local() => return command.run_local(&mut output),
            Self::Contexts(command) => return command.run(&mut output),
            Self::Describe(command) => return command.run(Cli::command(), output.raw()),
            Self::Login(command) => return command.run(target, &mut output).await,
            _ => {}
        }
        let kept =
            contexts::ContextFile::of_user().map_or_else(|| Ok(contexts::Contexts::default()), |file| file.read())?;
        let resolved = target.resolve(&kept, target.given_token()?)?;
        // The live view has the terminal for itself.
        let shows = format == Format::Table && !matches!(self, Self::Top(_));
        let mut fleet = client::connect(&resolved, shows).await?;
        match self {
            Self::Servers(command) => command.run(&mut fleet, &mut output).await,
            Self::JoinTokens(command) => command.run(&mut fleet, &mut output).await,
            Self::SshKeys(command) => command.run(&mut fleet, &mut output).await,
            Self::Keyring(command) => command.run(&mut fleet, &mut output).await,
            Self::Projects(command) => command.run(&mut fleet, &mut output).await,
            Self::Environments(command) => command.run(&mut fleet, &mut output).await,
            Self::Quota(command) => command.run(&mut fleet, &mut output).await,
            Self::MetricsRetention(command) => command.run(&mut fleet, &mut output).await,
            Self::Preflight(server) => runs::preflight(server, &mut fleet, &mut output).await,
            Self::Fix(fix) => fix.run(&mut fleet, &mut output).await,
            Self::Bootstrap(server) => runs::bootstrap(server, &mut fleet, &mut output).await,
            Self::Secure(args) => secure::run(args, &mut fleet, &mut output).await,
            Self::TestConnection(command) => command.run(&mut fleet, &mut output).await,
            Self::Facts(command) => command.run(&mut fleet, &mut output).await,
            Self::Summary(server) => summary::show(server, &mut fleet, &mut output).await,
            Self::Top(command) => command.run(&resolved.url.to_string(), &mut fleet).await,
            Self::Metrics(command) => command.run(&mut fleet, &mut output).await,
            Self::Watch(server) => summary::watch(server, &mut fleet, &mut output).await,
            Self::Events(command) => command.run(&mut fleet, &mut output).await,
            Self::Commands(command) => command.run(&mut fleet, &mut output).await,
            Self::FleetRuns(command) => command.run(&mut fleet, &mut output).await,
            Self::Harden(command) => command.run(&mut fleet, &mut output).await,
            Self::Hostkey(command) => command.run(&mut fleet, &mut output).await,
            Self::Agent(command) => command.run(&mut fleet, &mut output).await,
            Self::Audit(command) => command.run(&mut fleet, &mut output).await,
            Self::Tokens(command) => command.run(&mut fleet, &mut output).await,
            Self::Members(command) => command.run(&mut fleet, &mut output).await,
            Self::Users(command) => command.run(&mut fleet, &mut output).await,
            // Answered above.
            Self::Login(_) | Self::Contexts(_) | Self::Describe(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod printed;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn connection_options_may_stand_before_the_command_and_output_after() {
        let line = "muster --url https://muster.example:8443 --token-file t servers list -o json";
        let cli = Cli::try_parse_from(line.split(' ')).expect("parses");
        assert_eq!(cli.output, Format::Json);
        assert!(matches!(cli.command, Command::Fleet(FleetCommand::Servers(_))));
    }
}
