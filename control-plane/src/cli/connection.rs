//! How a server is reached over SSH, as arguments. Secrets come from files, so that neither the process list nor a
//! shell's history holds them.

use std::{io::Read as _, path::PathBuf};

use clap::Args;
use muster_shared::wire;
use serde_json::Value;

use super::{
    client::Fleet,
    failure::Failure,
    output::Output,
    table::{self, or_dash},
};
use crate::api::model::connection::ConnectionTested;

/// Most bytes of a secret read from standard input.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Addresses and login of a server.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    #[arg(long, value_name = "ADDRESS")]
    pub ipv4_address: Option<String>,
    #[arg(long, value_name = "ADDRESS")]
    pub ipv6_address: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub fqdn: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Which of the addresses to use.
    #[arg(long, value_parser = ["auto", "ipv4", "ipv6", "fqdn", "hostname"])]
    pub connection_host_type: Option<String>,
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub ssh_port: Option<u16>,
    #[arg(long, value_name = "USER")]
    pub ssh_username: Option<String>,
    #[arg(long, value_parser = ["password", "ssh_key"])]
    pub ssh_auth_method: Option<String>,
    /// A file with the login's password.
    #[arg(long, value_name = "FILE")]
    pub ssh_password_file: Option<PathBuf>,
    /// A file with the private key: OpenSSH, PKCS#1 or PKCS#8.
    #[arg(long, value_name = "FILE")]
    pub ssh_private_key_file: Option<PathBuf>,
    /// A file with the private key's passphrase.
    #[arg(long, value_name = "FILE")]
    pub ssh_key_passphrase_file: Option<PathBuf>,
    /// The id of one of the organisation's key pairs, instead of a private key or password.
    #[arg(long, value_name = "ID", conflicts_with_all = ["ssh_private_key_file", "ssh_password_file"])]
    pub ssh_key_pair_id: Option<String>,
    /// A file with the password sudo asks for, where it differs from the login's.
    #[arg(long, value_name = "FILE")]
    pub ssh_sudo_password_file: Option<PathBuf>,
    #[arg(long, value_parser = ["auto", "none", "sudo"])]
    pub ssh_sudo_mode: Option<String>,
    /// The host key to expect, as `ssh-keygen -lf` prints it; another one is refused.
    #[arg(long, value_name = "SHA256:…")]
    pub ssh_host_key_fingerprint: Option<String>,
}

impl ConnectionArgs {
    /// The message, and the names of the fields that were given.
    ///
    /// # Errors
    /// When a secret's file can't be read.
    pub fn read(self) -> Result<(wire::Connection, Vec<String>), Failure> {
        let mut given = Vec::new();
        let mut text = |name: &str, value: Option<String>| {
            given.extend(value.is_some().then(|| format!("connection.{name}")));
            value.unwrap_or_default()
        };
        let mut connection = wire::Connection {
            ipv4_address: text("ipv4_address", self.ipv4_address),
            ipv6_address: text("ipv6_address", self.ipv6_address),
            fqdn: text("fqdn", self.fqdn),
            hostname: text("hostname", self.hostname),
            connection_host_type: text("connection_host_type", self.connection_host_type),
            ssh_port: 0,
            ssh_username: text("ssh_username", self.ssh_username),
            ssh_auth_method: text("ssh_auth_method", self.ssh_auth_method),
            ssh_password: text("ssh_password", secret(self.ssh_password_file)?),
            ssh_private_key: text("ssh_private_key", secret(self.ssh_private_key_file)?),
            ssh_key_passphrase: text("ssh_key_passphrase", secret(self.ssh_key_passphrase_file)?),
            ssh_sudo_password: text("ssh_sudo_password", secret(self.ssh_sudo_password_file)?),
            ssh_sudo_mode: text("ssh_sudo_mode", self.ssh_sudo_mode),
            ssh_host_key_fingerprint: text("ssh_host_key_fingerprint", self.ssh_host_key_fingerprint),
            ssh_key_pair_id: text("ssh_key_pair_id", self.ssh_key_pair_id),
        };
        if let Some(port) = self.ssh_port {
            connection.ssh_port = port.into();
            given.push("connection.ssh_port".to_owned());
        }
        Ok((connection, given))
    }
}

/// The secret in a file; `-` is standard input.
///
/// # Errors
/// When it can't be read.
pub(super) fn secret(path: Option<PathBuf>) -> Result<Option<String>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let read = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin().take(MAX_SECRET_BYTES))
    } else {
        std::fs::read_to_string(&path)
    };
    let text = read.map_err(|error| {
        let message = format!("{} can't be read: {error}", path.display());
        Failure::usage(message, "name a file that you may read, or - for standard input")
    })?;
    // A key keeps its last newline; a password's is the editor's.
    let text = if text.starts_with("-----BEGIN") { text } else { text.trim_end_matches(['\r', '\n']).to_owned() };
    Ok(Some(text))
}

/// Whom to log in to.
#[derive(Debug, Args)]
pub struct TestConnection {
    /// A saved server's name or id; without it, the connection given by the options.
    pub server: Option<String>,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

impl TestConnection {
    /// Tests and prints what was found.
    ///
    /// # Errors
    /// Also when the test ran and failed.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        use wire::test_connection_request::Target;
        let (connection, given) = self.connection.read()?;
        let target = match self.server {
            Some(_) if !given.is_empty() => {
                let next_step = "change the saved server with `muster servers update`, or leave the name out";
                return Err(Failure::usage("give a saved server or a connection, not both", next_step));
            }
            Some(server) => Target::Server(server),
            None => Target::Connection(connection),
        };
        let request = wire::TestConnectionRequest { target: Some(target) };
        let tested = ConnectionTested::from(fleet.test_connection(request).await?.into_inner());
        output.print(&tested, draw)?;
        if tested.status == "success" {
            return Ok(());
        }
        let remedy = tested.remedy.unwrap_or_else(|| "check address, port and login".to_owned());
        Err(Failure::ended_badly("the connection test failed", remedy))
    }
}

fn draw(tested: &ConnectionTested) -> String {
    let mut pairs = vec![
        ("status", tested.status.clone()),
        ("message", tested.message.clone()),
        ("remedy", tested.remedy.clone().unwrap_or_default()),
        ("host key", tested.host_key_fingerprint.clone().unwrap_or_default()),
        ("expected host key", tested.expected_host_key_fingerprint.clone().unwrap_or_default()),
    ];
    if let Some(detected) = &tested.detected {
        let number = |value: Option<f64>| value.map(|value| Value::from(value).to_string()).unwrap_or_default();
        pairs.extend([
            ("hostname", detected.hostname.clone()),
            ("system", format!("{} {}", detected.os_type, detected.os_version)),
            ("cpu cores", number(detected.cpu_cores)),
            ("memory gb", number(detected.memory_gb)),
            ("disk gb", number(detected.disk_gb)),
            ("docker", format!("{} {}", detected.docker_status, or_dash(detected.docker_version.as_deref()))),
            ("root", if detected.is_root { "yes" } else { "no" }.to_owned()),
            ("sudo available", if detected.sudo_available { "yes" } else { "no" }.to_owned()),
            ("sudo mode", detected.ssh_sudo_mode.clone()),
        ]);
    }
    table::pairs(&pairs)
}
