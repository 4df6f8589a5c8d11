use std::{
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use muster_shared::{
    action::{ItemName, item::UserArgs},
    wire::CommandOutcome,
};
use proptest::prelude::*;

use super::*;
use crate::{
    action::{
        Change, Step,
        host::fake::FakeHost,
        plan::CONFIRM_WITHIN_S,
        step::{Call, Owner},
    },
    clock::ManualClock,
};

#[derive(Debug, Default)]
struct FakeDeadman {
    armed: AtomicBool,
    times: AtomicU32,
    refuses: AtomicBool,
}

#[async_trait]
impl Deadman for FakeDeadman {
    async fn arm(&self) -> Result<(), String> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err("no timer".to_owned());
        }
        self.armed.store(true, Ordering::SeqCst);
        self.times.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn disarm(&self) {
        self.armed.store(false, Ordering::SeqCst);
    }
}

const FILE: &str = "/etc/app.conf";
const OTHER: &str = "/etc/app.d/extra";

/// Installs a package, writes two files, has a service run and reload; dangerous or not.
struct App {
    dangerous: bool,
}

#[async_trait]
impl Change for App {
    type Evidence = Vec<Step>;

    async fn gather(&self, host: &dyn Host) -> Result<Vec<Step>, Refused> {
        let mut steps = Vec::new();
        if !host.has_program("app") {
            steps.push(Step::InstallPackages { names: vec!["app".into()], keeps_data: false });
        }
        for (path, contents) in [(FILE, "new\n"), (OTHER, "extra\n")] {
            if host.read(path).expect("readable").is_none_or(|file| file.bytes != contents.as_bytes()) {
                let check = Some(Call::new("app", &["--check", "{}"], 5));
                let contents = contents.to_owned();
                steps.push(Step::WriteFile { path: path.into(), contents, mode: 0o600, owner: Owner::ROOT, check });
            }
        }
        let service = service_state(host, "app.service").await.expect("asked");
        if !service.running || !service.enabled {
            steps.push(Step::Service { unit: "app.service".into(), enabled: Some(true), running: Some(true) });
        }
        if !steps.is_empty() {
            steps.extend(Step::reload(host.platform().init_system, "app.service"));
        }
        Ok(steps)
    }

    fn plan(&self, steps: &Vec<Step>) -> Result<Plan, Refused> {
        let plan = Plan::of(steps.clone(), "as found");
        Ok(if self.dangerous { plan.confirmed_from(1) } else { plan })
    }
}

/// `start_docker` stands for the harmless change, `configure_sudo` for the dangerous one.
fn catalogue(item: &Item) -> Box<dyn AnyChange> {
    Box::new(App { dangerous: item.name() == ItemName::ConfigureSudo })
}

fn dangerous() -> Item {
    Item::ConfigureSudo(UserArgs { user: "deploy".parse().expect("a name") })
}

struct Bench {
    host: Arc<FakeHost>,
    deadman: Arc<FakeDeadman>,
    engine: Engine,
    records: Records,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (host, deadman) = (Arc::new(FakeHost::debian()), Arc::new(FakeDeadman::default()));
        host.put(FILE, "old\n");
        let records = Records::new(folder.path());
        let parts: (Arc<dyn Host>, Arc<dyn Deadman>) = (Arc::clone(&host) as _, Arc::clone(&deadman) as _);
        let engine = Engine::new(parts, Arc::new(ManualClock::at(1)), records.clone(), catalogue);
        Self { host, deadman, engine, records, _folder: folder }
    }

    async fn ask(&self, id: CommandId, item: &Item, mode: Mode) -> Ended {
        let (lines, mut said) = mpsc::channel(1024);
        tokio::spawn(async move { while said.recv().await.is_some() {} });
        self.engine.change(id, &ChangeArgs { item: item.clone(), mode }, &lines).await
    }

    async fn confirm(&self, change: CommandId, item: ItemName) -> Ended {
        let (lines, _said) = mpsc::channel(16);
        self.engine.confirm(&ConfirmArgs { change, item }, &lines).await
    }

    fn is_armed(&self) -> bool {
        self.deadman.armed.load(Ordering::SeqCst)
    }
}

fn end(ended: &Ended) -> (CommandOutcome, &str) {
    (ended.outcome, ended.code.as_str())
}

const WELL: (CommandOutcome, &str) = (CommandOutcome::Succeeded, "");

#[tokio::test(start_paused = true)]
async fn a_plan_shows_everything_and_touches_nothing() {
    let bench = Bench::new();
    let before = bench.host.world();
    let shown = bench.ask(CommandId::generate(), &Item::StartDocker, Mode::Plan).await;
    assert_eq!((end(&shown), bench.host.world(), bench.host.executed()), (WELL, before, vec![]));
    let report = shown.report.expect("a report");
    let titles: Vec<&str> = report.steps.iter().map(|step| step.title.as_str()).collect();
    let expected = [
        "install app",
        "write /etc/app.conf",
        "write /etc/app.d/extra",
        "enable and start app.service",
        "reload app.service",
    ];
    assert_eq!(titles, expected);
    assert_eq!(report.steps[1].diff, "-old\n+new\n-mode 0644 owner 0:0\n+mode 0600 owner 0:0\n");
    assert!(!report.already && !report.applied && bench.records.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_holds_is_not_done_again_and_an_undo_puts_everything_back() {
    let bench = Bench::new();
    let before = bench.host.world();
    let done = bench.ask(CommandId::generate(), &Item::StartDocker, Mode::Apply).await;
    assert_eq!(end(&done), WELL, "{done:?}");
    let report = done.report.expect("a report");
    assert!(report.applied && report.verified && report.steps.len() == 5);
    let (after, executed) = (bench.host.world(), bench.host.executed().len());
    let again = bench.ask(CommandId::generate(), &Item::StartDocker, Mode::Apply).await;
    assert_eq!(end(&again), (CommandOutcome::Succeeded, "already"));
    assert_eq!((bench.host.world(), bench.host.executed().len()), (after, executed), "nothing was done");
    let undone = bench.ask(CommandId::generate(), &Item::StartDocker, Mode::Undo).await;
    assert_eq!((end(&undone), bench.host.world()), (WELL, before));
    assert!(undone.report.is_some_and(|report| report.undone && report.steps.len() == 5));
    let nothing = bench.ask(CommandId::generate(), &Item::StartDocker, Mode::Undo).await;
    assert_eq!(end(&nothing), (CommandOutcome::Failed, "nothing_to_undo"));
}

#[tokio::test(start_paused = true)]
async fn whichever_step_fails_everything_is_put_back() {
    for failing in [" install app", "/etc/app.conf", "--check", "start app.service", "reload app.service"] {
        let bench = Bench::new();
        let before = bench.host.world();
        bench.host.fail(failing);
        let done = bench.ask(CommandId::generate(), &Item::StartDocker, Mode::Apply).await;
        // What can't be reloaded can't be reloaded after the undo either; the files are as before all the same.
        let expected = if failing.starts_with("reload") { "undo_failed" } else { "undone" };
        assert_eq!(end(&done), (CommandOutcome::Failed, expected), "{failing}: {done:?}");
        assert_eq!(bench.host.world(), before, "{failing}");
        assert!(done.detail.contains("fails") || failing.starts_with('/'), "{}", done.detail);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dangerous_change_stays_only_when_it_is_confirmed_in_time() {
    let (bench, id) = (Bench::new(), CommandId::generate());
    let done = bench.ask(id, &dangerous(), Mode::Apply).await;
    assert_eq!(end(&done), (CommandOutcome::Succeeded, "awaiting_confirmation"));
    assert_eq!(done.report.expect("a report").confirm_within_s, Some(CONFIRM_WITHIN_S));
    assert!(bench.is_armed());
    let other = bench.ask(CommandId::generate(), &Item::StartDocker, Mode::Undo).await;
    assert_eq!(end(&other), (CommandOutcome::Failed, "nothing_to_undo"));
    bench.host.pass(u64::from(CONFIRM_WITHIN_S) - 1);
    assert!(bench.engine.revert_due().await.expect("free").is_some_and(|left| left <= Duration::from_secs(1)));
    assert_eq!(end(&bench.confirm(id, ItemName::Sshd).await), (CommandOutcome::Failed, "wrong_item"));
    assert_eq!(end(&bench.confirm(id, ItemName::ConfigureSudo).await), WELL);
    assert!(!bench.is_armed());
    bench.host.pass(1000);
    let after = bench.host.world();
    assert_eq!(bench.engine.revert_due().await.expect("free"), None);
    assert_eq!(bench.host.world(), after);
    let unknown = bench.confirm(CommandId::generate(), ItemName::ConfigureSudo).await;
    assert_eq!(end(&unknown), (CommandOutcome::Failed, "unknown_change"));
}

#[tokio::test(start_paused = true)]
async fn without_a_confirmation_or_after_a_boot_it_is_taken_back() {
    for reboots in [false, true] {
        let (bench, id) = (Bench::new(), CommandId::generate());
        let before = bench.host.world();
        bench.ask(id, &dangerous(), Mode::Apply).await;
        if reboots {
            bench.host.reboot()
        } else {
            bench.host.pass(u64::from(CONFIRM_WITHIN_S) + 1)
        }
        let blocked = bench.ask(CommandId::generate(), &Item::StartDocker, Mode::Apply).await;
        assert_eq!(end(&blocked), (CommandOutcome::Failed, "unconfirmed_change"));
        assert_eq!(bench.engine.revert_due().await.expect("free"), None);
        bench.host.finish_boot();
        assert_eq!((bench.host.world(), bench.is_armed()), (before, false), "reboots: {reboots}");
        assert_eq!(end(&bench.confirm(id, ItemName::ConfigureSudo).await), (CommandOutcome::Failed, "already_undone"));
    }
    let (bench, id) = (Bench::new(), CommandId::generate());
    let before = bench.host.world();
    bench.ask(id, &dangerous(), Mode::Apply).await;
    bench.host.pass(u64::from(CONFIRM_WITHIN_S) + 1);
    let late = bench.confirm(id, ItemName::ConfigureSudo).await;
    assert_eq!((end(&late), bench.host.world()), ((CommandOutcome::Failed, "already_undone"), before));
}

#[tokio::test(start_paused = true)]
async fn without_a_timer_nothing_dangerous_is_begun() {
    let bench = Bench::new();
    let before = bench.host.world();
    bench.deadman.refuses.store(true, Ordering::SeqCst);
    let done = bench.ask(CommandId::generate(), &dangerous(), Mode::Apply).await;
    assert_eq!((end(&done), bench.host.world()), ((CommandOutcome::Failed, "undone"), before));
    assert!(!bench.host.executed().iter().any(|line| line.contains("app.service")));
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_put_back_is_tried_again_until_it_can() {
    let (bench, id) = (Bench::new(), CommandId::generate());
    let before = bench.host.world();
    bench.ask(id, &dangerous(), Mode::Apply).await;
    bench.host.pass(u64::from(CONFIRM_WITHIN_S) + 1);
    bench.host.fail("stop app.service");
    assert!(bench.engine.revert_due().await.expect("free").is_some());
    assert_eq!(bench.host.world().files, before.files, "the files are back whatever the service does");
    assert!(bench.is_armed());
    bench.host.mend();
    assert_eq!(bench.engine.revert_due().await.expect("free"), None);
    assert_eq!((bench.host.world(), bench.is_armed()), (before, false));
}

#[tokio::test(start_paused = true)]
async fn files_changed_by_hand_since_are_not_put_back() {
    let bench = Bench::new();
    bench.ask(CommandId::generate(), &Item::StartDocker, Mode::Apply).await;
    bench.host.put(FILE, "edited\n");
    let undone = bench.ask(CommandId::generate(), &Item::StartDocker, Mode::Undo).await;
    assert_eq!(end(&undone), (CommandOutcome::Failed, "changed_since"));
    assert_eq!(bench.host.world().files[FILE].bytes, b"edited\n");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_made_once_whoever_asks_again() {
    let (bench, id) = (Bench::new(), CommandId::generate());
    bench.ask(id, &Item::StartDocker, Mode::Apply).await;
    let executed = bench.host.executed();
    assert_eq!(end(&bench.ask(id, &Item::StartDocker, Mode::Apply).await), (CommandOutcome::Failed, "replayed"));
    assert_eq!(bench.host.executed(), executed);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The process dies at any effect, of the change or of taking it back, and again while it is settled.
    #[test]
    fn whenever_the_process_dies_the_host_is_as_before_or_as_asked_for(
        is_dangerous in any::<bool>(),
        first in 0..14u32,
        second in prop::option::of(0..8u32),
        reboots in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("built");
        runtime.block_on(async {
            let (bench, id) = (Bench::new(), CommandId::generate());
            let before = bench.host.world();
            let item = if is_dangerous { dangerous() } else { Item::StartDocker };
            let args = ChangeArgs { item: item.clone(), mode: Mode::Apply };
            bench.host.dies_after(Some(first));
            until_death(bench.ask(id, &item, Mode::Apply)).await;
            let on_disk = bench.records.all().pop();
            if let Some(second) = second {
                bench.host.dies_after(Some(second));
                until_death(bench.engine.settle(id, &args)).await;
            }
            bench.host.dies_after(None);
            if reboots {
                bench.host.reboot();
            }
            bench.engine.recover().await;
            let settled = bench.engine.settle(id, &args).await;
            bench.host.pass(50);
            assert_eq!(bench.engine.revert_due().await.expect("free"), None);
            bench.host.finish_boot();
            let (after, asked) = (bench.host.world(), after_all(&item).await);
            assert!(after == before || (!is_dangerous && after == asked), "{settled:?}\n{on_disk:?}\n{after:?}");
            assert!(!bench.is_armed());
            let installs = bench.host.executed().iter().filter(|line| line.contains(" install ")).count();
            assert!(installs <= 1, "begun once at most");
        });
    }
}

/// Runs to the end, or until the process dies.
async fn until_death(work: impl Future<Output = Ended>) {
    let _ = AssertUnwindSafe(work).catch_unwind().await;
}

async fn after_all(item: &Item) -> crate::action::host::fake::World {
    let bench = Bench::new();
    bench.ask(CommandId::generate(), item, Mode::Apply).await;
    bench.host.world()
}
