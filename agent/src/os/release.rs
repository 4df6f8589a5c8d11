//! Which distribution this is, in its own words (os-release(5)).

use std::{collections::HashMap, fs, io, path::Path};

use super::text;

/// The file is usually a link from the first of these to the second.
pub const FILES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// What a distribution says of itself; words it leaves out are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// In lower case: `debian`, `rocky`.
    pub id: String,
    /// `12`, `24.04`; empty where releases have no number.
    pub version: String,
    pub name: String,
    pub codename: String,
    pub pretty_name: String,
}

impl Release {
    /// Reads what the file says. Later lines win, as for a shell.
    #[must_use]
    pub fn parse(release: &str) -> Self {
        let fields: HashMap<&str, String> = release
            .lines()
            .filter_map(|line| line.trim().split_once('='))
            .map(|(key, value)| (key, text::clean(value.trim().trim_matches(['"', '\'']))))
            .collect();
        let field = |key: &str| fields.get(key).cloned().unwrap_or_default();
        Self {
            id: field("ID").to_lowercase(),
            version: field("VERSION_ID"),
            name: field("NAME"),
            codename: field("VERSION_CODENAME"),
            pretty_name: field("PRETTY_NAME"),
        }
    }

    /// The distribution of the host whose root is `root`.
    ///
    /// # Errors
    /// Where it has neither file, or they can't be read.
    pub fn detect(root: &Path) -> io::Result<Self> {
        let [first, second] = FILES.map(|file| root.join(file.trim_start_matches('/')));
        fs::read_to_string(first).or_else(|_| fs::read_to_string(second)).map(|release| Self::parse(&release))
    }

    /// The first number of the version; 0 where there is none.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const TRIXIE: &str = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\n";

    #[test]
    fn a_link_is_followed_and_numbers_are_read() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(Release::detect(root.path()).is_err());
        for folder in ["etc", "usr/lib"] {
            fs::create_dir_all(root.path().join(folder)).expect("made");
        }
        fs::write(root.path().join("usr/lib/os-release"), TRIXIE).expect("written");
        let only_the_second = Release::detect(root.path()).expect("read");
        symlink("../usr/lib/os-release", root.path().join("etc/os-release")).expect("linked");
        let linked = Release::detect(root.path()).expect("read");
        assert_eq!(linked, only_the_second);
        assert_eq!((linked.id.as_str(), linked.major()), ("debian", 13));
        assert_eq!(Release::parse("ID=\"Rocky\"\nVERSION_ID=\"9.4\"\n").major(), 9);
        assert_eq!(Release::parse("ID=arch\n").major(), 0);
    }
}
