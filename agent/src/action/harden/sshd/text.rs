//! The texts of sshd's configuration: where ours belongs and what it says. Pure.

use std::collections::BTreeMap;

/// Sorts before what distributions and cloud images put there.
pub(super) const DROP_IN: &str = "/etc/ssh/sshd_config.d/00-00-muster.conf";
const DROP_IN_NAME: &str = "00-00-muster.conf";
pub(super) const INCLUDED: &str = "/etc/ssh/sshd_muster.conf";
const BEGIN: &str = "# begin of what Muster set";
const END: &str = "# end of what Muster set";
const HEAD: &str = "# Written by Muster. sshd takes the first value it reads, so these count.";
/// Since then a configuration can include others.
const INCLUDES_SINCE: (u32, u32) = (8, 2);
/// Since then the keyboard's questions have one name.
const ONE_NAME_SINCE: (u32, u32) = (8, 7);
/// What we ever set, in the order in which it is written; whether a `Match` can hold it.
const KEYWORDS: [(&str, bool); 7] = [
    ("PasswordAuthentication", true),
    ("KbdInteractiveAuthentication", true),
    ("ChallengeResponseAuthentication", false),
    ("PermitRootLogin", true),
    ("MaxAuthTries", true),
    ("ClientAliveInterval", true),
    ("ClientAliveCountMax", true),
];

/// Where our settings are read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    DropIn,
    Included,
    Inline,
}

impl Place {
    /// Its file, where it has one of its own.
    pub(super) fn file(self) -> Option<&'static str> {
        match self {
            Self::DropIn => Some(DROP_IN),
            Self::Included => Some(INCLUDED),
            Self::Inline => None,
        }
    }
}

/// Where ours belongs; `drop_ins` are the names in the directory for them, where there is one.
pub(super) fn place(main: &str, drop_ins: Option<&[String]>, version: (u32, u32)) -> Place {
    let includes_first = directives(main).next().is_some_and(|(keyword, value)| {
        keyword == "include"
            && value.split_whitespace().next().is_some_and(|first| {
                matches!(first.trim_matches('"'), "/etc/ssh/sshd_config.d/*.conf" | "sshd_config.d/*.conf")
            })
    });
    let is_first = |names: &[String]| {
        names
            .iter()
            .filter(|name| name.ends_with(".conf") && !name.starts_with('.'))
            .all(|name| name.as_str() >= DROP_IN_NAME)
    };
    match drop_ins {
        _ if version < INCLUDES_SINCE => Place::Inline,
        Some(names) if includes_first && is_first(names) => Place::DropIn,
        _ => Place::Included,
    }
}

/// Keyword in lower case and value of each line that is no comment.
pub(super) fn directives(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let (keyword, value) = line.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((line, ""));
        (keyword.to_lowercase(), value.trim_start_matches(|c: char| c.is_whitespace() || c == '=').trim())
    })
}

/// What `text` includes, as absolute patterns.
pub(super) fn includes(text: &str) -> Vec<String> {
    let patterns = directives(text).filter(|(keyword, _)| keyword == "include");
    let patterns = patterns.flat_map(|(_, value)| value.split_whitespace().map(|pattern| pattern.trim_matches('"')));
    let absolute =
        |pattern: &str| if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/ssh/{pattern}") };
    patterns.map(absolute).collect()
}

/// Whether a file's name fits a pattern with stars.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(start).filter(|_| !name.starts_with('.') || pattern.starts_with('.')) else {
        return false;
    };
    let pieces: Vec<&str> = rest.split('*').collect();
    let Some((last, middle)) = pieces.split_last() else { return true };
    for piece in middle {
        let Some(at) = left.find(piece) else { return false };
        left = &left[at + piece.len()..];
    }
    left.ends_with(last)
}

/// Whether the main file's first line includes ours.
pub(super) fn includes_ours(main: &str) -> bool {
    directives(main).next().is_some_and(|(keyword, value)| keyword == "include" && value == INCLUDED)
}

pub(super) fn with_include(main: &str) -> String {
    format!("{HEAD}\nInclude {INCLUDED}\n\n{main}")
}

/// Our lines in the main file.
pub(super) fn block(main: &str) -> &str {
    let inside = main.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    inside.map_or("", |(inside, _)| inside.trim_start_matches('\n'))
}

/// The main file with `text` as our lines, before all others.
pub(super) fn with_block(main: &str, text: &str) -> String {
    let rest = match main.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1))) {
        Some((before, after)) => format!("{before}{}", after.strip_prefix('\n').unwrap_or(after)),
        None => main.to_owned(),
    };
    format!("{BEGIN}\n{text}{END}\n{rest}")
}

/// What we set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings(BTreeMap<&'static str, String>);

impl Settings {
    /// What an earlier text of ours sets, outside of its `Match`.
    pub(super) fn read(text: &str) -> Self {
        let ours = directives(text).take_while(|(keyword, _)| keyword != "match");
        let known = |(keyword, value): (String, &str)| {
            let (name, _) = KEYWORDS.iter().find(|(name, _)| name.to_lowercase() == keyword)?;
            Some((*name, value.to_owned()))
        };
        Self(ours.filter_map(known).collect())
    }

    /// Whether an earlier text of ours overrides other `Match` blocks.
    pub(super) fn overrides(text: &str) -> bool {
        directives(text).any(|(keyword, _)| keyword == "match")
    }

    pub(super) fn set(&mut self, keyword: &'static str, value: &str, version: (u32, u32)) {
        self.0.insert(keyword, value.to_owned());
        if keyword == "KbdInteractiveAuthentication" && version < ONE_NAME_SINCE {
            self.0.insert("ChallengeResponseAuthentication", value.to_owned());
        }
    }

    /// The text that sets them; where it overrides, also for whatever other `Match` blocks say. In the main file a block
    /// would reach to the next one, so there it can't.
    pub(super) fn text(&self, place: Place, overrides: bool) -> String {
        let line = |(keyword, _): &(&str, bool)| Some(format!("{keyword} {}\n", self.0.get(keyword)?));
        let mut text = if place == Place::Inline { String::new() } else { format!("{HEAD}\n") };
        text.extend(KEYWORDS.iter().filter_map(line));
        if overrides && place != Place::Inline {
            text.push_str("Match all\n");
            text.extend(
                KEYWORDS.iter().filter(|(_, in_match)| *in_match).filter_map(line).map(|line| format!("\t{line}")),
            );
        }
        text
    }
}

/// `OpenSSH_9.2p1`; the oldest where it can't be read, so that nothing newer is relied on.
pub(super) fn version(said: &str) -> (u32, u32) {
    let numbers = said.split_once("OpenSSH_").map_or("", |(_, rest)| rest);
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(numbers.len());
    let (major, minor) = numbers[..end].split_once('.').unwrap_or((&numbers[..end], "0"));
    (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}
