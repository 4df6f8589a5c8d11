//! What callers send about servers, parsed into what the fleet keeps. Errors name the field.

use std::{fmt::Display, str::FromStr};

use muster_shared::{id::OrgId, wire};

use super::{
    connection::{SshKeyUpdate, SshPasswordUpdate, VmConnection, VmCreate, VmPatch},
    filled, number,
    secret::WriteOnly,
};
use crate::{
    error::Error,
    servers::{
        AddressChoice, Addresses, AuthMethod, Connection, ConnectionPatch, DEFAULT_SSH_PORT, NewServer, Resources,
        ServerPatch, SshAuth, SshLogin, SudoMode,
    },
    ssh_keys,
};

/// The provider of a server whose owner names none.
const DEFAULT_PROVIDER: &str = "custom";
const DEFAULT_USERNAME: &str = "root";
/// The name of a server that is tested before it has one.
const UNNAMED: &str = "unnamed";
/// Largest size of anything a caller may declare.
const MAX_SIZE: f64 = 1e6;

type Result<T> = std::result::Result<T, Error>;

impl VmCreate {
    /// The server to make in `org`.
    ///
    /// # Errors
    /// Another organisation, or a field that is not acceptable.
    pub fn into_server(self, org: OrgId) -> Result<NewServer> {
        if self.organization_id.as_ref().is_some_and(|id| id.parse() != Ok(org)) {
            return Err(Error::not_found("organization"));
        }
        Ok(NewServer {
            name: field("name", &self.name)?,
            provider: field("provider", self.provider.as_deref().unwrap_or(DEFAULT_PROVIDER))?,
            region: field("region", self.region.as_deref().unwrap_or_default())?,
            declared: resources(self.cpu_cores, self.memory_gb, self.disk_gb)?,
            max_projects: self.max_projects,
            connection: self.into_connection()?,
        })
    }

    /// How to reach it.
    ///
    /// # Errors
    /// A field that is missing or not acceptable.
    pub fn into_connection(self) -> Result<Connection> {
        let secrets = Secrets {
            method: self.ssh_auth_method,
            password: self.ssh_password,
            private_key: self.ssh_private_key,
            passphrase: self.ssh_key_passphrase,
            sudo_password: self.ssh_sudo_password,
            key_pair: self.ssh_key_pair_id,
        };
        let no_secret =
            "give ssh_private_key, ssh_key_pair_id or ssh_password; a server without either joins by a join token";
        Ok(Connection {
            addresses: Addresses {
                ipv4: optional("ipv4_address", self.ipv4_address)?,
                ipv6: optional("ipv6_address", self.ipv6_address)?,
                fqdn: optional("fqdn", self.fqdn)?,
                hostname: optional("hostname", self.hostname)?,
                choice: word("connection_host_type", self.connection_host_type, AddressChoice::parse)?
                    .unwrap_or_default(),
            },
            port: port(self.ssh_port)?.unwrap_or(DEFAULT_SSH_PORT),
            username: field("ssh_username", self.ssh_username.as_deref().unwrap_or(DEFAULT_USERNAME))?,
            auth: secrets.into_login()?.ok_or_else(|| Error::invalid("no_ssh_credentials", no_secret))?,
            sudo_mode: word("ssh_sudo_mode", self.ssh_sudo_mode, SudoMode::parse)?.unwrap_or(SudoMode::Auto),
            host_key: optional("ssh_host_key_fingerprint", self.ssh_host_key_fingerprint)?,
        })
    }
}

impl VmConnection {
    /// How to reach it; what else the body says of it is held to the same rules as if it were kept.
    ///
    /// # Errors
    /// Another organisation, or a field that is missing or not acceptable.
    pub fn into_connection(self, org: OrgId) -> Result<Connection> {
        let named = !self.0.name.is_empty();
        let name = if named { self.0.name.clone() } else { UNNAMED.to_owned() };
        Ok(VmCreate { name, ..self.0 }.into_server(org)?.connection)
    }
}

impl VmPatch {
    /// The changes. An empty text removes an address.
    ///
    /// # Errors
    /// A field that is not acceptable.
    pub fn into_patch(self) -> Result<ServerPatch> {
        let secrets = Secrets {
            method: self.ssh_auth_method,
            password: self.ssh_password,
            private_key: self.ssh_private_key,
            passphrase: self.ssh_key_passphrase,
            sudo_password: self.ssh_sudo_password,
            key_pair: self.ssh_key_pair_id,
        };
        let connection = ConnectionPatch {
            ipv4: removable("ipv4_address", self.ipv4_address)?,
            ipv6: removable("ipv6_address", self.ipv6_address)?,
            fqdn: removable("fqdn", self.fqdn)?,
            hostname: removable("hostname", self.hostname)?,
            choice: word("connection_host_type", self.connection_host_type, AddressChoice::parse)?,
            port: port(self.ssh_port)?,
            username: optional("ssh_username", self.ssh_username)?,
            auth: secrets.into_login()?,
            sudo_mode: word("ssh_sudo_mode", self.ssh_sudo_mode, SudoMode::parse)?,
            host_key: None,
        };
        Ok(ServerPatch {
            name: self.name.as_deref().map(|name| field("name", name)).transpose()?,
            provider: self.provider.as_deref().map(|provider| field("provider", provider)).transpose()?,
            region: self.region.as_deref().map(|region| field("region", region)).transpose()?,
            declared: resources(self.cpu_cores, self.memory_gb, self.disk_gb)?,
            max_projects: self.max_projects,
            connection: Some(connection).filter(|connection| !is_empty(connection)),
        })
    }
}

#[derive(Default)]
struct Secrets {
    method: Option<String>,
    password: Option<WriteOnly>,
    private_key: Option<WriteOnly>,
    passphrase: Option<WriteOnly>,
    sudo_password: Option<WriteOnly>,
    key_pair: Option<String>,
}

impl Secrets {
    /// The login. Beside a key, a password is what sudo asks for.
    fn into_login(mut self) -> Result<Option<SshLogin>> {
        match self.key_pair.take() {
            Some(id) => self.into_key_pair(&id).map(Some),
            None => Ok(self.into_auth()?.map(SshLogin::Own)),
        }
    }

    fn into_key_pair(self, id: &str) -> Result<SshLogin> {
        let method = word("ssh_auth_method", self.method, AuthMethod::parse)?;
        if self.password.is_some() || self.private_key.is_some() || self.passphrase.is_some() {
            let detail = "ssh_key_pair_id takes the place of ssh_private_key, ssh_key_passphrase and ssh_password: \
                          give one of them";
            return Err(Error::invalid("contradiction", detail));
        }
        if method == Some(AuthMethod::Password) {
            return Err(Error::invalid("contradiction", "ssh_key_pair_id does not go with ssh_auth_method password"));
        }
        // A text that is no id names no key pair.
        let id = id.parse().map_err(|_| ssh_keys::not_found())?;
        Ok(SshLogin::KeyPair { id, sudo_password: self.sudo_password.map(WriteOnly::into_inner) })
    }

    fn into_auth(self) -> Result<Option<SshAuth>> {
        let method = word("ssh_auth_method", self.method, AuthMethod::parse)?;
        let secret = |secret: Option<WriteOnly>| secret.map(WriteOnly::into_inner);
        match (method, self.private_key, self.password) {
            (Some(AuthMethod::Password), Some(_), _) => {
                Err(Error::invalid("contradiction", "ssh_private_key does not go with ssh_auth_method password"))
            }
            (Some(AuthMethod::SshKey), None, _) => {
                Err(Error::invalid("no_ssh_credentials", "ssh_auth_method ssh_key needs ssh_private_key"))
            }
            (Some(AuthMethod::Password), None, None) => {
                Err(Error::invalid("no_ssh_credentials", "ssh_auth_method password needs ssh_password"))
            }
            (_, Some(key), password) => Ok(Some(SshAuth::Key {
                private_key: key.into_inner(),
                passphrase: secret(self.passphrase),
                sudo_password: secret(self.sudo_password.or(password)),
            })),
            (_, None, Some(password)) => Ok(Some(SshAuth::Password(password.into_inner()))),
            (None, None, None) => match (self.passphrase, self.sudo_password) {
                (None, None) => Ok(None),
                _ => Err(Error::invalid("no_ssh_credentials", "a passphrase or sudo password comes with its key")),
            },
        }
    }
}

impl SshPasswordUpdate {
    /// The login, and whether to try it first.
    ///
    /// # Errors
    /// No password.
    pub fn into_login(self) -> Result<(SshLogin, bool)> {
        let secrets = Secrets { password: Some(self.ssh_password).filter(|it| !it.is_empty()), ..Secrets::default() };
        let no_password = || Error::invalid("no_ssh_credentials", "ssh_password must not be empty");
        Ok((secrets.into_login()?.ok_or_else(no_password)?, self.test_connection.unwrap_or(true)))
    }
}

impl SshKeyUpdate {
    /// The login, and whether to try it first.
    ///
    /// # Errors
    /// Neither a key nor a key pair, or both.
    pub fn into_login(self) -> Result<(SshLogin, bool)> {
        let secrets = Secrets {
            method: Some(AuthMethod::SshKey.as_str().to_owned()),
            private_key: self.ssh_private_key,
            passphrase: self.ssh_key_passphrase,
            sudo_password: self.ssh_sudo_password,
            key_pair: self.ssh_key_pair_id,
            password: None,
        };
        let no_key = || Error::invalid("no_ssh_credentials", "give ssh_private_key or ssh_key_pair_id");
        Ok((secrets.into_login()?.ok_or_else(no_key)?, self.test_connection.unwrap_or(true)))
    }
}

fn is_empty(patch: &ConnectionPatch) -> bool {
    patch.ipv4.is_none()
        && patch.ipv6.is_none()
        && patch.fqdn.is_none()
        && patch.hostname.is_none()
        && patch.choice.is_none()
        && patch.port.is_none()
        && patch.username.is_none()
        && patch.auth.is_none()
        && patch.sudo_mode.is_none()
        && patch.host_key.is_none()
}

/// `text` parsed; an error names `field`.
///
/// # Errors
/// When it can't be parsed.
pub fn field<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T> {
    text.trim().parse().map_err(|error| Error::invalid("invalid_field", format!("{field}: {error}")))
}

/// The same, where an empty text or none says nothing.
///
/// # Errors
/// When it can't be parsed.
pub(super) fn optional<T: FromStr<Err: Display>>(name: &str, text: Option<String>) -> Result<Option<T>> {
    text.filter(|text| !text.trim().is_empty()).map(|text| field(name, &text)).transpose()
}

fn removable<T: FromStr<Err: Display>>(name: &str, text: Option<String>) -> Result<Option<Option<T>>> {
    text.map(|text| optional(name, Some(text))).transpose()
}

pub(super) fn word<T>(field: &str, text: Option<String>, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
    let unknown = |text: &str| Error::invalid("invalid_field", format!("{field}: no such word as {text:?}"));
    text.map(|text| parse(&text.to_ascii_lowercase()).ok_or_else(|| unknown(&text))).transpose()
}

fn port(port: Option<u16>) -> Result<Option<u16>> {
    match port {
        Some(0) => Err(Error::invalid("invalid_field", "ssh_port: expected 1 to 65535")),
        port => Ok(port),
    }
}

fn resources(cpu_cores: Option<f64>, memory_gb: Option<f64>, disk_gb: Option<f64>) -> Result<Resources> {
    let size = |field: &str, value: Option<f64>| match value {
        Some(value) if !(value > 0.0 && value <= MAX_SIZE) => {
            Err(Error::invalid("invalid_field", format!("{field}: expected more than 0 and at most {MAX_SIZE}")))
        }
        value => Ok(value),
    };
    Ok(Resources {
        cpu_cores: size("cpu_cores", cpu_cores)?,
        memory_gb: size("memory_gb", memory_gb)?,
        disk_gb: size("disk_gb", disk_gb)?,
    })
}

impl From<wire::Connection> for VmCreate {
    /// The connection alone, for a test before saving.
    fn from(connection: wire::Connection) -> Self {
        let secret = |text: String| filled(text).map(WriteOnly::from);
        Self {
            ipv4_address: filled(connection.ipv4_address),
            ipv6_address: filled(connection.ipv6_address),
            fqdn: filled(connection.fqdn),
            hostname: filled(connection.hostname),
            connection_host_type: filled(connection.connection_host_type),
            // A port out of range becomes 0, which no connection accepts.
            ssh_port: (connection.ssh_port > 0).then(|| u16::try_from(connection.ssh_port).unwrap_or(0)),
            ssh_username: filled(connection.ssh_username),
            ssh_auth_method: filled(connection.ssh_auth_method),
            ssh_password: secret(connection.ssh_password),
            ssh_private_key: secret(connection.ssh_private_key),
            ssh_key_passphrase: secret(connection.ssh_key_passphrase),
            ssh_sudo_password: secret(connection.ssh_sudo_password),
            ssh_sudo_mode: filled(connection.ssh_sudo_mode),
            ssh_host_key_fingerprint: filled(connection.ssh_host_key_fingerprint),
            ssh_key_pair_id: filled(connection.ssh_key_pair_id),
            ..Self::default()
        }
    }
}

impl From<wire::CreateServerRequest> for VmCreate {
    fn from(request: wire::CreateServerRequest) -> Self {
        Self {
            name: request.name,
            provider: filled(request.provider),
            region: filled(request.region),
            cpu_cores: number::positive(request.cpu_cores),
            memory_gb: number::positive(request.memory_gb),
            disk_gb: number::positive(request.disk_gb),
            max_projects: Some(request.max_projects).filter(|count| *count > 0),
            ..Self::from(request.connection.unwrap_or_default())
        }
    }
}

impl TryFrom<wire::UpdateServerRequest> for VmPatch {
    type Error = Error;

    /// Takes the fields that the mask names.
    fn try_from(request: wire::UpdateServerRequest) -> Result<Self> {
        let connection = request.connection.unwrap_or_default();
        let mut patch = Self::default();
        for path in request.update_mask.unwrap_or_default().paths {
            match path.as_str() {
                "name" => patch.name = Some(request.name.clone()),
                "provider" => patch.provider = Some(request.provider.clone()),
                "region" => patch.region = Some(request.region.clone()),
                "cpu_cores" => patch.cpu_cores = Some(request.cpu_cores),
                "memory_gb" => patch.memory_gb = Some(request.memory_gb),
                "disk_gb" => patch.disk_gb = Some(request.disk_gb),
                "max_projects" => patch.max_projects = Some(request.max_projects),
                path => patch.take(path.strip_prefix("connection.").unwrap_or_default(), &connection)?,
            }
        }
        Ok(patch)
    }
}

impl VmPatch {
    fn take(&mut self, path: &str, connection: &wire::Connection) -> Result<()> {
        let text = |text: &String| Some(text.clone());
        let secret = |text: &String| Some(WriteOnly::from(text.clone()));
        match path {
            "ipv4_address" => self.ipv4_address = text(&connection.ipv4_address),
            "ipv6_address" => self.ipv6_address = text(&connection.ipv6_address),
            "fqdn" => self.fqdn = text(&connection.fqdn),
            "hostname" => self.hostname = text(&connection.hostname),
            "connection_host_type" => self.connection_host_type = text(&connection.connection_host_type),
            "ssh_port" => self.ssh_port = Some(u16::try_from(connection.ssh_port).unwrap_or(0)),
            "ssh_username" => self.ssh_username = text(&connection.ssh_username),
            "ssh_auth_method" => self.ssh_auth_method = text(&connection.ssh_auth_method),
            "ssh_password" => self.ssh_password = secret(&connection.ssh_password),
            "ssh_private_key" => self.ssh_private_key = secret(&connection.ssh_private_key),
            "ssh_key_passphrase" => self.ssh_key_passphrase = secret(&connection.ssh_key_passphrase),
            "ssh_sudo_password" => self.ssh_sudo_password = secret(&connection.ssh_sudo_password),
            "ssh_sudo_mode" => self.ssh_sudo_mode = text(&connection.ssh_sudo_mode),
            "ssh_key_pair_id" => self.ssh_key_pair_id = text(&connection.ssh_key_pair_id),
            "ssh_host_key_fingerprint" => {
                let detail = "a host key is not updated but accepted: call AcceptHostKey";
                return Err(Error::invalid("invalid_mask", detail));
            }
            _ => return Err(Error::invalid("invalid_mask", "update_mask names a field there is not")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::id::SshKeyPairId;

    use super::*;

    fn create() -> VmCreate {
        VmCreate {
            name: "web-1".into(),
            ipv4_address: Some("203.0.113.10".into()),
            ssh_password: Some(WriteOnly::from("secret".to_owned())),
            ..VmCreate::default()
        }
    }

    fn refused<T>(result: Result<T>) -> String {
        result.err().expect("refused").detail
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let server = create().into_server(OrgId::generate()).expect("acceptable");
        assert_eq!(server.provider.as_str(), "custom");
        assert_eq!(server.connection.port, 22);
        assert_eq!(server.connection.username.as_str(), "root");
        assert_eq!(server.connection.auth.method(), AuthMethod::Password);
    }

    #[test]
    fn errors_name_the_field() {
        let org = OrgId::generate();
        let bad = VmCreate { fqdn: Some("-oProxyCommand=x".into()), ..create() };
        assert!(refused(bad.into_server(org)).starts_with("fqdn: "));
        let bad = VmCreate { ipv4_address: Some("0x7f.1".into()), ..create() };
        assert!(refused(bad.into_server(org)).starts_with("ipv4_address: "));
        let bad = VmCreate { memory_gb: Some(-8.0), ..create() };
        assert!(refused(bad.into_server(org)).starts_with("memory_gb: "));
        let bad = VmCreate { ssh_sudo_mode: Some("su".into()), ..create() };
        assert!(refused(bad.into_server(org)).starts_with("ssh_sudo_mode: "));
    }

    #[test]
    fn another_organization_is_not_there() {
        let bad = VmCreate { organization_id: Some(OrgId::generate().to_string()), ..create() };
        assert_eq!(refused(bad.into_server(OrgId::generate())), "no such organization");
    }

    #[test]
    fn a_password_beside_a_key_is_for_sudo() {
        let create = VmCreate { ssh_private_key: Some(WriteOnly::from("key".to_owned())), ..create() };
        let connection = create.into_connection().expect("acceptable");
        assert_eq!(connection.auth.method(), AuthMethod::SshKey);
        assert!(matches!(connection.auth, SshLogin::Own(SshAuth::Key { sudo_password: Some(_), .. })));
    }

    #[test]
    fn a_key_pair_takes_the_place_of_secrets() {
        let pair = SshKeyPairId::generate();
        let create = |password: Option<&str>, method: Option<&str>| VmCreate {
            ssh_password: password.map(|password| WriteOnly::from(password.to_owned())),
            ssh_key_pair_id: Some(pair.to_string()),
            ssh_auth_method: method.map(str::to_owned),
            ..create()
        };
        let connection = create(None, None).into_connection().expect("acceptable");
        assert_eq!((connection.auth.key_pair(), connection.auth.method()), (Some(pair), AuthMethod::SshKey));
        for bad in [create(Some("secret"), None), create(None, Some("password"))] {
            assert_eq!(bad.into_connection().expect_err("refused").code, "contradiction");
        }
        let bad = VmCreate { ssh_key_pair_id: Some("web".into()), ..create(None, None) };
        assert_eq!(bad.into_connection().expect_err("refused").code, "not_found");
    }

    #[test]
    fn a_masked_update_takes_what_it_names() {
        let request = wire::UpdateServerRequest {
            name: "web-2".into(),
            region: "unnamed".into(),
            connection: Some(wire::Connection { ssh_port: 2222, ..wire::Connection::default() }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["name".into(), "connection.ssh_port".into(), "connection.fqdn".into()],
            }),
            ..wire::UpdateServerRequest::default()
        };
        let patch = VmPatch::try_from(request).and_then(VmPatch::into_patch).expect("acceptable");
        assert_eq!(patch.name.map(|name| name.to_string()).as_deref(), Some("web-2"));
        assert!(patch.region.is_none());
        let connection = patch.connection.expect("a connection");
        assert_eq!((connection.port, connection.fqdn), (Some(2222), Some(None)));
    }
}
