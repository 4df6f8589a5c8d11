//! SIGKILL in the middle of a sealing, again and again. The test starts itself as the process that is killed.

use std::{env, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use super::{
    sealed_world::{START_US, World},
    *,
};
use crate::{
    clock::Clock,
    metrics::{
        History,
        seal::{GRACE_US, seal_due},
        steps::HOUR_US,
    },
    store::{Resolution, test_database::TestDatabase},
};

/// Names the database to the process that seals it.
const SEALS: &str = "MUSTER_TEST_SEALS";
const HOURS: i64 = 6;
/// What the process is given longer each time.
const STEP: Duration = Duration::from_millis(15);

async fn seal_everything(url: &str) {
    let store = Store::open(&url.parse().expect("an address")).await.expect("opened");
    let clock = Clock::standing_at(START_US + HOURS * HOUR_US + GRACE_US);
    let sealed = seal_due(&History::new(store, Events::default(), clock)).await.expect("sealed");
    assert_eq!(sealed.failed, 0);
}

async fn survives(database: TestDatabase) {
    let mut world = World::new(database.store.clone()).await;
    let frames = world.frames(1, 0..HOURS * 3_600);
    world.store_frames(&frames).await;
    let (mut kills, mut hours_seen) = (0u32, std::collections::BTreeSet::new());
    loop {
        let mut process = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "store::suite::sealing_kill::a_sealing_that_is_killed_loses_and_doubles_nothing"])
            .env(SEALS, database.url.as_str())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        if let Ok(ended) = timeout(STEP * (kills + 1), process.wait()).await {
            assert!(ended.expect("waited for").success());
            break;
        }
        process.kill().await.expect("killed");
        kills += 1;
        if hours_seen.insert(world.blocks(Resolution::Second).await.len()) {
            world.check(HOURS).await;
        }
    }
    assert!(hours_seen.len() > 1, "{kills} kills, none of them between two hours: {hours_seen:?}");
    world.check(HOURS).await;
    let samples: u64 = world.blocks(Resolution::Second).await.iter().map(|block| block.samples).sum();
    assert_eq!(samples as usize, world.known.values().map(|points| points.len()).sum::<usize>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealing_that_is_killed_loses_and_doubles_nothing() {
    if let Ok(url) = env::var(SEALS) {
        return seal_everything(&url).await;
    }
    survives(TestDatabase::sqlite().await).await;
    if let Some(postgres) = TestDatabase::postgres().await {
        survives(postgres).await;
    }
}
