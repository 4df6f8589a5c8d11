//! Signing in through an OpenID provider, as it is set up. The two files are read with the settings that name them.

use http::Uri;
use muster_shared::id::OrgId;
use rustls_pki_types::CertificateDer;
use secrecy::SecretString;

use super::{
    InvalidConfig, Layers, PublicUrl,
    file::{certificates_in, secret_in},
    missing,
};
use crate::access::Role;

/// What is asked for unless told otherwise: who it is, and their address.
const DEFAULT_SCOPES: &str = "openid email";

/// The provider, what we are to it, and whom it lets in.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// Exactly as the provider writes itself: `https://…`.
    pub issuer: String,
    pub client_id: String,
    /// `None` for a public client, which PKCE alone protects.
    pub client_secret: Option<SecretString>,
    /// Separated by spaces; `openid` is among them.
    pub scopes: String,
    /// Domains of the e-mail addresses let in, in lower case; all where there is none.
    pub allowed_domains: Vec<String>,
    /// What becomes of somebody whom the provider knows and we don't; they are refused where it is `None`.
    pub joins: Option<Joins>,
    /// Authorities trusted beside the public ones.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Where the provider sends browsers back to.
    pub redirect_uri: String,
}

/// Whoever the provider knows becomes a member here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joins {
    pub organization: OrgId,
    pub role: Role,
}

impl OidcSettings {
    /// The settings, if an issuer is set.
    ///
    /// # Errors
    /// The first that is unusable, missing, or set without an issuer.
    pub(super) fn resolve(layers: &Layers, public_url: Option<&PublicUrl>) -> Result<Option<Self>, InvalidConfig> {
        let Some(issuer) = layers.parse("oidc_issuer", issuer)? else {
            return match DEPENDENT.iter().find(|name| layers.text(name).is_some()) {
                Some(name) => Err(missing(name, "it means nothing without oidc_issuer")),
                None => Ok(None),
            };
        };
        let client_id = layers.parse("oidc_client_id", words)?;
        let client_id = client_id.ok_or_else(|| missing("oidc_client_id", "oidc_issuer needs it"))?;
        let own =
            public_url.ok_or_else(|| missing("public_url", "oidc_issuer needs it: browsers are sent back there"))?;
        let organization = layers.parse("oidc_join_organization", |text| {
            text.parse().map_err(|_| "expected an organization's id".to_owned())
        })?;
        let role = layers.parse("oidc_join_role", joining_role)?;
        if organization.is_none() && role.is_some() {
            return Err(missing("oidc_join_role", "it means nothing without oidc_join_organization"));
        }
        Ok(Some(Self {
            issuer,
            client_id,
            client_secret: layers.parse("oidc_client_secret_file", secret_in)?,
            scopes: layers.parse("oidc_scopes", scopes)?.unwrap_or_else(|| DEFAULT_SCOPES.to_owned()),
            allowed_domains: layers.parse("oidc_allowed_domains", domains)?.unwrap_or_default(),
            joins: organization.map(|organization| Joins { organization, role: role.unwrap_or(Role::Member) }),
            authorities: layers.parse("oidc_ca_file", certificates_in)?.unwrap_or_default(),
            redirect_uri: format!("{own}/api/v1/oidc/callback"),
        }))
    }
}

const DEPENDENT: [&str; 7] = [
    "oidc_client_id",
    "oidc_client_secret_file",
    "oidc_scopes",
    "oidc_allowed_domains",
    "oidc_join_organization",
    "oidc_join_role",
    "oidc_ca_file",
];

fn issuer(text: &str) -> Result<String, String> {
    let expected = || "expected the provider's issuer: https://host[:port][/path]".to_owned();
    let uri: Uri = text.parse().map_err(|_| expected())?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(expected)?;
    let fits = uri.scheme_str() == Some("https") && !authority.host().is_empty() && uri.query().is_none();
    if fits { Ok(text.to_owned()) } else { Err(expected()) }
}

fn words(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= 255 && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if fits { Ok(text.to_owned()) } else { Err("expected 1 to 255 printable characters".to_owned()) }
}

fn scopes(text: &str) -> Result<String, String> {
    let scopes: Vec<_> = text.split([' ', ',']).filter(|scope| !scope.is_empty()).collect();
    let is_scope = |scope: &&str| scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if scopes.contains(&"openid") && scopes.iter().all(is_scope) {
        Ok(scopes.join(" "))
    } else {
        Err("expected scopes separated by spaces, openid among them".to_owned())
    }
}

fn domains(text: &str) -> Result<Vec<String>, String> {
    let domains: Vec<_> = text.split([' ', ',']).filter(|it| !it.is_empty()).map(str::to_ascii_lowercase).collect();
    let is_domain = |domain: &String| domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    // A list with nothing in it would let everybody in.
    if !domains.is_empty() && domains.iter().all(is_domain) {
        Ok(domains)
    } else {
        Err("expected domains such as example.com, separated by commas".to_owned())
    }
}

fn joining_role(text: &str) -> Result<Role, String> {
    match Role::parse(text) {
        // Only an owner makes owners.
        Some(role) if role != Role::Owner => Ok(role),
        _ => Err("expected admin, member, project_admin or project_member".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_address_over_tls() {
        for good in ["https://id.example.com", "https://id.example.com:8443/realms/a/"] {
            assert_eq!(issuer(good).as_deref(), Ok(good));
        }
        for bad in ["http://id.example.com", "https://", "https://u:p@id.example.com", "https://x/?a=b", "id", ""] {
            assert!(issuer(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lists_are_read_and_never_empty() {
        assert_eq!(scopes("openid,email  groups").as_deref(), Ok("openid email groups"));
        assert!(scopes("email").is_err());
        assert_eq!(domains("Example.com, example.org"), Ok(vec!["example.com".into(), "example.org".into()]));
        for bad in ["", ",", "ex ample/"] {
            assert!(domains(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nobody_becomes_an_owner_by_signing_in() {
        assert_eq!(joining_role("project_member"), Ok(Role::ProjectMember));
        for bad in ["owner", "root", ""] {
            assert!(joining_role(bad).is_err(), "{bad:?}");
        }
    }
}
