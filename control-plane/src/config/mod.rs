//! Everything `muster serve` can be told, parsed in full before anything binds or opens.
//!
//! A setting has one name: `--agent-listen` on the command line, `MUSTER_AGENT_LISTEN` in the environment and
//! `agent_listen` in `DIR/muster.toml`. Flags win over the environment, the environment over the file, the file over the
//! default. A name nobody knows is refused with the nearest one that exists.

mod file;
mod layers;
mod metric_store;
mod oidc;
mod remote_write;
mod value;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use layers::{Layers, ServeFlags};
pub use metric_store::MetricStoreSettings;
pub use oidc::{Joins, OidcSettings};
pub use value::{LogFormat, PublicUrl, TrustDomain};

use crate::{
    access::SessionLife, api_tokens, metrics::remote_write::Destination, retention::Kept, store::DatabaseUrl,
    users::Cost,
};

/// Where the control plane listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "0.0.0.0:8443";
/// Where its data lies unless told otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/muster";
/// The trust domain of server identities unless told otherwise.
pub const DEFAULT_TRUST_DOMAIN: &str = "muster.internal";
/// How long an agent's certificate lives unless told otherwise.
pub const DEFAULT_AGENT_CERTIFICATE_TTL: Duration = Duration::from_secs(24 * 3600);
/// The shortest life of an agent's certificate that still leaves time to renew it.
pub const MIN_AGENT_CERTIFICATE_TTL: Duration = Duration::from_secs(2);
/// The longest life of an agent's certificate.
pub const MAX_AGENT_CERTIFICATE_TTL: Duration = Duration::from_secs(90 * 24 * 3600);

/// The shortest and longest that samples may be kept.
pub const MIN_RETENTION: Duration = Duration::from_secs(60);
pub const MAX_RETENTION: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How often samples that are due are sealed into blocks, unless told otherwise.
pub const DEFAULT_SEAL_INTERVAL: Duration = Duration::from_secs(30);
/// The least and most of it: an hour is sealed at once, and what is not sealed is slower to read.
pub const MIN_SEAL_INTERVAL: Duration = Duration::from_secs(1);
pub const MAX_SEAL_INTERVAL: Duration = Duration::from_secs(3600);

/// The shortest and longest a browser's session may last, used or not: what is stored of its use is up to a minute old.
pub const MIN_SESSION_LIFE: Duration = Duration::from_secs(5 * 60);
pub const MAX_SESSION_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// The file of settings in the data directory.
pub const FILE_NAME: &str = "muster.toml";

/// The control plane's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Database, key ring, CA certificate and the owner's token lie here.
    pub data_dir: PathBuf,
    /// The TLS port.
    pub listen: SocketAddr,
    /// Plain HTTP for a reverse proxy on the same machine.
    pub http_listen: Option<SocketAddr>,
    /// A port of their own for agents; then `listen` serves everyone else only.
    pub agent_listen: Option<SocketAddr>,
    pub database_url: DatabaseUrl,
    pub trust_domain: TrustDomain,
    /// How others reach this control plane: in join lines, in agents' endpoints and in the public certificate.
    pub public_url: Option<PublicUrl>,
    pub log_format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or `target=level` pairs.
    pub log_level: String,
    /// Where the agent's binaries lie: `muster-agent` for this machine's architecture, `muster-agent-<arch>` for others.
    pub agent_dir: PathBuf,
    /// Whether addresses in private ranges may be dialled for callers.
    pub allow_private_addresses: bool,
    /// Whether addresses of this machine itself may be dialled for callers: for trying things out.
    pub allow_loopback_addresses: bool,
    pub agent_certificate_ttl: Duration,
    /// How long samples are kept at most; organisations may set less.
    pub kept: Kept,
    pub seal_interval: Duration,
    pub session_life: SessionLife,
    pub api_token_max_ttl: Duration,
    /// Signing in through an OpenID provider, where one is set up.
    pub oidc: Option<OidcSettings>,
    /// Where samples are written to as well.
    pub remote_write: Option<Destination>,
    /// The engine that keeps samples, where it is not the database.
    pub metric_store: Option<MetricStoreSettings>,
    /// What making and trying a password costs. No setting: less would be too little.
    pub password_cost: Cost,
    /// TLS connections served at once.
    pub max_connections: usize,
}

/// A setting that can't be used. Its text never repeats a value that may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    #[error("unknown setting {name:?} in {place}{}", nearest.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    Unknown { name: String, place: String, nearest: Option<String> },
    #[error("{place}: {name} is not acceptable: {reason}")]
    Value { name: &'static str, place: String, reason: String },
    #[error("{path} can't be read: {reason}")]
    File { path: String, reason: String },
}

impl Config {
    /// Puts the layers together and parses every setting.
    ///
    /// # Errors
    /// The first setting that is unknown or unusable.
    pub fn resolve(layers: &Layers) -> Result<Self, InvalidConfig> {
        let data_dir = PathBuf::from(layers.text("data_dir").unwrap_or(DEFAULT_DATA_DIR));
        let public_url = layers.parse("public_url", PublicUrl::parse)?;
        let config = Self {
            oidc: OidcSettings::resolve(layers, public_url.as_ref())?,
            listen: layers.parse("listen", value::socket_address)?.map_or_else(default_listen, Ok)?,
            http_listen: layers.parse("http_listen", value::socket_address)?,
            agent_listen: layers.parse("agent_listen", value::socket_address)?,
            database_url: layers
                .parse("database_url", value::database_url)?
                .unwrap_or_else(|| DatabaseUrl::sqlite_in(&data_dir)),
            trust_domain: layers.parse("trust_domain", TrustDomain::parse)?.unwrap_or_default(),
            public_url,
            log_format: layers.parse("log_format", LogFormat::parse)?.unwrap_or_default(),
            log_level: layers.parse("log_level", value::log_level)?.unwrap_or_else(|| "info".to_owned()),
            agent_dir: layers.text("agent_dir").map_or_else(beside_this_program, PathBuf::from),
            allow_private_addresses: layers.parse("allow_private_addresses", value::boolean)?.unwrap_or(true),
            allow_loopback_addresses: layers.parse("allow_loopback_addresses", value::boolean)?.unwrap_or(false),
            agent_certificate_ttl: layers
                .parse("agent_certificate_ttl", |text| {
                    value::duration_between(text, MIN_AGENT_CERTIFICATE_TTL, MAX_AGENT_CERTIFICATE_TTL)
                })?
                .unwrap_or(DEFAULT_AGENT_CERTIFICATE_TTL),
            kept: kept(layers)?,
            seal_interval: layers
                .parse("seal_interval", |text| value::duration_between(text, MIN_SEAL_INTERVAL, MAX_SEAL_INTERVAL))?
                .unwrap_or(DEFAULT_SEAL_INTERVAL),
            session_life: session_life(layers)?,
            api_token_max_ttl: layers
                .parse("api_token_max_ttl", |text| {
                    let min = Duration::from_secs(api_tokens::MIN_TTL_SECONDS);
                    value::duration_between(text, min, Duration::from_secs(api_tokens::MAX_TTL_SECONDS))
                })?
                .unwrap_or(api_tokens::DEFAULT_TTL),
            remote_write: remote_write::resolve(layers)?,
            metric_store: MetricStoreSettings::resolve(layers)?,
            password_cost: Cost::default(),
            max_connections: layers
                .parse("max_connections", value::positive)?
                .unwrap_or(crate::edge::limits::MAX_CONNECTIONS),
            data_dir,
        };
        Ok(config)
    }
}

impl Config {
    /// What agents shall dial, where a public URL is configured: the port is the one that serves them.
    #[must_use]
    pub fn agent_url(&self) -> Option<String> {
        let url = self.public_url.as_ref()?;
        Some(self.agent_listen.map_or_else(|| url.to_string(), |address| url.with_port(address.port()).to_string()))
    }
}

fn missing(name: &'static str, reason: &str) -> InvalidConfig {
    InvalidConfig::Value { name, place: "the settings".to_owned(), reason: reason.to_owned() }
}

fn kept(layers: &Layers) -> Result<Kept, InvalidConfig> {
    let parse = |text: &str| value::duration_between(text, MIN_RETENTION, MAX_RETENTION);
    let Kept { raw, minutes, hours } = Kept::default();
    Ok(Kept {
        raw: layers.parse("frame_retention", parse)?.unwrap_or(raw),
        minutes: layers.parse("minute_retention", parse)?.unwrap_or(minutes),
        hours: layers.parse("hour_retention", parse)?.unwrap_or(hours),
    })
}

fn session_life(layers: &Layers) -> Result<SessionLife, InvalidConfig> {
    let parse = |text: &str| value::duration_between(text, MIN_SESSION_LIFE, MAX_SESSION_LIFE);
    let SessionLife { idle, whole } = SessionLife::default();
    Ok(SessionLife {
        idle: layers.parse("session_idle_timeout", parse)?.unwrap_or(idle),
        whole: layers.parse("session_lifetime", parse)?.unwrap_or(whole),
    })
}

fn default_listen() -> Result<SocketAddr, InvalidConfig> {
    value::socket_address(DEFAULT_LISTEN).map_err(|reason| InvalidConfig::Value {
        name: "listen",
        place: "the default".to_owned(),
        reason,
    })
}

fn beside_this_program() -> PathBuf {
    std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from)).unwrap_or_else(|| PathBuf::from("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(flags: &[(&str, &str)], environment: &[(&str, &str)], file: &str) -> Result<Layers, InvalidConfig> {
        let flags = ServeFlags::from_pairs(flags);
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Layers::assemble(flags, environment, |_| Ok(Some(file.to_owned())))
    }

    #[test]
    fn flags_win_over_environment_over_file_over_default() {
        let file = "listen = \"127.0.0.1:1\"\nhttp_listen = \"127.0.0.1:2\"\nlog_format = \"json\"\n";
        let environment = [("MUSTER_LISTEN", "127.0.0.1:3"), ("MUSTER_HTTP_LISTEN", "127.0.0.1:4"), ("PATH", "/bin")];
        let layers = layers(&[("listen", "127.0.0.1:5")], &environment, file).expect("known names");
        let config = Config::resolve(&layers).expect("valid settings");
        assert_eq!(config.listen.port(), 5);
        assert_eq!(config.http_listen.expect("set").port(), 4);
        assert_eq!(config.log_format, LogFormat::Json);
        assert_eq!(config.trust_domain.as_str(), DEFAULT_TRUST_DOMAIN);
        assert_eq!(config.database_url, DatabaseUrl::sqlite_in("/var/lib/muster".as_ref()));
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        let nearest = |error: InvalidConfig| match error {
            InvalidConfig::Unknown { nearest, .. } => nearest,
            other => panic!("{other}"),
        };
        let error = layers(&[], &[("MUSTER_LISTNE", "x")], "").expect_err("unknown");
        assert_eq!(nearest(error).as_deref(), Some("MUSTER_LISTEN"));
        let error = layers(&[], &[], "trust-domian = 'x'").expect_err("unknown");
        assert_eq!(nearest(error).as_deref(), Some("trust_domain"));
        assert!(layers(&[], &[("MUSTER_TOKEN", "x"), ("MUSTER_URL", "y")], "").is_ok());
    }

    #[test]
    fn a_bad_value_names_its_setting_and_where_it_stands() {
        let layers = layers(&[], &[], "listen = \"nowhere\"").expect("known names");
        let error = Config::resolve(&layers).expect_err("not an address").to_string();
        assert!(error.contains("listen") && error.contains("muster.toml"), "{error}");
    }

    #[test]
    fn the_file_takes_numbers_and_booleans() {
        let layers = layers(&[], &[], "allow_private_addresses = false\nmax_connections = 9\n").expect("known names");
        let config = Config::resolve(&layers).expect("valid settings");
        assert!(!config.allow_private_addresses && !config.allow_loopback_addresses);
        assert_eq!(config.max_connections, 9);
    }

    #[test]
    fn a_database_password_stays_out_of_errors() {
        let layers = layers(&[("database_url", "postgres://u:hunter2@h/d"), ("listen", "x")], &[], "").expect("known");
        assert!(!Config::resolve(&layers).expect_err("bad listen").to_string().contains("hunter2"));
    }
}
