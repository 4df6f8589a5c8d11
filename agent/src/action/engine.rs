//! Makes changes and takes them back. Decides nothing about a change's life ([`Life`]) or its contents
//! ([`AnyChange`]): it writes down where the change stands, does the one deed that is due, and goes on.
//!
//! A change that could not be written down is not begun; once something has begun, a full disk no longer keeps the
//! engine from taking it back.

mod effects;
mod ending;

use std::{io, sync::Arc, time::Duration};

use muster_shared::{
    action::{
        ChangeArgs, ConfirmArgs, Item, Mode,
        life::{Deed, Event, Life, Phase, Shape},
    },
    hardening::ItemStanding,
    id::CommandId,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

pub use self::{effects::service_state, ending::Ended};
use super::{
    deadman::Deadman,
    harden,
    host::Host,
    plan::{AnyChange, Plan, Refused},
    record::{Deadline, Lock, Record, Records},
};
use crate::clock::Clock;

/// How long a change waits for another one to end.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(20 * 60);
/// How long a confirmation, and whoever reverts or settles, waits for the lock: nobody waits for them that long.
const WAIT_BRIEFLY: Duration = Duration::from_secs(8);
/// How long settling may take before the answer is that it goes on.
const SETTLE_WITHIN: Duration = Duration::from_secs(12);
/// How long a program that outlived its executor may go on before nobody waits for it any more.
const ORPHAN_WITHIN: Duration = Duration::from_secs(30 * 60);
/// Looks at the host after the last step, a second apart: what was started needs a moment.
const LOOKS: u32 = 8;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// How often taking back is tried again by itself: a quarter of an hour of the timer's visits.
const MAX_UNDOS: u32 = 200;

/// What an item stands for.
pub type Catalogue = fn(&Item) -> Box<dyn AnyChange>;

/// Makes changes. Clones work on the same host.
#[derive(Clone)]
pub struct Engine {
    host: Arc<dyn Host>,
    deadman: Arc<dyn Deadman>,
    clock: Arc<dyn Clock>,
    records: Records,
    catalogue: Catalogue,
}

/// Hears what a change is at, line by line. A full queue costs lines.
pub type Lines = mpsc::Sender<String>;

impl Engine {
    /// An engine that keeps its records in `records`.
    #[must_use]
    pub fn new(
        (host, deadman): (Arc<dyn Host>, Arc<dyn Deadman>),
        clock: Arc<dyn Clock>,
        records: Records,
        catalogue: Catalogue,
    ) -> Self {
        Self { host, deadman, clock, records, catalogue }
    }

    /// Carries out `args` as the command `id`.
    pub async fn change(&self, id: CommandId, args: &ChangeArgs, lines: &Lines) -> Ended {
        let done = match args.mode {
            Mode::Plan => self.show(args).await,
            Mode::Apply => self.apply(id, args, lines).await,
            Mode::Undo => self.undo(id, args, lines).await,
        };
        done.unwrap_or_else(|refused| Ended::refused(args, &refused))
    }

    async fn show(&self, args: &ChangeArgs) -> Result<Ended, Refused> {
        let plan = (self.catalogue)(&args.item).planned(self.host.as_ref()).await?;
        Ok(Ended::shown(args, &plan, self.reports(&plan)))
    }

    async fn apply(&self, id: CommandId, args: &ChangeArgs, lines: &Lines) -> Result<Ended, Refused> {
        let _lock = self.lock(WAIT_FOR_OTHERS, lines).await?;
        if self.load(id)?.is_some() {
            return Err(Refused::new("replayed", "this host has carried out this change before"));
        }
        self.refuse_while_pending()?;
        let plan = (self.catalogue)(&args.item).planned(self.host.as_ref()).await?;
        if plan.steps.is_empty() {
            return Ok(Ended::already(args, &plan));
        }
        let reports = self.reports(&plan);
        let steps = u32::try_from(plan.steps.len()).unwrap_or(u32::MAX);
        let life = Life::new(Shape { steps, arm_before: plan.arm_before.filter(|first| *first < steps) });
        let mut record = Record {
            id,
            item: args.item.clone(),
            at_us: self.clock.now_us(),
            plan,
            life,
            kept: Vec::new(),
            deadline: None,
            trouble: String::new(),
            undone_by: None,
            failed_undos: 0,
        };
        self.records.save(&record).map_err(unwritable)?;
        self.carry_on(&mut record, lines).await;
        self.disarm_if_idle(&record).await;
        self.records.forget_oldest();
        Ok(Ended::of(&record, Mode::Apply, reports))
    }

    async fn undo(&self, id: CommandId, args: &ChangeArgs, lines: &Lines) -> Result<Ended, Refused> {
        let _lock = self.lock(WAIT_FOR_OTHERS, lines).await?;
        let name = args.item.name();
        let mut record = self.records.newest_in_force(name).ok_or_else(|| {
            Refused::new("nothing_to_undo", format!("no change of {name} that is in force is on this host's record"))
        })?;
        if record.life.phase == Phase::Committed {
            self.refuse_while_pending()?;
            self.refuse_if_changed_since(&record)?;
            (self.catalogue)(&record.item).undoable(self.host.as_ref()).await?;
        }
        let reports = self.undo_reports(&record);
        record.undone_by = Some(id);
        "it was asked for".clone_into(&mut record.trouble);
        self.step(&mut record, Event::UndoAsked);
        self.records.save(&record).map_err(unwritable)?;
        self.carry_on(&mut record, lines).await;
        self.disarm_if_idle(&record).await;
        Ok(Ended::of(&record, Mode::Undo, reports))
    }

    /// How this host stands towards the hardening profile, as it was last applied here. Reads only.
    pub async fn assess(&self) -> Vec<ItemStanding> {
        harden::assess(self.host.as_ref(), |name| self.records.newest_in_force(name).map(|record| record.item)).await
    }

    /// Keeps a change that waits for it.
    pub async fn confirm(&self, args: &ConfirmArgs, lines: &Lines) -> Ended {
        self.confirmed(args, lines).await.unwrap_or_else(|refused| Ended::failed(&refused))
    }

    async fn confirmed(&self, args: &ConfirmArgs, lines: &Lines) -> Result<Ended, Refused> {
        let _lock = self.lock(WAIT_BRIEFLY, lines).await?;
        let unknown = || Refused::new("unknown_change", "this host has no record of that change");
        let mut record = self.load(args.change)?.ok_or_else(unknown)?;
        if record.item.name() != args.item {
            return Err(Refused::new("wrong_item", format!("that change is one of {}", record.item.name())));
        }
        if record.life.phase == Phase::Awaiting {
            if self.is_due(&record) {
                self.step(&mut record, Event::Overdue);
                "no confirmation came in time".clone_into(&mut record.trouble);
                self.carry_on(&mut record, lines).await;
            } else {
                self.step(&mut record, Event::Confirmed);
                self.records.save(&record).map_err(unwritable)?;
            }
            self.disarm_if_idle(&record).await;
        }
        Ok(Ended::confirmed(&record))
    }

    /// Finds out how a change ended that an earlier process had begun, and brings it to an end: what can't be shown to
    /// hold is taken back. Answers within [`SETTLE_WITHIN`] and some seconds.
    pub async fn settle(&self, id: CommandId, args: &ChangeArgs) -> Ended {
        if args.mode == Mode::Plan {
            return Ended::interrupted();
        }
        let engine = self.clone();
        let settling = tokio::spawn({
            let args = args.clone();
            async move { engine.settled(id, &args).await }
        });
        match tokio::time::timeout(SETTLE_WITHIN, settling).await {
            Ok(Ok(ended)) => ended.unwrap_or_else(|refused| Ended::refused(args, &refused)),
            Ok(Err(_)) | Err(_) => Ended::going_on(),
        }
    }

    async fn settled(&self, id: CommandId, args: &ChangeArgs) -> Result<Ended, Refused> {
        let (lines, _) = mpsc::channel(1);
        // A reverter may be at it; then its end is waited for.
        let lock = self.lock(WAIT_FOR_OTHERS, &lines).await?;
        let found = match args.mode {
            Mode::Undo => self.records.all().into_iter().rev().find(|record| record.undone_by == Some(id)),
            _ => self.load(id)?,
        };
        let Some(mut record) = found else { return Ok(Ended::never_begun(args)) };
        let reports = self.reports(&record.plan);
        self.wait_for_orphan(&record).await?;
        self.finish_found(&mut record, &lines).await;
        self.disarm_if_idle(&record).await;
        drop(lock);
        Ok(Ended::of(&record, args.mode, reports))
    }

    /// Waits for the end of the program that an earlier process left running.
    async fn wait_for_orphan(&self, record: &Record) -> Result<(), Refused> {
        let (Phase::Applying { step } | Phase::Undoing { step, .. }) = record.life.phase else { return Ok(()) };
        let (name, output) = (effects::run_name(record.id, step), self.records.output(record.id, step));
        let until = Instant::now() + ORPHAN_WITHIN;
        while self.host.is_running(&name, &output).await {
            if Instant::now() >= until {
                return Err(Refused::new(
                    "still_running",
                    "a program that the change started does not end; look at the host",
                ));
            }
            sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }

    async fn finish_found(&self, record: &mut Record, lines: &Lines) {
        if record.life.deed().is_none() {
            return;
        }
        let holds = record.life.shape.arm_before.is_none() && self.holds(record).await.is_ok();
        self.step(record, Event::Found { holds });
        if record.trouble.is_empty() && record.life.phase != Phase::Committed {
            "the agent stopped while the change was being made".clone_into(&mut record.trouble);
        }
        self.keep(record);
        self.carry_on(record, lines).await;
    }

    /// Takes back every change whose deadline has passed; what is not due yet stays. Answers how long until the next one
    /// is; `None` when nothing is left, and the timer is then off.
    ///
    /// # Errors
    /// When somebody else is making or taking back a change, or the records can't be reached.
    pub async fn revert_due(&self) -> io::Result<Option<Duration>> {
        let busy = || io::Error::new(io::ErrorKind::WouldBlock, "another process is making or taking back a change");
        let _lock = self.records.lock(WAIT_BRIEFLY).await?.ok_or_else(busy)?;
        let (lines, _) = mpsc::channel(1);
        let mut next = None;
        // The newest first: each puts back what was there when it began.
        for mut record in self.pending().into_iter().rev() {
            let left = self.left(&record);
            if !left.is_zero() {
                next = Some(next.map_or(left, |next: Duration| next.min(left)));
                continue;
            }
            if record.trouble.is_empty() {
                "no confirmation came in time".clone_into(&mut record.trouble);
            }
            tracing::warn!(change = %record.id, item = %record.item.name(), "taking back an unconfirmed change");
            if matches!(record.life.phase, Phase::Undoing { .. } | Phase::Refreshing { .. }) {
                self.step(&mut record, Event::Found { holds: false });
            } else {
                self.step(&mut record, Event::Overdue);
            }
            self.keep(&record);
            self.carry_on(&mut record, &lines).await;
            if record.life.is_pending() {
                next = Some(BETWEEN_LOOKS);
            }
        }
        if self.pending().is_empty() {
            self.deadman.disarm().await;
            return Ok(None);
        }
        Ok(next)
    }

    /// What an executor does when it starts: reverts what is due, and sees to it that the rest will be.
    pub async fn recover(&self) {
        match self.revert_due().await {
            Ok(None) => {}
            Ok(Some(_)) => {
                if let Err(cause) = self.deadman.arm().await {
                    tracing::error!(cause, "an unconfirmed change may not be taken back in time");
                }
            }
            Err(cause) => tracing::warn!(%cause, "unconfirmed changes are left to the timer"),
        }
    }

    /// Does what is due until nothing is.
    async fn carry_on(&self, record: &mut Record, lines: &Lines) {
        while let Some(deed) = record.life.deed() {
            let event = match self.perform(deed, record, lines).await {
                Ok(event) => event,
                Err((event, trouble)) => {
                    let _ = lines.try_send(trouble.clone());
                    if record.trouble.is_empty() {
                        record.trouble = trouble;
                    }
                    event
                }
            };
            self.step(record, event);
            if record.life.phase == Phase::UndoFailed {
                record.failed_undos += 1;
            }
            if !self.keep(record) {
                let failure = match record.life.phase {
                    Phase::Ready { .. } => Event::NotBegun,
                    Phase::Applying { .. } => Event::NotApplied,
                    Phase::Verifying => Event::HoldsNot,
                    _ => continue,
                };
                "the host can't write down where the change stands (is its disk full?)".clone_into(&mut record.trouble);
                self.step(record, failure);
            }
        }
    }

    async fn perform(&self, deed: Deed, record: &mut Record, lines: &Lines) -> Result<Event, (Event, String)> {
        if self.is_due(record) && matches!(deed, Deed::Begin(_) | Deed::Apply(_)) {
            return Err((
                if matches!(deed, Deed::Begin(_)) { Event::NotBegun } else { Event::NotApplied },
                "it took too long".into(),
            ));
        }
        match deed {
            Deed::Arm => {
                self.deadman.arm().await.map_err(|why| (Event::NotArmed, why))?;
                record.deadline = Some(Deadline::after(&self.host.now(), record.plan.confirm_within_s));
                Ok(Event::Armed)
            }
            Deed::Begin(step) => {
                let kept = self.keep_before(record, step).await.map_err(|why| (Event::NotBegun, why))?;
                record.kept.truncate(step as usize);
                record.kept.push(kept);
                Ok(Event::Begun)
            }
            Deed::Apply(step) => {
                let title = record.plan.steps[step as usize].title();
                let _ = lines.try_send(format!("{} of {}: {title}", step + 1, record.life.shape.steps));
                self.apply_step(record, step, lines).await.map_err(|why| (Event::NotApplied, why))?;
                Ok(Event::Applied)
            }
            Deed::Verify => match self.looks_as_asked(record).await {
                Ok(()) => Ok(Event::Holds),
                Err(why) => Err((Event::HoldsNot, why)),
            },
            Deed::Invert(step) => {
                let title = record.plan.steps[step as usize].title();
                let _ = lines.try_send(format!("taking back: {title}"));
                self.invert_step(record, step, lines).await.map_err(|why| (Event::NotInverted, why))?;
                Ok(Event::Inverted)
            }
            Deed::Refresh => {
                self.refresh(record, lines).await.map_err(|why| (Event::NotRefreshed, why))?;
                Ok(Event::Refreshed)
            }
        }
    }

    /// Looks until it holds, or no longer.
    async fn looks_as_asked(&self, record: &Record) -> Result<(), String> {
        let mut why = String::new();
        for _ in 0..LOOKS {
            match self.holds(record).await {
                Ok(()) => return Ok(()),
                Err(not) => why = not,
            }
            if self.is_due(record) {
                break;
            }
            sleep(BETWEEN_LOOKS).await;
        }
        Err(why)
    }

    /// Looks whether the host is as asked for.
    async fn holds(&self, record: &Record) -> Result<(), String> {
        match (self.catalogue)(&record.item).planned(self.host.as_ref()).await {
            Ok(plan) if plan.steps.is_empty() => Ok(()),
            Ok(plan) => {
                let titles: Vec<String> = plan.steps.iter().map(super::Step::title).collect();
                Err(format!("afterwards there would still be to {} ({})", titles.join(", "), plan.evidence))
            }
            Err(refused) => Err(refused.detail),
        }
    }

    fn step(&self, record: &mut Record, event: Event) {
        if let Err(misplaced) = record.life.handle(event) {
            tracing::error!(%misplaced, change = %record.id, "a change's life went astray");
        }
    }

    fn keep(&self, record: &Record) -> bool {
        self.records.save(record).inspect_err(|cause| tracing::error!(%cause, "a change can't be written down")).is_ok()
    }

    async fn lock(&self, within: Duration, lines: &Lines) -> Result<Lock, Refused> {
        if let Some(lock) = self.records.lock(Duration::ZERO).await.map_err(unwritable)? {
            return Ok(lock);
        }
        let _ = lines.try_send("waiting for another change on this host to end".to_owned());
        let busy = || Refused::new("busy", "another change on this host does not end; try again later");
        self.records.lock(within).await.map_err(unwritable)?.ok_or_else(busy)
    }

    fn load(&self, id: CommandId) -> Result<Option<Record>, Refused> {
        self.records
            .load(id)
            .map_err(|cause| Refused::new("record_unreadable", format!("the change's record can't be read: {cause}")))
    }

    fn pending(&self) -> Vec<Record> {
        let is_pending = |record: &Record| record.life.is_pending() && record.failed_undos < MAX_UNDOS;
        self.records.all().into_iter().filter(is_pending).collect()
    }

    fn left(&self, record: &Record) -> Duration {
        record.deadline.as_ref().map_or(Duration::ZERO, |deadline| deadline.left(&self.host.now()))
    }

    /// Whether a change that must be confirmed can no longer be.
    fn is_due(&self, record: &Record) -> bool {
        record.life.armed && self.left(record).is_zero()
    }

    /// Two changes that may each be taken back would put back each other's files.
    fn refuse_while_pending(&self) -> Result<(), Refused> {
        let Some(other) = self.pending().pop() else { return Ok(()) };
        let seconds = self.left(&other).as_secs() + super::deadman::LOOK_EVERY_S;
        let detail = format!(
            "the change {} of {} waits for its confirmation; confirm it, or wait the {seconds} s until it is taken back",
            other.id,
            other.item.name()
        );
        Err(Refused::new("unconfirmed_change", detail))
    }

    async fn disarm_if_idle(&self, record: &Record) {
        if record.life.armed && self.pending().is_empty() {
            self.deadman.disarm().await;
        }
    }

    fn reports(&self, plan: &Plan) -> Vec<muster_shared::action::StepReport> {
        ending::step_reports(self.host.as_ref(), plan)
    }
}

fn unwritable(cause: io::Error) -> Refused {
    Refused::new(
        "unwritable",
        format!("the change can't be written down, so it is not begun: {cause} (is the disk full?)"),
    )
}

#[cfg(test)]
mod tests;
