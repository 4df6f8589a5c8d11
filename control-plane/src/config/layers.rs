//! The three places settings come from, and which of them wins.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Config, DEFAULT_DATA_DIR, FILE_NAME, InvalidConfig};

const PREFIX: &str = "MUSTER_";
/// Names the admin commands read from the same environment.
const ADMIN_NAMES: [&str; 4] = ["MUSTER_URL", "MUSTER_TOKEN", "MUSTER_TOKEN_FILE", "MUSTER_CA_SHA256"];
/// How alike two names must be before one is suggested for the other.
const NEAREST_SIMILARITY: f64 = 0.7;

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $value:literal;)*) => {
        /// Every setting's name.
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// The settings as flags of `muster serve`; all optional, since the environment or the file may have them.
        #[derive(Debug, Clone, Default, clap::Args)]
        pub struct ServeFlags {
            $($(#[$doc])* #[arg(long, value_name = $value)] $name: Option<String>,)*
        }

        impl ServeFlags {
            fn into_layer(self) -> BTreeMap<&'static str, (String, String)> {
                let mut layer = BTreeMap::new();
                $(if let Some(value) = self.$name {
                    layer.insert(stringify!($name), (value, flag_name(stringify!($name))));
                })*
                layer
            }

            #[cfg(test)]
            pub(super) fn from_pairs(pairs: &[(&str, &str)]) -> Self {
                let value = |wanted: &str| {
                    pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
                };
                Self { $($name: value(stringify!($name)),)* }
            }
        }
    };
}

settings! {
    /// Where database, key ring, CA certificate and tokens lie [default: /var/lib/muster]
    data_dir: "DIR";
    /// Address and port of the TLS listener [default: 0.0.0.0:8443]
    listen: "ADDR";
    /// Serve plain HTTP here, for a reverse proxy on the same machine
    http_listen: "ADDR";
    /// Serve agents here instead of on the TLS listener
    agent_listen: "ADDR";
    /// postgres://… or a path for SQLite [default: DIR/muster.db]
    database_url: "URL";
    /// Trust domain of server identities [default: muster.internal]
    trust_domain: "NAME";
    /// How others reach this control plane, such as https://fleet.example.com:8443
    public_url: "URL";
    /// text or json [default: text]
    log_format: "FORMAT";
    /// error, warn, info, debug or trace [default: info]
    log_level: "LEVEL";
    /// Where the agent binaries to serve lie [default: beside this program]
    agent_dir: "DIR";
    /// Whether callers may name addresses in private ranges [default: true]
    allow_private_addresses: "BOOL";
    /// Whether callers may name addresses of this machine itself [default: false]
    allow_loopback_addresses: "BOOL";
    /// How long an agent's certificate lives, such as 24h [default: 24h]
    agent_certificate_ttl: "DURATION";
    /// How long raw samples are kept at most, such as 7d [default: 7d]
    frame_retention: "DURATION";
    /// How long their minutes are kept at most, such as 90d [default: 90d]
    minute_retention: "DURATION";
    /// How long their hours are kept at most, such as 730d [default: 730d]
    hour_retention: "DURATION";
    /// How often samples whose hour is over go into blocks, such as 30s [default: 30s]
    seal_interval: "DURATION";
    /// How long a browser's session may lie unused, such as 1h [default: 1h]
    session_idle_timeout: "DURATION";
    /// How long a browser's session lasts at most, such as 24h [default: 24h]
    session_lifetime: "DURATION";
    /// How long an API token may live at most, such as 90d [default: 90d]
    api_token_max_ttl: "DURATION";
    /// Sign in through this OpenID provider, such as https://id.example.com
    oidc_issuer: "URL";
    /// What the control plane is called there
    oidc_client_id: "ID";
    /// The file with the secret that proves it there
    oidc_client_secret_file: "FILE";
    /// What is asked for there [default: openid email]
    oidc_scopes: "LIST";
    /// Domains of the e-mail addresses let in [default: all]
    oidc_allowed_domains: "LIST";
    /// Organization that whoever is unknown here becomes a member of [default: none, they are refused]
    oidc_join_organization: "ID";
    /// What they become there [default: member]
    oidc_join_role: "ROLE";
    /// Authorities in PEM that the provider's certificate may come from, beside the public ones
    oidc_ca_file: "FILE";
    /// Write every stored sample to this Prometheus-compatible engine, too, such as http://prometheus:9090/api/v1/write
    remote_write_url: "URL";
    /// The file with the bearer token that goes with it
    remote_write_bearer_token_file: "FILE";
    /// More headers that go with it, such as X-Scope-OrgID=fleet
    remote_write_headers: "LIST";
    /// Authorities in PEM that the engine's certificate may come from, beside the public ones
    remote_write_ca_file: "FILE";
    /// Keep samples in this Prometheus-compatible engine, such as http://victoria:8428 [default: the database]
    metric_store_url: "URL";
    /// Where it takes samples [default: /api/v1/write below metric_store_url]
    metric_store_write_url: "URL";
    /// The file with the bearer token for it
    metric_store_bearer_token_file: "FILE";
    /// More headers for it, such as X-Scope-OrgID=fleet
    metric_store_headers: "LIST";
    /// Authorities in PEM that its certificate may come from, beside the public ones
    metric_store_ca_file: "FILE";
    /// TLS connections served at once [default: 16384]
    max_connections: "NUMBER";
}

/// Settings as texts, each with the place it came from.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    values: BTreeMap<&'static str, (String, String)>,
}

impl Layers {
    /// Reads the environment and the data directory's file, and puts `flags` on top.
    ///
    /// # Errors
    /// Unknown names; a file that can't be read or is no TOML.
    pub fn read(flags: ServeFlags) -> Result<Self, InvalidConfig> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
        Self::assemble(flags, environment, read_file)
    }

    /// The same with its outside given; `read_file` answers `None` for a file that isn't there.
    pub(super) fn assemble(
        flags: ServeFlags,
        environment: impl Iterator<Item = (String, String)>,
        read_file: impl Fn(&Path) -> Result<Option<String>, InvalidConfig>,
    ) -> Result<Self, InvalidConfig> {
        let flags = flags.into_layer();
        let environment = environment_layer(environment)?;
        let data_dir = flags.get("data_dir").or_else(|| environment.get("data_dir"));
        let data_dir = PathBuf::from(data_dir.map_or(DEFAULT_DATA_DIR, |(value, _)| value.as_str()));
        let path = data_dir.join(FILE_NAME);
        let mut values = match read_file(&path)? {
            Some(text) => file_layer(&path, &text)?,
            None => BTreeMap::new(),
        };
        values.extend(environment);
        values.extend(flags);
        Ok(Self { values })
    }

    /// A setting's text, if any layer has it.
    pub(super) fn text(&self, name: &'static str) -> Option<&str> {
        self.values.get(name).map(|(value, _)| value.as_str())
    }

    /// A setting, parsed; the error says where the bad value stands.
    pub(super) fn parse<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, InvalidConfig> {
        let Some((value, place)) = self.values.get(name) else { return Ok(None) };
        parse(value).map(Some).map_err(|reason| InvalidConfig::Value { name, place: place.clone(), reason })
    }
}

impl Config {
    /// The settings from `flags`, the process's environment and the data directory's file.
    ///
    /// # Errors
    /// As [`Layers::read`] and [`Config::resolve`].
    pub fn load(flags: ServeFlags) -> Result<Self, InvalidConfig> {
        Self::resolve(&Layers::read(flags)?)
    }
}

fn flag_name(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

fn environment_name(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase())
}

fn environment_layer(
    environment: impl Iterator<Item = (String, String)>,
) -> Result<BTreeMap<&'static str, (String, String)>, InvalidConfig> {
    let mut layer = BTreeMap::new();
    for (variable, value) in environment {
        if !variable.starts_with(PREFIX) || ADMIN_NAMES.contains(&variable.as_str()) {
            continue;
        }
        match NAMES.iter().find(|name| environment_name(name) == variable) {
            Some(name) => {
                layer.insert(*name, (value, format!("{variable} in the environment")));
            }
            None => return Err(unknown(&variable, "the environment".to_owned(), environment_name)),
        }
    }
    Ok(layer)
}

fn read_file(path: &Path) -> Result<Option<String>, InvalidConfig> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(InvalidConfig::File { path: path.display().to_string(), reason: error.to_string() }),
    }
}

fn file_layer(path: &Path, text: &str) -> Result<BTreeMap<&'static str, (String, String)>, InvalidConfig> {
    let place = path.display().to_string();
    // The parser's own message quotes the line, which may hold a password; its position is enough.
    let table: toml::Table = toml::from_str(text).map_err(|error: toml::de::Error| InvalidConfig::File {
        path: place.clone(),
        reason: format!("{} (at byte {})", error.message(), error.span().map_or(0, |span| span.start)),
    })?;
    let mut layer = BTreeMap::new();
    for (key, value) in table {
        let Some(name) = NAMES.iter().find(|name| **name == key) else {
            return Err(unknown(&key, place, str::to_owned));
        };
        let refused = |reason: &str| InvalidConfig::Value { name, place: place.clone(), reason: reason.to_owned() };
        if *name == "data_dir" {
            return Err(refused("it can't be set in a file that lies in it"));
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(truth) => truth.to_string(),
            _ => return Err(refused("expected a text, a whole number or a truth value")),
        };
        layer.insert(*name, (text, place.clone()));
    }
    Ok(layer)
}

fn unknown(name: &str, place: String, spelled: impl Fn(&str) -> String) -> InvalidConfig {
    let nearest = NAMES
        .iter()
        .map(|known| spelled(known))
        .map(|known| (strsim::jaro_winkler(&known, name), known))
        .filter(|(similarity, _)| *similarity >= NEAREST_SIMILARITY)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, known)| known);
    InvalidConfig::Unknown { name: name.to_owned(), place, nearest }
}
