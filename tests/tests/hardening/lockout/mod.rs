//! No lock-out: changes of the firewall, of sshd, of sudo and of the key on record are broken in every way there is, on
//! real servers, and each time a fresh login works again within a minute. Seeded; small here, and big by `just lockout`.

mod item;
mod victim;

use std::{env, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    lab::{LabServer, Network, Release, Sudo, Variant},
    patience::held_to,
};

use self::{
    item::{Item, KEEPER, SET_UP},
    victim::{Ran, Victim},
};
use super::{FAMILIES, join_entered};

/// The promise: a way in that was closed is open again by then.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The change itself closes the way in.
    Closing,
    /// The step that counts fails.
    BrokenStep,
    /// What makes the change on the host is killed: the executor, or the login that it goes over.
    KillExecutor,
    /// The same, and whoever takes changes back, are killed again and again for some seconds.
    KillOwners,
    /// The way between the host and the control plane is cut.
    CutNetwork,
    /// The server starts anew without being shut down.
    Restart,
}

const FAULTS: [Fault; 6] =
    [Fault::Closing, Fault::BrokenStep, Fault::KillExecutor, Fault::KillOwners, Fault::CutNetwork, Fault::Restart];

/// A small generator: the same seed, the same faults at the same moments.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> Result<T> {
        Ok(choices[usize::try_from(self.below(choices.len() as u64))?])
    }
}

/// The faults come in turn from `first` on; the dice say what they hit and when.
async fn runs(control_plane: &ControlPlane, mut dice: Dice, (first, count): (u64, u64)) -> Result<Vec<Ran>> {
    // Alone in its network, a server that boots again has the address that it had.
    let network = Network::create().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    server.paste(SET_UP).await?;
    for (user, sudo) in [(KEEPER, Sudo::WithoutPassword), ("deploy", Sudo::No)] {
        server.add_user(user, "battery staple", sudo).await?;
    }
    let id = join_entered(control_plane, &server, &FAMILIES).await?;
    let mut victim = Victim::new(control_plane, server, id).await?;
    let mut ran = Vec::new();
    for number in 0..count {
        let fault = FAULTS[usize::try_from((first + number) % 6)?];
        let item = dice.one_of(Item::hit_by(fault))?;
        let delay = Duration::from_millis(dice.below(item.takes_ms()));
        let run = victim.run(fault, item, delay).await;
        ran.push(run.with_context(|| format!("{fault:?} {item:?} after {delay:?}"))?);
    }
    Ok(ran)
}

#[tokio::test]
async fn whatever_breaks_the_way_in_is_open_again_within_a_minute() -> Result<()> {
    let number = |name: &str, usual: u64| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (count, at_once) = (number("MUSTER_LOCKOUT_RUNS", 6), number("MUSTER_LOCKOUT_SERVERS", 2));
    let seed = number("MUSTER_LOCKOUT_SEED", 20_261_126);
    let network = Network::create().await?;
    let mut control_plane = Settings::new().reached_from(&network).start().await?;
    control_plane.expect_unfinished_commands();
    let share = count.div_ceil(at_once);
    let servers = (0..at_once).map(|server| {
        let mut dice = Dice(seed.wrapping_mul(2_654_435_761).wrapping_add(server.wrapping_mul(0x9e37_79b9) | 1));
        dice.next();
        runs(&control_plane, dice, (server * 3, share))
    });
    let mut all = Vec::new();
    for ran in join_all(servers).await {
        all.extend(ran?);
    }
    report(&all, seed)?;
    let closed = all.iter().filter(|ran| ran.fault == Fault::Closing);
    ensure!(closed.clone().all(|ran| !ran.stayed), "a change that closed the way in stayed: {all:?}");
    Ok(())
}

/// Prints the counts.
fn report(all: &[Ran], seed: u64) -> Result<()> {
    let locked_out = all.iter().filter(|ran| ran.outage > held_to(BACK_WITHIN)).count();
    let over = all.iter().filter(|ran| ran.outage > BACK_WITHIN).count();
    let longest = all.iter().map(|ran| ran.outage).max().unwrap_or_default();
    let stayed = all.iter().filter(|ran| ran.stayed).count();
    println!(
        "{} runs, seed {seed}: {locked_out} lock-outs, {over} over a minute, longest without a way in {longest:?}, \
         {stayed} kept",
        all.len()
    );
    let line = |what: String, of: Vec<&Ran>| {
        let worst = of.iter().map(|ran| ran.outage).max().unwrap_or_default();
        println!("{what}: {} runs, longest {worst:?}", of.len());
    };
    for fault in FAULTS {
        line(format!("{fault:?}"), all.iter().filter(|ran| ran.fault == fault).collect());
    }
    for item in Item::ALL {
        line(format!("{item:?}"), all.iter().filter(|ran| ran.item == item).collect());
    }
    ensure!(locked_out == 0, "{all:?}");
    Ok(())
}
