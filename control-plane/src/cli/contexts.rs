//! The control planes somebody signed in to: address, pinned CA and token, under a name each.
//!
//! Kept in `contexts.json` in the user's configuration directory, mode 0600, replaced as a whole. A file that others may
//! read is refused, as it holds tokens.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use http::Uri;
use muster_shared::tls::CaPin;
use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// Longest name of a context, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// Largest file read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A context's name: letters, digits, `.`, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContextName(String);

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ContextName> for String {
    fn from(name: ContextName) -> Self {
        name.0
    }
}

impl TryFrom<String> for ContextName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl FromStr for ContextName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(fits) {
            return Err(format!("a context's name has 1 to {MAX_NAME_BYTES} letters, digits, '.', '-' or '_'"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl ContextName {
    /// The name a control plane gets unless somebody gives it one: its host's.
    #[must_use]
    pub fn of(url: &Uri) -> Option<Self> {
        let host: String = url.host()?.trim_matches(['[', ']']).replace(':', "-");
        host.parse().ok()
    }
}

/// One control plane.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Context {
    #[serde(with = "uri")]
    pub url: Uri,
    #[serde(with = "pin", default, skip_serializing_if = "Option::is_none")]
    pub ca_sha256: Option<CaPin>,
    pub token: String,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("url", &self.url).field("ca_sha256", &self.ca_sha256).finish_non_exhaustive()
    }
}

/// All of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contexts {
    /// The one that is used unless another is named.
    pub current: Option<ContextName>,
    pub contexts: BTreeMap<ContextName, Context>,
}

impl Contexts {
    /// The named one, or the current one where none is named.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(super) fn find(&self, name: Option<&ContextName>) -> Result<Option<&Context>, Failure> {
        let Some(name) = name.or(self.current.as_ref()) else { return Ok(None) };
        match self.contexts.get(name) {
            Some(context) => Ok(Some(context)),
            None => Err(Failure::usage(
                format!("there is no context {name}"),
                "`muster contexts list` shows them, `muster login` makes one",
            )),
        }
    }
}

/// The file they are kept in.
#[derive(Debug, Clone)]
pub(super) struct ContextFile(PathBuf);

impl ContextFile {
    /// The user's: below `MUSTER_CONFIG_DIR`, else `XDG_CONFIG_HOME/muster`, else `HOME/.config/muster`. `None` for a
    /// process without any of them.
    #[must_use]
    pub(super) fn of_user() -> Option<Self> {
        let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = from("MUSTER_CONFIG_DIR")
            .or_else(|| from("XDG_CONFIG_HOME").map(|folder| folder.join("muster")))
            .or_else(|| from("HOME").map(|folder| folder.join(".config/muster")))?;
        Some(Self::in_folder(&folder))
    }

    /// The one in `folder`.
    #[must_use]
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self(folder.join("contexts.json"))
    }

    /// Reads it; there are no contexts where there is no file.
    ///
    /// # Errors
    /// When others may read it, or it can't be understood.
    pub(super) fn read(&self) -> Result<Contexts, Failure> {
        let path = self.0.display();
        let metadata = match fs::metadata(&self.0) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(error) => return Err(unusable(format!("{path} can't be read: {error}"))),
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(Failure::usage(
                format!("{path} holds tokens, and others may read it"),
                format!("chmod 600 {path}; then replace the tokens if others had the time to read them"),
            ));
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(unusable(format!("{path} is larger than {MAX_FILE_BYTES} bytes")));
        }
        let text = fs::read(&self.0).map_err(|error| unusable(format!("{path} can't be read: {error}")))?;
        serde_json::from_slice(&text).map_err(|error| unusable(format!("{path} can't be understood: {error}")))
    }

    /// Replaces it.
    ///
    /// # Errors
    /// When the folder or the file can't be written.
    pub(super) fn write(&self, contexts: &Contexts) -> Result<(), Failure> {
        self.replace(contexts).map_err(|error| {
            let message = format!("{} can't be written: {error}", self.0.display());
            Failure::ended_badly(message, "check the folder, or name another with MUSTER_CONFIG_DIR")
        })
    }

    fn replace(&self, contexts: &Contexts) -> io::Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let next = self.0.with_extension(format!("next-{}", std::process::id()));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        let written = serde_json::to_writer_pretty(&mut file, contexts)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&next, &self.0));
        if written.is_err() {
            // What is left of the attempt is of no use; the first error says why.
            let _ = fs::remove_file(&next);
        }
        written
    }
}

fn unusable(message: String) -> Failure {
    Failure::usage(message, "mend the file, or remove it and use `muster login`")
}

mod uri {
    use http::Uri;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(url: &Uri, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(url)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uri, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

mod pin {
    use muster_shared::tls::CaPin;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(pin: &Option<CaPin>, serializer: S) -> Result<S::Ok, S::Error> {
        match pin {
            Some(pin) => serializer.collect_str(pin),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CaPin>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> Contexts {
        let name: ContextName = "prod".parse().expect("a name");
        let context = Context {
            url: "https://muster.example:8443".parse().expect("a URL"),
            ca_sha256: Some(CaPin([7; 32])),
            token: "mst_secret".into(),
        };
        Contexts { current: Some(name.clone()), contexts: BTreeMap::from([(name, context)]) }
    }

    #[test]
    fn what_is_written_reads_back_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = ContextFile::in_folder(&folder.path().join("muster"));
        assert!(file.read().expect("no file is no context").contexts.is_empty());
        file.write(&contexts()).expect("written");
        file.write(&contexts()).expect("replaced");
        let read = file.read().expect("read");
        let found = read.find(None).expect("found").expect("current");
        assert_eq!((found.token.as_str(), found.ca_sha256), ("mst_secret", Some(CaPin([7; 32]))));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&file.0), mode(file.0.parent().expect("folder"))), (0o600, 0o700));
        assert_eq!(
            fs::read_dir(file.0.parent().expect("folder")).expect("list").count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = ContextFile::in_folder(folder.path());
        file.write(&contexts()).expect("written");
        fs::set_permissions(&file.0, fs::Permissions::from_mode(0o640)).expect("opened");
        let refused = file.read().expect_err("refused");
        assert!(refused.next_step.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn debugging_shows_no_token() {
        assert!(!format!("{:?}", contexts()).contains("mst_secret"));
    }

    #[test]
    fn names_are_plain() {
        for name in ["", "a b", "a/b", "a\n", &"x".repeat(65)] {
            assert!(name.parse::<ContextName>().is_err(), "{name:?}");
        }
        let of = |url: &str| ContextName::of(&url.parse().expect("a URL")).map(String::from);
        assert_eq!(of("https://muster.example:8443").as_deref(), Some("muster.example"));
        assert_eq!(of("https://[fd00::1]:8443").as_deref(), Some("fd00--1"));
    }
}
