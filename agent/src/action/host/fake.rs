//! A host that a test makes up: files, programs and services in memory, and a moment at which its process dies.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use muster_shared::facts::{InitSystem, ListeningPort, PackageManager};
use tokio::sync::mpsc;

use super::{Execution, File, Host, Moment, Said};
use crate::{
    action::step::{Call, Owner},
    os::{Platform, Release},
};

/// Everything there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) files: BTreeMap<String, File>,
    pub(crate) programs: BTreeSet<String>,
    pub(crate) packages: BTreeSet<String>,
    pub(crate) enabled: BTreeSet<String>,
    pub(crate) running: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Inner {
    world: World,
    answers: BTreeMap<String, Said>,
    failing: BTreeSet<String>,
    executed: Vec<String>,
    listening: Vec<ListeningPort>,
    boot: u32,
    ms: u64,
    /// What a boot still has to start: stopped until then, as far as its state tells.
    in_line: BTreeSet<String>,
    /// Effects until the process dies.
    dies_after: Option<u32>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct FakeHost(Mutex<Inner>);

impl FakeHost {
    /// systemd and apt.
    pub(crate) fn debian() -> Self {
        Self::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("unpoisoned")
    }

    pub(crate) fn world(&self) -> World {
        self.inner().world.clone()
    }

    pub(crate) fn put(&self, path: &str, text: &str) {
        let file = File { bytes: text.as_bytes().to_vec(), mode: 0o644, owner: Owner::ROOT };
        self.inner().world.files.insert(path.to_owned(), file);
    }

    pub(crate) fn install_program(&self, name: &str) {
        self.inner().world.programs.insert(name.to_owned());
    }

    /// What a program answers to a line.
    pub(crate) fn answer(&self, line: &str, said: Said) {
        self.inner().answers.insert(line.to_owned(), said);
    }

    /// Every line that contains this fails from now on.
    pub(crate) fn fail(&self, part: &str) {
        self.inner().failing.insert(part.to_owned());
    }

    pub(crate) fn mend(&self) {
        self.inner().failing.clear();
    }

    /// The lines that were executed for their effect.
    pub(crate) fn executed(&self) -> Vec<String> {
        self.inner().executed.clone()
    }

    /// The process dies after so many effects; `None` means that it lives on, also after a death.
    pub(crate) fn dies_after(&self, effects: Option<u32>) {
        self.inner().dies_after = effects;
    }

    /// An effect, unless the process dies before it: nothing that it would do after that happens.
    fn effect(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner();
        match &mut inner.dies_after {
            None => {}
            Some(0) => {
                drop(inner);
                std::panic::resume_unwind(Box::new("the process is dead"));
            }
            Some(left) => *left -= 1,
        }
        inner
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.inner().ms += seconds * 1000;
    }

    pub(crate) fn reboot(&self) {
        let mut inner = self.inner();
        inner.boot += 1;
        inner.ms = 0;
        inner.in_line = inner.world.running.intersection(&inner.world.enabled).cloned().collect();
        inner.world.running.clear();
    }

    /// Everything that the boot has in line starts.
    pub(crate) fn finish_boot(&self) {
        let mut inner = self.inner();
        let started = std::mem::take(&mut inner.in_line);
        inner.world.running.extend(started);
    }
}

impl Inner {
    fn answer(&self, call: &Call) -> Said {
        let line = call.line();
        if let Some(part) = self.failing.iter().find(|part| line.contains(part.as_str())) {
            return Said { code: Some(1), stderr: format!("E: {part} fails"), ..Said::default() };
        }
        if let Some(said) = self.answers.get(&line) {
            return said.clone();
        }
        let last = call.arguments.last().cloned().unwrap_or_default();
        let well = |stdout: String| Said { code: Some(0), stdout, ..Said::default() };
        match (call.program.as_str(), call.arguments.first().map(String::as_str)) {
            ("dpkg-query", _) => well(self.world.packages.iter().map(|name| format!("installed {name}\n")).collect()),
            ("systemctl", Some("is-active")) if self.world.running.contains(&last) => well("active\n".to_owned()),
            ("systemctl", Some("is-active")) => Said { code: Some(3), stdout: "inactive\n".into(), ..Said::default() },
            ("systemctl", Some("is-enabled")) if self.world.enabled.contains(&last) => well("enabled\n".to_owned()),
            ("systemctl", Some("is-enabled")) => Said { code: Some(1), stdout: "disabled\n".into(), ..Said::default() },
            _ => well(String::new()),
        }
    }

    fn effect(&mut self, call: &Call) {
        let last = call.arguments.last().cloned().unwrap_or_default();
        let has = |word: &str| call.arguments.iter().any(|argument| argument == word);
        if call.program == "systemctl" && has("stop") {
            self.in_line.remove(&last);
        }
        let world = &mut self.world;
        match call.program.as_str() {
            "apt-get" if has("install") => {
                let from = call.arguments.iter().position(|argument| argument == "install").unwrap_or(0);
                for name in &call.arguments[from + 1..] {
                    world.packages.extend([name.clone(), format!("lib-{name}")]);
                    world.programs.insert(name.clone());
                }
            }
            "apt-get" if has("purge") || has("remove") => {
                for name in &call.arguments {
                    world.packages.remove(name);
                    world.programs.remove(name);
                }
            }
            "systemctl" if has("start") => _ = world.running.insert(last),
            "systemctl" if has("stop") => _ = world.running.remove(&last),
            "systemctl" if has("enable") => _ = world.enabled.insert(last),
            "systemctl" if has("disable") => _ = world.enabled.remove(&last),
            _ => {}
        }
    }
}

#[async_trait]
impl Host for FakeHost {
    fn platform(&self) -> Platform {
        Platform { package_manager: Some(PackageManager::Apt), init_system: InitSystem::Systemd }
    }

    fn release(&self) -> Release {
        Release { id: "debian".to_owned(), version: "12".to_owned(), ..Release::default() }
    }

    fn now(&self) -> Moment {
        let inner = self.inner();
        Moment { boot: format!("boot-{}", inner.boot), ms: inner.ms }
    }

    fn read(&self, path: &str) -> io::Result<Option<File>> {
        Ok(self.inner().world.files.get(path).cloned())
    }

    fn write(&self, path: &str, file: &File) -> io::Result<()> {
        let mut inner = self.effect();
        if inner.failing.iter().any(|part| path.contains(part.as_str())) {
            return Err(io::Error::other("it fails"));
        }
        inner.world.files.insert(path.to_owned(), file.clone());
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut inner = self.effect();
        inner.world.files.remove(path);
        Ok(())
    }

    fn has_directory(&self, _: &str) -> io::Result<bool> {
        Ok(true)
    }

    fn make_directory(&self, _: &str, _: u32, _: Owner) -> io::Result<()> {
        Ok(())
    }

    fn remove_directory(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &str) -> Vec<String> {
        let inner = self.inner();
        let inside = |file: &String| file.strip_prefix(path)?.strip_prefix('/').map(str::to_owned);
        inner.world.files.keys().filter_map(inside).filter(|name| !name.contains('/')).collect()
    }

    fn has_program(&self, name: &str) -> bool {
        self.inner().world.programs.contains(name)
    }

    async fn listening(&self) -> Vec<ListeningPort> {
        self.inner().listening.clone()
    }

    async fn ask(&self, call: &Call) -> Result<Said, String> {
        Ok(self.inner().answer(call))
    }

    async fn execute(&self, execution: Execution<'_>, _: &mpsc::Sender<String>) -> Result<Said, String> {
        let mut inner = self.effect();
        inner.executed.push(execution.call.line());
        let said = inner.answer(execution.call);
        if said.code == Some(0) {
            inner.effect(execution.call);
        }
        Ok(said)
    }

    async fn is_running(&self, _: &str, _: &Path) -> bool {
        false
    }
}
