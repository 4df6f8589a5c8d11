//! `muster servers …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use muster_shared::wire;
use serde_json::json;

use super::{
    ask,
    client::Fleet,
    connection::{ConnectionArgs, secret},
    failure::Failure,
    output::Output,
    page::Page,
    power::{Action, PowerArgs},
    stats,
    table::{self, ago, or_dash},
    watching::Watching,
};
use crate::{api::model::server::Vm, clock::Clock};

/// What to do with servers.
#[derive(Debug, Subcommand)]
pub enum ServersCommand {
    /// List the organisation's servers.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show one server.
    Show {
        /// Its name or id.
        server: String,
    },
    /// Show how much of a server is spoken for and in use, and when its disk will be full.
    Stats {
        /// Its name or id.
        server: String,
    },
    /// Register a server that is reached over SSH.
    Create {
        /// A name unique in the organisation.
        name: String,
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        connection: ConnectionArgs,
        /// Creating twice with the same key creates once.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Change what is given; the rest stays.
    Update {
        /// Its name or id.
        server: String,
        /// The new name.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        connection: ConnectionArgs,
    },
    /// Boot a server anew.
    Reboot(PowerArgs),
    /// Have a server's agent send what it holds, and power the server off.
    Stop(PowerArgs),
    /// Wake a server through another one on its network (Wake-on-LAN).
    Start(PowerArgs),
    /// Log in with this password from now on, if it works.
    SetPassword {
        /// Its name or id.
        server: String,
        /// A file with the password; - is standard input.
        #[arg(long, value_name = "FILE")]
        password_file: PathBuf,
        /// Replace the login without trying the new one.
        #[arg(long)]
        no_test: bool,
    },
    /// Log in with this key from now on, if it works.
    SetKey {
        /// Its name or id.
        server: String,
        /// A file with the private key: OpenSSH, PKCS#1 or PKCS#8; - is standard input.
        #[arg(long, value_name = "FILE", required_unless_present = "key_pair")]
        key_file: Option<PathBuf>,
        /// A file with the key's passphrase.
        #[arg(long, value_name = "FILE", requires = "key_file")]
        passphrase_file: Option<PathBuf>,
        /// The id of one of the organisation's key pairs.
        #[arg(long, value_name = "ID", conflicts_with = "key_file")]
        key_pair: Option<String>,
        /// A file with the password sudo asks for. One that was kept beside a key stays unless given.
        #[arg(long, value_name = "FILE")]
        sudo_password_file: Option<PathBuf>,
        /// Replace the login without trying the new one.
        #[arg(long)]
        no_test: bool,
    },
    /// Delete a server that holds no active environments. Its agent is told to retire.
    Delete {
        /// Its name or id.
        server: String,
        /// Though containers run on it.
        #[arg(long)]
        force: bool,
        /// Do it without asking.
        #[arg(long, short)]
        yes: bool,
    },
}

/// Which servers to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[arg(long, value_parser = ["pending", "running", "stopped", "error"])]
    status: Option<String>,
    /// A CEL expression over fields and facts, such as 'docker.version < version("24.0") && disk.free_gb < 20.0'
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    #[command(flatten)]
    page: Page,
    /// Show it again whenever something happens in the fleet.
    #[arg(long, short)]
    watch: bool,
}

/// What a server is.
#[derive(Debug, Default, Args)]
pub struct About {
    #[arg(long)]
    provider: Option<String>,
    #[arg(long)]
    region: Option<String>,
    #[arg(long)]
    cpu_cores: Option<f64>,
    #[arg(long)]
    memory_gb: Option<f64>,
    #[arg(long)]
    disk_gb: Option<f64>,
    /// How many environments it may hold.
    #[arg(long)]
    max_projects: Option<u32>,
}

impl About {
    fn given(&self) -> Vec<String> {
        let fields = [
            ("provider", self.provider.is_some()),
            ("region", self.region.is_some()),
            ("cpu_cores", self.cpu_cores.is_some()),
            ("memory_gb", self.memory_gb.is_some()),
            ("disk_gb", self.disk_gb.is_some()),
            ("max_projects", self.max_projects.is_some()),
        ];
        fields.into_iter().filter(|(_, given)| *given).map(|(name, _)| name.to_owned()).collect()
    }
}

impl ServersCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let server = match self {
            Self::List(args) => return list(args, fleet, output).await,
            Self::Reboot(args) => return args.run(Action::Reboot, fleet, output).await,
            Self::Stop(args) => return args.run(Action::Stop, fleet, output).await,
            Self::Start(args) => return args.run(Action::Start, fleet, output).await,
            Self::Stats { server } => return stats::show(server, fleet, output).await,
            Self::Show { server } => {
                fleet.get_server(wire::GetServerRequest { server, include_facts: false }).await?.into_inner()
            }
            Self::Create { name, about, connection, idempotency_key } => {
                let request = create(name, about, connection, idempotency_key)?;
                fleet.create_server(request).await?.into_inner()
            }
            Self::SetPassword { server, password_file, no_test } => {
                let ssh_password = secret(Some(password_file))?.unwrap_or_default();
                let test_connection = Some(!no_test);
                let request = wire::SetSshPasswordRequest { server, ssh_password, test_connection };
                fleet.set_ssh_password(request).await?.into_inner()
            }
            Self::SetKey { server, key_file, passphrase_file, key_pair, sudo_password_file, no_test } => {
                let request = wire::SetSshKeyRequest {
                    server,
                    ssh_private_key: secret(key_file)?.unwrap_or_default(),
                    ssh_key_passphrase: secret(passphrase_file)?.unwrap_or_default(),
                    ssh_key_pair_id: key_pair.unwrap_or_default(),
                    ssh_sudo_password: secret(sudo_password_file)?.unwrap_or_default(),
                    test_connection: Some(!no_test),
                };
                fleet.set_ssh_key(request).await?.into_inner()
            }
            Self::Update { server, name, about, connection } => {
                fleet.update_server(update(server, name, about, connection)?).await?.into_inner()
            }
            Self::Delete { server, force, yes } => {
                let running = if force { ", though containers run on it" } else { "" };
                ask::unless(yes, &format!("delete the server {server} and tell its agent to retire{running}"))?;
                fleet.delete_server(wire::DeleteServerRequest { server: server.clone(), force }).await?;
                let deleted = json!({ "server": server, "status": "deleted" });
                return output.print(&deleted, |_| format!("deleted {server}\n"));
            }
        };
        print_server(server, output)
    }
}

/// Prints one server.
///
/// # Errors
/// When nobody reads any more.
pub(super) fn print_server(server: wire::Server, output: &mut Output<'_>) -> Result<(), Failure> {
    let now_us = Clock::system().now_us();
    output.print(&Vm::from(server), |vm| draw_one(vm, now_us))
}

async fn list(args: ListArgs, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
    let request = wire::ListServersRequest {
        status: args.status.unwrap_or_default(),
        skip: args.page.skip,
        limit: args.page.limit,
        filter: args.filter.unwrap_or_default(),
    };
    if args.watch { watch_list(request, fleet, output).await } else { print_list(request, fleet, output).await }
}

async fn print_list(
    request: wire::ListServersRequest,
    fleet: &mut Fleet,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let servers = fleet.list_servers(request).await?.into_inner().servers;
    let vms: Vec<Vm> = servers.into_iter().map(Vm::from).collect();
    let now_us = Clock::system().now_us();
    output.print(vms.as_slice(), |vms| draw(vms, now_us))
}

/// Prints the list, and again after whatever happened in the fleet.
async fn watch_list(
    request: wire::ListServersRequest,
    fleet: &mut Fleet,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut watching = Watching::begin(fleet, &[]).await?;
    loop {
        watching.changed().await?;
        output.clear()?;
        print_list(request.clone(), fleet, output).await?;
    }
}

fn create(
    name: String,
    about: About,
    connection: ConnectionArgs,
    idempotency_key: Option<String>,
) -> Result<wire::CreateServerRequest, Failure> {
    Ok(wire::CreateServerRequest {
        name,
        provider: about.provider.unwrap_or_default(),
        region: about.region.unwrap_or_default(),
        connection: Some(connection.read()?.0),
        cpu_cores: about.cpu_cores.unwrap_or_default(),
        memory_gb: about.memory_gb.unwrap_or_default(),
        disk_gb: about.disk_gb.unwrap_or_default(),
        max_projects: about.max_projects.unwrap_or_default(),
        idempotency_key: idempotency_key.unwrap_or_default(),
    })
}

fn update(
    server: String,
    name: Option<String>,
    about: About,
    connection: ConnectionArgs,
) -> Result<wire::UpdateServerRequest, Failure> {
    let (connection, mut paths) = connection.read()?;
    paths.extend(about.given());
    paths.extend(name.is_some().then(|| "name".to_owned()));
    if paths.is_empty() {
        return Err(Failure::usage("nothing to change was given", "`muster servers update --help` lists the options"));
    }
    Ok(wire::UpdateServerRequest {
        server,
        name: name.unwrap_or_default(),
        provider: about.provider.unwrap_or_default(),
        region: about.region.unwrap_or_default(),
        connection: Some(connection),
        cpu_cores: about.cpu_cores.unwrap_or_default(),
        memory_gb: about.memory_gb.unwrap_or_default(),
        disk_gb: about.disk_gb.unwrap_or_default(),
        max_projects: about.max_projects.unwrap_or_default(),
        update_mask: Some(prost_types::FieldMask { paths }),
    })
}

fn draw(vms: &[Vm], now_us: i64) -> String {
    if vms.is_empty() {
        return "no servers yet: `muster join-tokens create` makes a line to paste on one\n".to_owned();
    }
    let header =
        ["NAME", "STATUS", "HEALTH", "ADDRESS", "SYSTEM", "DOCKER", "QUALIFICATION", "SCORE", "AGENT", "LAST SEEN"];
    let rows = vms.iter().map(|vm| {
        vec![
            vm.name.clone(),
            vm.status.clone(),
            vm.health_status.clone(),
            or_dash(vm.connection_host.as_deref()),
            system(vm),
            vm.docker_status.clone(),
            or_dash(vm.qualification_status.as_deref()),
            or_dash(vm.hardening_score.map(|score| score.to_string()).as_deref()),
            vm.agent_status.clone(),
            ago(vm.last_seen, now_us),
        ]
    });
    table::draw(&header, rows.collect())
}

fn system(vm: &Vm) -> String {
    match (&vm.os_type, &vm.os_version) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        (name, _) => or_dash(name.as_deref()),
    }
}

fn draw_one(vm: &Vm, now_us: i64) -> String {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let time = |value: Option<crate::api::model::time::Time>| {
        value.map(|time| format!("{time} ({})", ago(Some(time), now_us))).unwrap_or_default()
    };
    table::pairs(&[
        ("id", vm.id.clone()),
        ("name", vm.name.clone()),
        ("organization", vm.organization_name.clone()),
        ("provider", vm.provider.clone()),
        ("region", text(&vm.region)),
        ("status", vm.status.clone()),
        ("health", vm.health_status.clone()),
        ("health reason", text(&vm.health_reason)),
        ("health since", time(vm.health_since)),
        ("address", text(&vm.connection_host)),
        ("ssh user", text(&vm.ssh_username)),
        ("ssh port", vm.ssh_port.to_string()),
        ("ssh auth method", text(&vm.ssh_auth_method)),
        ("ssh key pair", text(&vm.ssh_key_pair_id)),
        ("ssh host key", text(&vm.ssh_host_key_fingerprint)),
        ("system", system(vm)),
        ("architecture", text(&vm.os_arch)),
        ("cpu cores", number(vm.cpu_cores)),
        ("memory gb", number(vm.memory_gb)),
        ("disk gb", number(vm.disk_gb)),
        ("docker", format!("{} {}", vm.docker_status, or_dash(vm.docker_version.as_deref()))),
        ("qualification", text(&vm.qualification_status)),
        ("last preflight", time(vm.last_preflight_check)),
        ("hardening score", vm.hardening_score.map(|score| format!("{score} of 100")).unwrap_or_default()),
        ("agent", format!("{} {}", vm.agent_status, or_dash(vm.agent_version.as_deref()))),
        ("last seen", time(vm.last_seen)),
        ("facts collected", time(vm.facts_collected_at)),
        ("created", time(vm.created_at)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::time::Time;

    const NOW_US: i64 = 1_736_937_000_000_000;

    fn vm() -> Vm {
        Vm {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
            name: "production-server-1".into(),
            organization_id: "01890a5d-ac96-774b-bcce-b302099a8058".into(),
            organization_name: "Acme Corp".into(),
            provider: "custom".into(),
            region: Some("Frankfurt".into()),
            status: "running".into(),
            health_status: "healthy".into(),
            connection_host: Some("203.0.113.10".into()),
            connection_host_type: "auto".into(),
            ssh_port: 22,
            ssh_username: Some("root".into()),
            ssh_auth_method: Some("ssh_key".into()),
            ssh_sudo_mode: "auto".into(),
            cpu_cores: Some(4.0),
            memory_gb: Some(8.3),
            disk_gb: Some(160.0),
            os_type: Some("Debian GNU/Linux".into()),
            os_version: Some("12".into()),
            docker_status: "running".into(),
            docker_version: Some("24.0.7".into()),
            qualification_status: Some("qualified".into()),
            hardening_score: Some(71),
            agent_status: "online".into(),
            agent_version: Some("0.1.0".into()),
            last_seen: Some(Time(NOW_US - 2_000_000)),
            created_at: Some(Time(NOW_US - 86_400_000_000 * 5)),
            ..Vm::default()
        }
    }

    fn waiting() -> Vm {
        Vm { name: "web\u{1b}[2J".into(), status: "pending".into(), ..Vm::default() }
    }

    #[test]
    fn a_list_is_a_table() {
        insta::assert_snapshot!(draw(&[vm(), waiting()], NOW_US));
    }

    #[test]
    fn one_server_is_shown_in_pairs() {
        insta::assert_snapshot!(draw_one(&vm(), NOW_US));
    }

    #[test]
    fn json_has_the_names_of_the_rest_api() {
        insta::assert_json_snapshot!(vec![vm()]);
    }

    #[test]
    fn an_update_names_what_it_changes() {
        let about = About { cpu_cores: Some(8.0), ..About::default() };
        let connection = ConnectionArgs { ssh_port: Some(2222), ..ConnectionArgs::default() };
        let request = update("web-1".into(), Some("web-2".into()), about, connection).expect("something to change");
        assert_eq!(request.update_mask.expect("a mask").paths, ["connection.ssh_port", "cpu_cores", "name"]);
        let nothing = update("web-1".into(), None, About::default(), ConnectionArgs::default());
        assert_eq!(nothing.expect_err("nothing to change").exit_code, 2);
    }
}
