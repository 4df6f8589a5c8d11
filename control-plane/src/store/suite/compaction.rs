//! Whatever becomes of hours, and whenever: questions have one answer.

use super::{
    sealed_world::{GAUGE, START_US, World},
    *,
};
use crate::{
    metrics::{
        Budget,
        compact::{Compacted, GRACE_US, compact_due},
        seal::seal_due,
        steps::{Bucket, HOUR_US, MINUTE_US, Steps},
    },
    retention::{Kept, trim},
    store::{FrameRow, Resolution, test_database::on_each},
};

/// Hours after the start at which the day ends.
const MIDNIGHT: i64 = 16;
/// Hours after the start at which it is made.
const DUE: i64 = MIDNIGHT + GRACE_US / HOUR_US;
/// Hours that are asked about.
const HOURS: i64 = 18;
const DAY_US: i64 = Resolution::DAY_US;
const FIRST_DAY_US: i64 = START_US + MIDNIGHT * HOUR_US - DAY_US;

/// Two hours of the morning, two before midnight and two after it, one minute left out.
fn frames(world: &mut World) -> Vec<FrameRow> {
    let mut frames = world.frames(1, 5..7_205);
    frames.extend(world.frames(1, 50_405..55_005));
    frames.extend(world.frames(2, 55_071..64_791));
    frames
}

async fn sealed(store: Store) -> World {
    let mut world = World::new(store).await;
    let frames = frames(&mut world);
    world.store_frames(&frames).await;
    assert_eq!(world.seal_after(HOURS).await.failed, 0);
    world
}

impl World {
    /// How many days there are, and hours of the first of them.
    async fn days_and_hours(&self, resolution: Resolution) -> (usize, usize) {
        let whose = (self.fleet.org, self.server);
        let days = self.fleet.store.days(whose, resolution, (i64::MIN, i64::MAX)).await.expect("read").len();
        let of_day = (FIRST_DAY_US, FIRST_DAY_US + DAY_US - 1);
        (days, self.fleet.store.blocks(whose, resolution, of_day).await.expect("read").len())
    }

    async fn change(&self, sql: &'static str) {
        assert!(sqlx::query(sql).execute(self.fleet.store.write()).await.expect("done").rows_affected() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn days_answer_as_their_hours_did() {
    on_each(|store| async move {
        let world = sealed(store).await;
        assert!(world.hour_stripes().await > 6);
        world.check(HOURS).await;
        assert_eq!(world.compact_after(DUE).await, Compacted { days: 2, failed: 0 }, "samples and minutes");
        for resolution in [Resolution::Second, Resolution::Minute] {
            assert_eq!(world.days_and_hours(resolution).await, (1, 0), "{resolution:?}");
        }
        world.check(HOURS).await;
        assert_eq!(world.compact_after(DUE + 1).await, Compacted::default(), "there is nothing left to do");
        assert_eq!(world.compact_after(DUE + 24).await.days, 2, "the second day is over");
        assert!(world.blocks(Resolution::Second).await.is_empty());
        assert_eq!(world.hour_stripes().await, 0);
        world.check(HOURS).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_more_than_may_be_read() {
    on_each(|store| async move {
        let world = sealed(store).await;
        let (whose, all) = ((world.fleet.org, world.server), (START_US, START_US + HOURS * HOUR_US));
        let samples: usize = world.known.values().map(std::collections::BTreeMap::len).sum();
        let code = |samples: usize| {
            let (history, selection) = (world.history.clone(), World::selection());
            async move {
                let read = history.samples(whose, &selection, all, &mut Budget::of(samples)).await;
                read.err().map(|error| error.code)
            }
        };
        for compacted in 0..2 {
            assert_eq!(code(samples).await, None, "{compacted}");
            assert_eq!(code(samples - 1).await, Some("range_too_long"), "{compacted}");
            assert_eq!(code(0).await, Some("range_too_long"), "{compacted}");
            world.compact_after(DUE + 24).await;
        }
        assert!(world.blocks(Resolution::Second).await.is_empty(), "days alone were read");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_are_read_without_the_samples_of_their_day() {
    on_each(|store| async move {
        let mut world = sealed(store).await;
        assert_eq!(world.compact_after(DUE).await.days, 2);
        // As of every host that is online, some samples are in no block yet: the end of an hour, and the next one.
        let fresh = world.frames(2, 64_791..64_821);
        world.store_frames(&fresh).await;
        world.change("UPDATE metric_days SET checksum = checksum + 1 WHERE resolution = 1").await;
        let whose = (world.fleet.org, world.server);
        // Without an hour that has none: single samples are looked at for it.
        let (from_us, to_us) = (START_US + 14 * HOUR_US, START_US + (HOURS + 1) * HOUR_US - 1);
        let steps = Steps::new(from_us, to_us, Some(MINUTE_US)).expect("good");
        let read = world.history.buckets(whose, &World::selection(), steps, &mut Budget::of(usize::MAX)).await;
        let buckets = read.expect("read");
        let known = |buckets: &Vec<Bucket>| buckets.iter().filter(|bucket| bucket.weight > 0).count();
        assert!(
            buckets.values().any(|buckets| known(buckets) > 200),
            "{:?}",
            buckets.values().map(known).collect::<Vec<_>>()
        );
        let sql = "SELECT COUNT(*) FROM metric_days WHERE damaged_at_us IS NOT NULL";
        let found_out: i64 = sqlx::query_scalar(sql).fetch_one(world.fleet.store.read()).await.expect("counted");
        assert_eq!(found_out, 0, "the day's samples were read");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_waits_until_it_is_over() {
    on_each(|store| async move {
        let world = sealed(store).await;
        world.clock.advance(FIRST_DAY_US + DAY_US + GRACE_US - 1 - world.clock.now_us());
        assert_eq!(compact_due(&world.history).await.expect("looked"), Compacted::default());
        world.clock.advance(1);
        assert_eq!(compact_due(&world.history).await.expect("looked").days, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_its_day_was_made_is_in_its_place() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let frames = frames(&mut world);
        // An hour's middle, every so many, and the last before midnight, which the first rates of the next day are made with.
        let is_late = |at: usize| (100..160).contains(&at) || at.is_multiple_of(19) || (1_400..1_442).contains(&at);
        let (late, punctual): (Vec<_>, Vec<_>) = frames.into_iter().enumerate().partition(|(at, _)| is_late(*at));
        let rows = |frames: Vec<(usize, _)>| frames.into_iter().map(|(_, frame)| frame).collect::<Vec<_>>();
        let (mut late, punctual) = (rows(late), rows(punctual));
        late.reverse();
        world.store_frames(&punctual).await;
        world.seal_after(HOURS).await;
        for (turn, some) in late.chunks(70).enumerate() {
            // The second day is made after the first half only.
            world.compact_after(if turn == 0 { DUE + 1 } else { DUE + 24 }).await;
            world.store_frames(some).await;
            // Sent again, since the acknowledgement was lost.
            world.store_frames(&some[..some.len().min(3)]).await;
            assert_eq!(seal_due(&world.history).await.expect("sealed").failed, 0);
            assert!(world.days_and_hours(Resolution::Second).await.1 > 0, "late hours stand beside their day");
            if turn % 2 == 0 {
                world.compact_after(DUE + 24).await;
            }
            world.store_frames(some.get(5..9).unwrap_or_default()).await;
        }
        world.check(HOURS).await;
        assert_eq!(seal_due(&world.history).await.expect("sealed").failed, 0);
        world.check(HOURS).await;
        world.compact_after(DUE + 24).await;
        assert!(world.blocks(Resolution::Second).await.is_empty() && world.blocks(Resolution::Minute).await.is_empty());
        world.check(HOURS).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_the_same_at_every_moment_of_a_compaction() {
    on_each(|store| async move {
        let world = sealed(store).await;
        world.clock.advance(24 * HOUR_US);
        let history = world.history.clone();
        let compacting = tokio::spawn(async move { compact_due(&history).await.expect("looked") });
        let mut checks = 0;
        while !compacting.is_finished() || checks < 2 {
            world.check(HOURS).await;
            checks += 1;
        }
        assert_eq!(compacting.await.expect("no panic"), Compacted { days: 4, failed: 0 });
        world.check(HOURS).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_that_is_broken_off_anywhere_loses_and_doubles_nothing() {
    on_each(|store| async move {
        let world = sealed(store).await;
        world.clock.advance(24 * HOUR_US);
        let mut turns = 0;
        loop {
            // Dropped where it waits for the database, a little later each time.
            let whole = die_after(turns, compact_due(&world.history)).await;
            if turns % 8 == 0 {
                world.check(HOURS).await;
            }
            if let Some(compacted) = whole {
                assert_eq!(compacted.expect("looked").failed, 0);
                break;
            }
            turns += 1;
        }
        assert!(turns >= 3, "it was broken off {turns} times only");
        // The one broken off last may have been at its commit: then the whole one left it the rest, as to any other.
        assert_eq!(compact_due(&world.history).await.expect("looked").failed, 0);
        assert!(world.blocks(Resolution::Second).await.is_empty());
        world.check(HOURS).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_seal_and_make_days_at_once_find_out() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let frames = frames(&mut world);
        world.clock.advance((DUE + 24) * HOUR_US);
        let (store, arriving, total) = (world.fleet.store.clone(), frames.clone(), frames.len());
        let inserting = tokio::spawn(async move {
            for offset in [0, 2, 1] {
                for frame in arriving.iter().skip(offset).step_by(3).collect::<Vec<_>>().chunks(60) {
                    let frames: Vec<_> = frame.iter().map(|frame| (*frame).clone()).collect();
                    store.insert_frames(&frames).await.expect("stored");
                }
            }
        });
        let (mut frames, mut failed) = (0, 0);
        while !inserting.is_finished() {
            let [one, other] = [world.history.clone(), world.history.clone()];
            let (sealed, one, other) = tokio::join!(seal_due(&world.history), compact_due(&one), compact_due(&other));
            let sealed = sealed.expect("sealed");
            frames += sealed.frames;
            failed += sealed.failed + one.expect("looked").failed + other.expect("looked").failed;
        }
        inserting.await.expect("no panic");
        frames += seal_due(&world.history).await.expect("sealed").frames;
        compact_due(&world.history).await.expect("looked");
        assert_eq!((frames, failed), (total, 0), "each was sealed once");
        assert!(world.blocks(Resolution::Second).await.is_empty());
        world.check(HOURS).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_day_is_passed_over_told_of_once_and_never_replaced() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let mut frames = frames(&mut world);
        let late = frames.split_off(715);
        world.store_frames(&frames).await;
        world.seal_after(HOURS).await;
        world.compact_after(DUE).await;
        let minutes = world.means(60 * SECOND_US, 2).await;
        let mut events = world.fleet.events.subscribe();
        world.change("UPDATE metric_day_stripes SET checksum = checksum + 1 WHERE resolution = 1").await;
        for _ in 0..2 {
            assert!(world.means(SECOND_US, 2).await.iter().all(|value| value.is_nan()));
        }
        assert_eq!(world.means(60 * SECOND_US, 2).await, minutes, "minutes don't need it");
        world.store_frames(&late).await;
        assert_eq!(world.seal_after(HOURS).await.failed, 0);
        assert_eq!(world.compact_after(DUE + 2).await, Compacted { days: 1, failed: 0 }, "minutes only");
        assert!(world.days_and_hours(Resolution::Second).await.1 > 0, "what is late stands beside it");
        let seconds = world.means(SECOND_US, 2).await;
        assert_eq!(seconds[7_150..].iter().filter(|value| !value.is_nan()).count(), 41);
        let after = world.means(60 * SECOND_US, 2).await;
        assert_eq!(after[..119], minutes[..119], "late samples are added to the minutes that are there");
        assert!(!after[119].is_nan());
        world.told_of_damage_once(&mut events).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_minutes_of_a_day_give_way_to_samples() {
    on_each(|store| async move {
        let world = sealed(store).await;
        world.compact_after(DUE).await;
        world.change("DELETE FROM metric_day_stripes WHERE resolution = 60").await;
        world.check(HOURS).await;
        world.change("UPDATE metric_days SET checksum = 1 WHERE resolution = 60").await;
        world.check(HOURS).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_go_when_they_are_too_old_and_take_in_what_is_later_still() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let mut frames = frames(&mut world);
        let late = frames.split_off(frames.len() - 2);
        world.store_frames(&frames).await;
        world.seal_after(HOURS).await;
        world.compact_after(DUE + 24).await;
        let kept = Kept::default();
        let over = FIRST_DAY_US + DAY_US;
        trim(&world.fleet.store, kept, over + 7 * DAY_US).await.expect("trimmed");
        assert_eq!(world.days_and_hours(Resolution::Second).await.0, 2, "a day goes whole");
        trim(&world.fleet.store, kept, over + 7 * DAY_US + 1).await.expect("trimmed");
        assert_eq!(world.days_and_hours(Resolution::Second).await.0, 1);
        trim(&world.fleet.store, kept, over + 8 * DAY_US + 1).await.expect("trimmed");
        assert_eq!(world.days_and_hours(Resolution::Second).await.0, 0);
        assert_eq!(world.days_and_hours(Resolution::Minute).await.0, 2);
        let before = world.means(60 * SECOND_US, HOURS).await;
        world.store_frames(&late).await;
        assert_eq!(seal_due(&world.history).await.expect("sealed").failed, 0);
        assert!(world.blocks(Resolution::Second).await.is_empty(), "single samples stay gone");
        world.compact_after(DUE + 24).await;
        assert!(world.blocks(Resolution::Minute).await.is_empty());
        let after = world.means(60 * SECOND_US, HOURS).await;
        let known = |minutes: &[f64]| minutes.iter().filter(|minute| !minute.is_nan()).count();
        assert!(known(&after) >= known(&before), "{GAUGE}");
        trim(&world.fleet.store, kept, over + 91 * DAY_US + 1).await.expect("trimmed");
        assert_eq!(world.days_and_hours(Resolution::Minute).await.0, 0);
        assert!(world.means(HOUR_US, HOURS).await.iter().any(|hour| !hour.is_nan()), "hours stay");
    })
    .await;
}
