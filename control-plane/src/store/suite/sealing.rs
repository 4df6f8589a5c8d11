//! Whatever is sealed, and whenever: questions have one answer.

use super::{
    sealed_world::{START_US, World},
    *,
};
use crate::{
    metrics::{
        latest,
        seal::{GRACE_US, Sealed, seal_due},
        steps::HOUR_US,
    },
    retention::{Kept, trim},
    store::{Resolution, test_database::on_each},
};

#[tokio::test(flavor = "multi_thread")]
async fn sealed_samples_answer_as_frames_did() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        // A gap of twenty minutes, a frame over the edge of an hour, and an agent that began a new spool.
        let mut frames = world.frames(1, 5..4_205);
        frames.extend(world.frames(1, 5_405..9_005));
        frames.extend(world.frames(2, 9_011..13_000));
        world.store_frames(&frames).await;
        world.check(4).await;
        assert_eq!(world.seal_after(0).await, Sealed::default(), "nothing is due before an hour is over");
        for hours in 1..=4 {
            assert!(world.seal_after(hours).await.frames > 0, "hour {hours}");
            world.check(4).await;
        }
        let left = world.fleet.store.frames_between(world.fleet.org, world.server, (0, i64::MAX - 1), 9).await;
        assert!(left.expect("read").is_empty());
        let latest = latest(&world.fleet.store, world.fleet.org, world.server).await.expect("read").expect("a sample");
        assert_eq!(latest.at_us, START_US + 13_000 * SECOND_US + 137, "what it said last is still known");
        assert_eq!(world.seal_after(4).await, Sealed::default(), "there is nothing left to do");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_hours_late_is_in_its_place() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let frames = world.frames(1, 0..14_400);
        // The last seconds of an hour come after the hour behind it was sealed, its first rates with them.
        let is_late = |at: usize| (300..420).contains(&at) || at.is_multiple_of(17) || (1_070..1_085).contains(&at);
        let (late, punctual): (Vec<_>, Vec<_>) = frames.into_iter().enumerate().partition(|(at, _)| is_late(*at));
        let rows = |frames: Vec<(usize, _)>| frames.into_iter().map(|(_, frame)| frame).collect::<Vec<_>>();
        let (mut late, punctual) = (rows(late), rows(punctual));
        late.reverse();
        world.store_frames(&punctual).await;
        world.seal_after(4).await;
        for some in late.chunks(60) {
            world.store_frames(some).await;
            // Sent again, since the acknowledgement was lost.
            world.store_frames(&some[..3]).await;
            world.seal_after(4).await;
            world.store_frames(&some[5..9]).await;
        }
        world.check(4).await;
        world.seal_after(4).await;
        world.check(4).await;
        let blocks = world.blocks(Resolution::Second).await;
        let windows: std::collections::BTreeSet<_> = blocks.iter().map(|block| block.key.window_us).collect();
        assert_eq!(blocks.len(), windows.len(), "late samples join their hour's block");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_the_same_at_every_moment_of_a_sealing() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let frames = world.frames(1, 0..10_800);
        world.store_frames(&frames).await;
        world.clock.advance(3 * HOUR_US + GRACE_US);
        let history = world.history.clone();
        let sealing = tokio::spawn(async move { seal_due(&history).await.expect("sealed") });
        let mut checks = 0;
        while !sealing.is_finished() || checks < 2 {
            world.check(3).await;
            checks += 1;
        }
        assert_eq!(sealing.await.expect("no panic").frames, frames.len());
        world.check(3).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_arrive_while_their_hour_is_sealed_are_in_one_place() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let frames = world.frames(1, 0..7_200);
        world.clock.advance(2 * HOUR_US + GRACE_US);
        let (history, store) = (world.history.clone(), world.fleet.store.clone());
        let arriving = frames.clone();
        // Every third frame, then the rest, as a backlog comes between others.
        let inserting = tokio::spawn(async move {
            for offset in [0, 2, 1] {
                for frame in arriving.iter().skip(offset).step_by(3) {
                    store.insert_frames(std::slice::from_ref(frame)).await.expect("stored");
                }
            }
        });
        let mut sealed = 0;
        while !inserting.is_finished() {
            sealed += seal_due(&history).await.expect("sealed").frames;
        }
        inserting.await.expect("no panic");
        sealed += seal_due(&history).await.expect("sealed").frames;
        assert_eq!(sealed, frames.len(), "each was sealed once");
        world.check(2).await;
        let samples: u64 = world.blocks(Resolution::Second).await.iter().map(|block| block.samples).sum();
        assert_eq!(samples as usize, world.known.values().map(|points| points.len()).sum::<usize>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_outlive_samples_and_take_in_what_comes_later_still() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let mut frames = world.frames(1, 0..7_200);
        let late = frames.split_off(600);
        let kept = Kept::default();
        world.store_frames(&frames).await;
        world.seal_after(2).await;
        let week_later = START_US + 9 * 24 * HOUR_US;
        assert!(world.hour_stripes().await > 2);
        trim(&world.fleet.store, kept, week_later).await.expect("trimmed");
        assert!(world.blocks(Resolution::Second).await.is_empty());
        assert_eq!(world.hour_stripes().await, 0);
        world.store_frames(&late[1..]).await;
        world.seal_after(2).await;
        assert!(world.blocks(Resolution::Second).await.is_empty(), "single samples stay gone");
        let minutes = world.means(60 * SECOND_US, 2).await;
        assert!(minutes.iter().all(|minute| !minute.is_nan()), "{minutes:?}");
        // Minutes go next, and hours still take in what is later than that.
        trim(&world.fleet.store, kept, START_US + 100 * 24 * HOUR_US).await.expect("trimmed");
        assert!(world.blocks(Resolution::Minute).await.is_empty());
        let before = world.hour_samples().await;
        world.store_frames(&late[..1]).await;
        assert_eq!(world.hour_samples().await, before + 9, "ten seconds, one without the gauge");
        world.seal_after(2).await;
        assert_eq!(world.hour_samples().await, before + 9, "and so it stays");
        assert!(world.blocks(Resolution::Minute).await.is_empty());
        assert!(world.means(HOUR_US, 2).await.iter().all(|hour| !hour.is_nan()));
        trim(&world.fleet.store, kept, START_US + 3 * 366 * 24 * HOUR_US).await.expect("trimmed");
        assert!(world.blocks(Resolution::Hour).await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealing_that_is_broken_off_anywhere_loses_and_doubles_nothing() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let frames = world.frames(1, 0..10_800);
        world.store_frames(&frames).await;
        world.clock.advance(3 * HOUR_US + GRACE_US);
        let mut turns = 0;
        loop {
            // Dropped where it waits for the database, a little later each time.
            let whole = die_after(turns, seal_due(&world.history)).await;
            if turns % 8 == 0 {
                world.check(3).await;
            }
            if let Some(sealed) = whole {
                assert_eq!(sealed.expect("sealed").failed, 0);
                break;
            }
            turns += 1;
        }
        // A database that answers at once makes fewer places to break off at.
        assert!(turns >= 3, "it was broken off {turns} times only");
        // The one broken off last may have been at its commit: then the whole one left it the rest, as to any other.
        assert_eq!(seal_due(&world.history).await.expect("sealed").failed, 0);
        assert_eq!(world.fleet.store.first_to_seal_us(world.server, i64::MAX).await.expect("read"), None);
        world.check(3).await;
        let samples: u64 = world.blocks(Resolution::Second).await.iter().map(|block| block.samples).sum();
        assert_eq!(samples as usize, world.known.values().map(|points| points.len()).sum::<usize>());
    })
    .await;
}
