//! The Docker daemon keeps containers over its own restart and bounds their logs.
//!
//! `daemon.json` is merged, never replaced: every other setting stays, and a log driver or limit that was chosen before is
//! kept. Containers must not stop for it: Docker is reloaded first, which switches live restore on, and only then
//! restarted, which is what makes log limits count. Taking it back only reloads, since a restart without live restore
//! stops every container.

use async_trait::async_trait;
use muster_shared::{action::item::DockerDaemonArgs, facts::InitSystem};
use serde_json::{Map, Value, json};

use super::{NOT_APPLICABLE, look};
use crate::{
    action::{
        host::{File, Host},
        plan::{Change, Plan, Refused},
        step::{Call, Owner, Step},
    },
    os::services,
};

const FOLDER: &str = "/etc/docker";
const FILE: &str = "/etc/docker/daemon.json";
const UNIT: &str = "docker";

/// Live restore and log limits.
#[derive(Debug, Clone)]
pub struct DockerDaemon(pub DockerDaemonArgs);

/// What the daemon was told and does.
#[derive(Debug, Clone)]
pub struct Evidence {
    init: InitSystem,
    is_installed: bool,
    has_folder: bool,
    file: Option<(String, File)>,
    is_running: bool,
    /// As the running daemon says.
    live_restore: Option<bool>,
    is_swarm: bool,
    /// The arguments that the daemon was started with.
    arguments: String,
    /// It can say whether a file would do.
    validates: bool,
}

#[async_trait]
impl Change for DockerDaemon {
    type Evidence = Evidence;

    async fn gather(&self, host: &dyn Host) -> Result<Evidence, Refused> {
        let is_installed = host.has_program("dockerd");
        let state = look::service(host, UNIT).await;
        let format = "{{.LiveRestoreEnabled}} {{.Swarm.LocalNodeState}}";
        let info =
            if state.running { look::ask_maybe(host, "docker", &["info", "--format", format]).await } else { None };
        let (live, swarm) = info.as_deref().and_then(|info| info.trim().split_once(' ')).unzip();
        let has_folder = host.has_directory(FOLDER).unwrap_or(false);
        let arguments = if state.running { running_arguments(host).await } else { String::new() };
        let help = if is_installed { look::ask_maybe(host, "dockerd", &["--help"]).await } else { None };
        Ok(Evidence {
            init: host.platform().init_system,
            is_installed,
            has_folder,
            file: if has_folder { look::text_file(host, FILE)? } else { None },
            is_running: state.running,
            live_restore: live.map(|live| live == "true"),
            is_swarm: swarm.is_some_and(|swarm| swarm.trim() == "active"),
            arguments,
            validates: help.is_some_and(|help| help.contains("--validate")),
        })
    }

    fn plan(&self, evidence: &Evidence) -> Result<Plan, Refused> {
        if !evidence.is_installed {
            return Err(Refused::new(NOT_APPLICABLE, "Docker is not installed"));
        }
        let args = DockerDaemonArgs { live_restore: self.0.live_restore && !evidence.is_swarm, ..self.0.clone() };
        let before = evidence.file.as_ref().map_or("", |(text, _)| text.as_str());
        let merged = merged(before, &args)?;
        for setting in ["live-restore", "log-driver", "log-opt"] {
            if evidence.arguments.contains(&format!("--{setting}")) && merged.is_some() {
                let detail = format!(
                    "dockerd is started with --{setting}, and does not start when {FILE} says it too; take the argument \
                     out of its unit first"
                );
                return Err(Refused::new("given_as_argument", detail));
            }
        }
        let mut steps = Vec::new();
        if !evidence.has_folder {
            steps.push(Step::MakeDirectory { path: FOLDER.to_owned(), mode: 0o755, owner: Owner::ROOT });
        }
        let is_written = merged.is_some();
        if let Some(contents) = merged {
            let mut step = match &evidence.file {
                Some((_, file)) => look::rewrite(FILE, contents, file),
                None => look::write(FILE, contents, 0o644),
            };
            if let (Step::WriteFile { check, .. }, true) = (&mut step, evidence.validates) {
                *check = Some(Call::new("dockerd", &["--validate", "--config-file", "{}"], look::QUERY_S));
            }
            steps.push(step);
        }
        let lacks_restore = args.live_restore && evidence.live_restore == Some(false);
        if evidence.is_running && (is_written || lacks_restore) {
            steps.extend(Step::reload(evidence.init, UNIT));
        }
        if evidence.is_running && is_written && args.live_restore {
            steps.extend(restart(evidence.init));
        }
        let found = match (evidence.is_swarm, evidence.live_restore) {
            (true, _) => "a swarm has no live restore; log limits",
            (_, Some(true)) => "live restore is on; log limits",
            (_, Some(false)) => "live restore is off; log limits",
            (_, None) => "no service of this host runs Docker; its settings",
        };
        let are = if is_written { "are missing" } else { "are set" };
        Ok(Plan::of(if steps.iter().any(is_effect) { steps } else { Vec::new() }, format!("{found} {are}")))
    }
}

fn is_effect(step: &Step) -> bool {
    !matches!(step, Step::MakeDirectory { .. })
}

/// With live restore on, containers run on meanwhile. Its inverse must not be a restart.
fn restart(init: InitSystem) -> Option<Step> {
    let unit = UNIT.parse().ok()?;
    let call = services::change(init, services::Change::Restart, &unit)?.into();
    let inverse = services::change(init, services::Change::Reload, &unit).map(Call::from);
    Some(Step::Run { title: "restart docker; containers run on".to_owned(), call, inverse })
}

async fn running_arguments(host: &dyn Host) -> String {
    let said = look::ask_maybe(host, "ps", &["-C", "dockerd", "-o", "args="]).await;
    said.unwrap_or_default()
}

/// The file's new text; `None` where nothing is missing. Limits count for the drivers that know them; a driver that was
/// chosen stays.
fn merged(before: &str, args: &DockerDaemonArgs) -> Result<Option<String>, Refused> {
    let unreadable =
        |why: String| Refused::new("malformed", format!("{FILE} {why}; mend it by hand, it is not replaced"));
    let mut settings: Map<String, Value> = match before.trim() {
        "" => Map::new(),
        text => serde_json::from_str(text).map_err(|error| unreadable(format!("can't be read ({error})")))?,
    };
    let mut changed = false;
    if args.live_restore && settings.get("live-restore") != Some(&json!(true)) {
        settings.insert("live-restore".to_owned(), json!(true));
        changed = true;
    }
    let driver = settings.get("log-driver").map_or(Some("json-file"), Value::as_str);
    if matches!(driver, Some("json-file")) {
        if !settings.contains_key("log-driver") {
            settings.insert("log-driver".to_owned(), json!("json-file"));
            changed = true;
        }
        let options = settings.entry("log-opts").or_insert_with(|| json!({}));
        let options =
            options.as_object_mut().ok_or_else(|| unreadable("has log-opts that are no object".to_owned()))?;
        let wanted =
            [("max-size", format!("{}m", args.log_max_megabytes)), ("max-file", args.log_max_files.to_string())];
        for (name, value) in wanted {
            if !options.contains_key(name) {
                options.insert(name.to_owned(), json!(value));
                changed = true;
            }
        }
    }
    let text = || serde_json::to_string_pretty(&settings).map(|text| format!("{text}\n"));
    changed.then(text).transpose().map_err(|error| unreadable(format!("can't be written ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Evidence {
        Evidence {
            init: InitSystem::Systemd,
            is_installed: true,
            has_folder: true,
            file: None,
            is_running: true,
            live_restore: Some(false),
            is_swarm: false,
            arguments: "/usr/bin/dockerd -H fd://".into(),
            validates: false,
        }
    }

    fn with_file(text: &str) -> Evidence {
        let file = File { bytes: text.as_bytes().to_vec(), mode: 0o600, owner: Owner::ROOT };
        Evidence { file: Some((text.to_owned(), file)), ..running() }
    }

    fn plan(evidence: &Evidence) -> Result<Vec<Step>, Refused> {
        DockerDaemon(DockerDaemonArgs::default()).plan(evidence).map(|plan| plan.steps)
    }

    #[test]
    fn settings_are_merged_and_nothing_is_lost() {
        let before = r#"{"dns": ["10.0.0.1"], "log-opts": {"max-size": "50m"}, "debug": false}"#;
        let after = merged(before, &DockerDaemonArgs::default()).expect("readable").expect("changed");
        let after: Value = serde_json::from_str(&after).expect("json");
        let expected = json!({
            "dns": ["10.0.0.1"], "debug": false, "live-restore": true, "log-driver": "json-file",
            "log-opts": { "max-size": "50m", "max-file": "3" },
        });
        assert_eq!(after, expected);
        assert_eq!(merged(&after.to_string(), &DockerDaemonArgs::default()), Ok(None), "a second time changes nothing");
        let journald = r#"{"log-driver": "journald", "live-restore": true}"#;
        assert_eq!(merged(journald, &DockerDaemonArgs::default()), Ok(None), "a chosen driver stays");
    }

    #[test]
    fn what_can_not_be_read_is_not_replaced() {
        for text in ["{", "[]", "{\"log-opts\": 3}", "{\"a\": 1,}"] {
            assert_eq!(
                merged(text, &DockerDaemonArgs::default()).map_err(|refused| refused.code),
                Err("malformed"),
                "{text}"
            );
        }
    }

    #[test]
    fn containers_run_on_in_both_directions() {
        let titles: Vec<String> = plan(&running()).expect("a plan").iter().map(Step::title).collect();
        assert_eq!(
            titles,
            [format!("write {FILE}"), "reload docker".into(), "restart docker; containers run on".into()]
        );
        let Some(Step::Run { inverse: Some(inverse), .. }) = plan(&running()).expect("a plan").pop() else {
            panic!("no restart")
        };
        assert!(inverse.line().contains("reload"), "{}", inverse.line());
        let swarm = Evidence { is_swarm: true, ..running() };
        let titles: Vec<String> = plan(&swarm).expect("a plan").iter().map(Step::title).collect();
        assert_eq!(titles, [format!("write {FILE}"), "reload docker".into()], "without live restore nothing restarts");
    }

    #[test]
    fn a_setting_given_twice_would_keep_docker_from_starting() {
        let evidence = Evidence { arguments: "/usr/bin/dockerd --log-opt max-size=1m".into(), ..running() };
        assert_eq!(plan(&evidence).expect_err("given twice").code, "given_as_argument");
    }

    #[test]
    fn mode_and_owner_of_a_file_that_was_there_stay() {
        let steps = plan(&with_file("{}")).expect("a plan");
        assert!(matches!(steps[0], Step::WriteFile { mode: 0o600, .. }));
        let done = Evidence {
            live_restore: Some(true),
            ..with_file(&merged("", &DockerDaemonArgs::default()).expect("text").expect("changed"))
        };
        assert_eq!(plan(&done).expect("a plan"), []);
        let nowhere = Evidence { is_installed: false, ..running() };
        assert_eq!(plan(&nowhere).expect_err("not there").code, NOT_APPLICABLE);
    }
}
