use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::*;

/// A host whose boot and init system are what a test says.
#[derive(Default)]
pub(crate) struct FakePower {
    boot: Mutex<Boot>,
    going_down: Mutex<Option<bool>>,
    refuses: bool,
    orders: AtomicUsize,
}

impl FakePower {
    pub(crate) fn in_boot(id: &str) -> Self {
        Self { boot: Mutex::new(boot(id)), going_down: Mutex::new(Some(false)), ..Self::default() }
    }

    pub(crate) fn orders(&self) -> usize {
        self.orders.load(Ordering::SeqCst)
    }
}

fn boot(id: &str) -> Boot {
    Boot { id: id.to_owned(), began_at_us: Some(1_736_937_000_000_000) }
}

fn begun(boot: &str) -> Begun {
    Begun { at_us: 1_736_936_990_000_000, boot: boot.to_owned() }
}

#[async_trait]
impl Power for FakePower {
    fn boot(&self) -> Boot {
        self.boot.lock().expect("unpoisoned").clone()
    }

    async fn order(&self, _: Transition) -> Result<(), String> {
        self.orders.fetch_add(1, Ordering::SeqCst);
        if self.refuses { Err("no init system".to_owned()) } else { Ok(()) }
    }

    async fn is_going_down(&self) -> Option<bool> {
        *self.going_down.lock().expect("unpoisoned")
    }

    async fn wake(&self, args: &WakeArgs) -> Result<Vec<String>, String> {
        Ok(vec![format!("{}'s network", args.interface)])
    }
}

fn ended(finished: &wire::Finished) -> (CommandOutcome, &str) {
    (finished.outcome(), finished.code.as_str())
}

#[test]
fn another_boot_proves_the_end_of_the_one_before() {
    let now_us = 1_736_937_005_000_000;
    let done = judge(Transition::Reboot, &begun("a:1"), &boot("b:1"), now_us).expect("judged");
    assert_eq!(done.outcome(), CommandOutcome::Succeeded);
    let Some(Answer::RebootJson(json)) = done.result else { panic!("no report") };
    let report: RebootReport = serde_json::from_str(&json).expect("a report");
    assert_eq!((report.old_boot_id.as_str(), report.new_boot_id.as_str()), ("a:1", "b:1"));
    assert_eq!((report.boot_time.as_str(), report.downtime_seconds), ("2025-01-15T10:30:00Z", 15.0));
    let stopped = judge(Transition::PowerOff, &begun("a:1"), &boot("a:2"), now_us).expect("judged");
    assert_eq!(ended(&stopped), (CommandOutcome::Succeeded, ""), "a stop that ended is not one that powers off now");
    assert_eq!(judge(Transition::Reboot, &begun("a:1"), &boot("a:1"), now_us), None);
}

#[test]
fn boots_that_have_no_id_prove_nothing() {
    for (before, now) in [("", "b:1"), ("a:1", ""), ("", "")] {
        let judged = judge(Transition::Reboot, &begun(before), &boot(now), 0).expect("judged");
        assert_eq!(ended(&judged), (CommandOutcome::Indeterminate, "crashed"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_in_the_same_boot_orders_nothing_and_answers_in_time() {
    let cases = [
        (Some(false), (CommandOutcome::Failed, "still_up"), GRACE),
        (None, (CommandOutcome::Indeterminate, "still_up"), GRACE),
        (Some(true), (CommandOutcome::Indeterminate, "still_going_down"), BOOT_ENDS_WITHIN),
    ];
    for (going_down, expected, within) in cases {
        for body in [CommandBody::Reboot, CommandBody::Stop] {
            let power = FakePower::in_boot("a:1");
            *power.going_down.lock().expect("unpoisoned") = going_down;
            let since = Instant::now();
            let finished = settle(&power, &body, &begun("a:1"), 0).await;
            assert_eq!(ended(&finished), expected);
            assert!(since.elapsed() <= within + LOOK_AGAIN, "{:?}", since.elapsed());
            assert_eq!(power.orders(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reboot_that_does_not_happen_fails_and_one_that_is_refused_fails_at_once() {
    let (progress, mut lines) = mpsc::channel(4);
    let power = FakePower::in_boot("a:1");
    let since = Instant::now();
    assert_eq!(ended(&reboot(&power, &progress).await), (CommandOutcome::Failed, "still_up"));
    assert_eq!((power.orders(), since.elapsed() >= BOOT_ENDS_WITHIN), (1, true));
    assert!(lines.recv().await.is_some(), "it told that it reboots");
    let power = FakePower { refuses: true, ..FakePower::in_boot("a:1") };
    let since = Instant::now();
    assert_eq!(ended(&reboot(&power, &progress).await), (CommandOutcome::Failed, "order_refused"));
    assert_eq!(ended(&stop(&power).await), (CommandOutcome::Failed, "order_refused"));
    assert!(since.elapsed() < LOOK_AGAIN && lines.try_recv().is_err());
}

#[tokio::test]
async fn a_stop_says_that_the_host_is_still_there() {
    let power = FakePower::in_boot("a:1");
    assert_eq!(ended(&stop(&power).await), (CommandOutcome::Succeeded, POWERING_OFF));
}

#[tokio::test]
async fn nothing_is_found_out_about_a_packet() {
    let args = WakeArgs {
        mac: "02:00:00:00:00:01".parse().expect("an address"),
        interface: "eth0".parse().expect("a name"),
        target: muster_shared::id::ServerId::generate(),
    };
    let power = FakePower::in_boot("a:1");
    assert_eq!(ended(&wake(&power, &args).await), (CommandOutcome::Succeeded, "sent"));
    let settled = settle(&power, &CommandBody::Wake(args), &begun(""), 0).await;
    assert_eq!(ended(&settled), (CommandOutcome::Indeterminate, "crashed"));
}
