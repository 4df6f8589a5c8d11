//! The command line, and the owner's settings file. Both are judged whole before anything starts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand};
use muster_shared::{policy::Family, tls::CaPin};
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use crate::{login::LoginArgs, probe::ProbeArgs, spool, state::DEFAULT_STATE_DIR};

/// Samples this host and runs the commands its owner allows.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join a control plane with a token, and start at boot from then on.
    Join(JoinArgs),
    /// Run both roles without an init system, and start them again should they end.
    Run(StateArgs),
    /// The unprivileged role: sample, and hold the stream to the control plane.
    Link(RoleArgs),
    /// The privileged role: run signed commands that this host's policy allows.
    Executor(RoleArgs),
    /// Look at this host once and print what was found.
    Probe(ProbeArgs),
    /// Take back changes that nobody has confirmed in time.
    #[command(hide = true)]
    Revert(RevertArgs),
    /// Change how this host is entered over SSH.
    #[command(hide = true)]
    Login(LoginArgs),
    /// Wait, then become another program.
    #[command(hide = true)]
    After(AfterArgs),
    /// Stop the agent and remove everything it has put on this host.
    Uninstall(StateArgs),
}

#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    /// The control plane's address: https://host:port.
    #[arg(long)]
    pub url: String,
    /// The join token. Rather give it in the environment or in a file: arguments are visible to every user.
    #[arg(long, env = "MUSTER_JOIN_TOKEN", hide_env_values = true, conflicts_with = "token_file")]
    pub token: Option<String>,
    /// A file whose first line is the join token; `-` is the standard input.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// SHA-256 of the control plane's CA certificate, 64 hexadecimal digits.
    #[arg(long, value_name = "HASH")]
    pub ca_sha256: CaPin,
    #[command(flatten)]
    pub state: StateArgs,
    /// What the control plane may ask of this host: observe, fix, secure, power, update.
    #[arg(long, value_name = "FAMILY", value_delimiter = ',')]
    pub allow: Vec<Family>,
    /// Install and start nothing; only join.
    #[arg(long, env = "MUSTER_NO_SERVICE", value_parser = clap::builder::BoolishValueParser::new())]
    pub no_service: bool,
    /// Join even if this host has joined before; it keeps its place in the fleet.
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Clone, Args)]
pub struct StateArgs {
    /// Where identity, journal and spool are kept.
    #[arg(long, value_name = "DIR", env = "MUSTER_STATE_DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct RoleArgs {
    #[command(flatten)]
    pub state: StateArgs,
    /// The supervisor's process; without it this one ends.
    #[arg(long, hide = true)]
    pub parent: Option<u32>,
}

#[derive(Debug, Clone, Args)]
pub struct RevertArgs {
    #[command(flatten)]
    pub state: StateArgs,
    /// Go on until no change is left that could have to be taken back.
    #[arg(long)]
    pub watch: bool,
}

#[derive(Debug, Clone, Args)]
pub struct AfterArgs {
    #[arg(long)]
    pub milliseconds: u64,
    #[arg(last = true, required = true)]
    pub program: Vec<String>,
}

/// The owner's settings: `agent.toml` beside the policy. Every one has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    pub log: LevelFilter,
    pub spool: spool::Limits,
}

/// Settings that are not understood.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{} can't be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: {detail}", path.display())]
    Invalid { path: PathBuf, detail: String },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigFile {
    log: Option<String>,
    spool: SpoolSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SpoolSection {
    max_bytes: Option<u64>,
    max_seconds: Option<u64>,
}

const TOP_LEVEL: [&str; 2] = ["log", "spool"];
const SPOOL: [&str; 2] = ["max_bytes", "max_seconds"];
/// Less could not hold what a minute brings.
const MIN_SPOOL_BYTES: u64 = 1 << 20;

impl AgentConfig {
    /// Reads the settings file; a missing one means the defaults.
    ///
    /// # Errors
    /// [`ConfigError`] names the first thing that is not understood.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|detail| ConfigError::Invalid { path: path.to_owned(), detail }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::parse("").map_err(|detail| ConfigError::Invalid { path: path.to_owned(), detail })
            }
            Err(source) => Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
        refuse_unknown(&table, "", &TOP_LEVEL)?;
        if let Some(toml::Value::Table(spool)) = table.get("spool") {
            refuse_unknown(spool, "spool.", &SPOOL)?;
        }
        let file: ConfigFile = table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let level = file.log.as_deref().unwrap_or("info");
        let log =
            level.parse().map_err(|_| format!("log = {level:?} is none of error, warn, info, debug, trace, off"))?;
        let defaults = spool::Limits::default();
        let max_bytes = file.spool.max_bytes.unwrap_or(defaults.max_bytes);
        if max_bytes < MIN_SPOOL_BYTES {
            return Err(format!("spool.max_bytes must be at least {MIN_SPOOL_BYTES}"));
        }
        let max_ticks = file.spool.max_seconds.unwrap_or(defaults.max_ticks);
        Ok(Self { log, spool: spool::Limits { max_bytes, max_ticks, ..defaults } })
    }
}

fn refuse_unknown(table: &toml::Table, prefix: &str, known: &[&str]) -> Result<(), String> {
    let Some(unknown) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let nearest = known.iter().max_by(|a, b| strsim::jaro(a, unknown).total_cmp(&strsim::jaro(b, unknown)));
    let nearest = nearest.copied().unwrap_or_default();
    Err(format!("there is no setting {prefix}{unknown}; the nearest is {prefix}{nearest}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_are_read_and_unknown_ones_refused_with_the_nearest() {
        let config = AgentConfig::parse("log = \"debug\"\n[spool]\nmax_bytes = 2000000").expect("fine");
        assert_eq!((config.log, config.spool.max_bytes), (LevelFilter::DEBUG, 2_000_000));
        assert_eq!(AgentConfig::parse("").expect("defaults").spool, spool::Limits::default());
        let detail = AgentConfig::parse("[spool]\nmax_byte = 1").expect_err("unknown");
        assert_eq!(detail, "there is no setting spool.max_byte; the nearest is spool.max_bytes");
        for wrong in ["log = \"loud\"", "log = 3", "[spool]\nmax_bytes = 5", "spool = 1", "="] {
            AgentConfig::parse(wrong).expect_err(wrong);
        }
    }
}
