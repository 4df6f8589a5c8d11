//! House rules that no lint knows, each with its reason.

use std::{fs, path::PathBuf, process::Command};

/// Beyond this a file has more than one subject.
const MAX_LINES: usize = 500;
const TOP_LEVEL: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "agent",
    "control-plane",
    "docs",
    "justfile",
    "packaging",
    "proto",
    "shared",
];
/// Control-plane folders that may know HTTP and gRPC types; all others are nouns.
const TRANSPORT: [&str; 8] = ["api/", "cli/", "edge/", "link/", "error.rs", "app.rs", "main.rs", "install_script/"];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// What comes before the first unit test module.
    fn outside_tests(&self) -> &str {
        self.text.split("#[cfg(test)]").next().unwrap_or_default()
    }

    /// Library lines without comments, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.outside_tests().lines().enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| {
            let line = line.trim_start();
            !line.starts_with("//")
        })
    }

    fn in_a_crate(&self) -> bool {
        ["agent/src/", "control-plane/src/", "shared/src/"].iter().any(|root| self.path.starts_with(root))
    }

    /// Paths, without their ending, of the modules this file declares for tests only.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder,
            _ => self.path.trim_end_matches(".rs"),
        };
        let declared = self.text.split("#[cfg(test)]").skip(1).filter_map(|after| {
            let line = after.trim_start().lines().next()?;
            line.strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| format!("{folder}/{name}"))
        });
        declared.collect()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file git knows, and would know after `git add`.
fn tracked() -> Vec<String> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").current_dir(root()).args(arguments).output().expect("git");
    assert!(output.status.success(), "the tests run in a git checkout");
    let mut paths: Vec<_> = String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect();
    paths.retain(|path| root().join(path).is_file());
    paths.sort();
    paths.dedup();
    paths
}

fn sources() -> Vec<Source> {
    let read = |path: String| Source { text: fs::read_to_string(root().join(&path)).expect("UTF-8"), path };
    tracked().into_iter().filter(|path| path.ends_with(".rs")).map(read).collect()
}

/// Fails with every place that breaks the rule, and the rule's reason.
fn refuse(reason: &str, places: impl IntoIterator<Item = String>) {
    let places: Vec<_> = places.into_iter().collect();
    assert!(places.is_empty(), "{reason}\n{}", places.join("\n"));
}

/// Every source file that is built into a program or library.
fn library() -> Vec<Source> {
    let mut sources = sources();
    sources.retain(Source::in_a_crate);
    let tests: Vec<_> = sources.iter().flat_map(Source::test_modules).collect();
    sources.retain(|source| {
        !tests.iter().any(|test| source.path == format!("{test}.rs") || source.path.starts_with(&format!("{test}/")))
    });
    sources
}

fn library_lines_with(words: &[&str], within: impl Fn(&str) -> bool) -> Vec<String> {
    let mut places = Vec::new();
    for source in library().iter().filter(|source| within(&source.path)) {
        for (number, line) in source.code() {
            if words.iter().any(|word| line.contains(word)) {
                places.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    places
}

#[test]
fn files_have_one_subject() {
    let long = sources().into_iter().filter(|source| source.text.lines().count() > MAX_LINES);
    refuse("a file over 500 lines has more than one subject: split it", long.map(|source| source.path));
}

#[test]
fn nothing_stands_beside_the_named_folders() {
    let strangers = tracked().into_iter().filter(|path| {
        let top = path.split('/').next().unwrap_or_default();
        !top.starts_with('.') && top != "tests" && !TOP_LEVEL.contains(&top)
    });
    refuse("the top level is fixed; put this into one of its folders", strangers);
}

#[test]
fn modules_are_named_for_what_they_hold() {
    let vague = tracked().into_iter().filter(|path| {
        let words = path.trim_end_matches(".rs").split('/');
        words
            .into_iter()
            .any(|word| ["utils", "util", "helpers", "helper", "manager", "common", "misc"].contains(&word))
    });
    refuse("a module is named for what it holds, not for being useful", vague);
}

#[test]
fn no_test_is_switched_off_and_nothing_is_left_for_later() {
    let marks = [
        concat!("#[ign", "ore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimpl", "emented!("),
    ];
    let mut places = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                places.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    refuse("a test that is off shows nothing, and a note for later is an issue, not a comment", places);
}

#[test]
fn library_code_does_not_panic_on_purpose() {
    let places = library_lines_with(&[".unwrap()", ".expect(", "panic!(", "unreachable!("], |_| true);
    refuse("errors are values outside tests; restructure so that the case can't arise, or return it", places);
}

#[test]
fn programs_are_run_by_argument_vector() {
    let words = ["Command::new(\"sh\")", "Command::new(\"bash\")", "Command::new(\"/bin/sh\")", "\"-c\","];
    // A host without an agent has nothing but its shell; there the scripts are constants, fields their parameters.
    let local = |path: &str| !path.starts_with("control-plane/src/ssh/");
    refuse("no shell: a field from outside must never become syntax", library_lines_with(&words, local));
}

#[test]
fn sql_lives_in_the_store() {
    let outside = |path: &str| !path.starts_with("control-plane/src/store/");
    refuse("all SQL is in control-plane/src/store", library_lines_with(&["sqlx::", "sqlx::{"], outside));
}

#[test]
fn nouns_do_not_know_their_transport() {
    let noun = |path: &str| {
        path.strip_prefix("control-plane/src/")
            .is_some_and(|inner| !TRANSPORT.iter().any(|transport| inner.starts_with(transport)))
    };
    refuse("no axum or tonic type below link and api", library_lines_with(&["axum::", "tonic::"], noun));
}

#[test]
fn agent_and_control_plane_meet_in_shared_only() {
    let manifest = |path: &str| fs::read_to_string(root().join(path)).expect("a manifest");
    assert!(!manifest("agent/Cargo.toml").contains("\nmuster."), "the agent does not know the control plane");
    assert!(!manifest("agent/Cargo.toml").contains("\nmuster ="), "the agent does not know the control plane");
    assert!(
        !manifest("control-plane/Cargo.toml").contains("muster-agent"),
        "the control plane does not know the agent"
    );
    let shared = manifest("shared/Cargo.toml");
    assert!(!shared.contains("muster-agent") && !shared.contains("\nmuster"), "shared knows neither");
}

#[test]
fn versions_stand_in_one_place() {
    let manifests = tracked().into_iter().filter(|path| path.ends_with("/Cargo.toml"));
    let places = manifests.flat_map(|path| {
        let text = fs::read_to_string(root().join(&path)).expect("a manifest");
        let pinned = text.lines().filter(|line| line.contains("version = \"")).map(|line| format!("{path}: {line}"));
        pinned.collect::<Vec<_>>()
    });
    refuse("every dependency's version is in the workspace's Cargo.toml", places);
}

#[test]
fn no_machine_or_mirror_is_named() {
    let names = [
        concat!("static.crates", ".io"),
        concat!("index.crates", ".io"),
        concat!("deb.debian", ".org"),
        concat!("files.python", "hosted.org"),
    ];
    let places = tracked().into_iter().filter(|path| path != "Cargo.lock").filter(|path| {
        fs::read_to_string(root().join(path)).is_ok_and(|text| names.iter().any(|name| text.contains(name)))
    });
    refuse("where packages come from is the machine's own configuration", places);
}
