//! What is old goes, and nothing else.

use std::time::Duration;

use super::{
    sealed_world::{START_US, World},
    *,
};
use crate::{
    error::ErrorKind,
    metrics::steps::HOUR_US,
    retention::{CERTIFICATES_KEPT_US, Kept, MetricsRetentions, Own, trim},
    store::{Resolution, test_database::on_each},
};

const DAY: Duration = Duration::from_secs(86_400);
const DAY_US: i64 = 24 * HOUR_US;

#[tokio::test]
async fn a_certificate_is_known_as_long_as_its_host_may_renew_it() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (_, serial) = fleet.joined("debian").await;
        let expiry = fleet.store.certificate(&serial).await.expect("read").expect("there").not_after_us;
        let trimmed = async |now_us| trim(&fleet.store, Kept::default(), now_us).await.expect("trimmed").certificates;
        assert_eq!(trimmed(expiry + CERTIFICATES_KEPT_US).await, 0);
        assert_eq!(trimmed(expiry + CERTIFICATES_KEPT_US + 1).await, 1);
        assert_eq!(fleet.store.certificate(&serial).await.expect("read"), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_organization_keeps_what_it_set_and_no_other_is_touched() {
    on_each(|store| async move {
        let (mut short, mut long) = (World::new(store.clone()).await, World::new(store).await);
        for world in [&mut short, &mut long] {
            let frames = world.frames(1, 0..3_600);
            world.store_frames(&frames).await;
            world.seal_after(1).await;
        }
        let max = Kept::default();
        let own = Own { raw: Some(DAY), minutes: Some(2 * DAY), hours: Some(3 * DAY) };
        let retentions = MetricsRetentions::new(short.fleet.store.clone(), max, true);
        let set = retentions.set(&short.fleet.act(), own).await.expect("set");
        let kept = Kept { raw: DAY, minutes: 2 * DAY, hours: 3 * DAY };
        assert_eq!((set.own, set.kept), (own, Some(kept)));
        let left = async |world: &World| {
            let mut left = Vec::new();
            for resolution in Resolution::ALL {
                left.push(!world.blocks(resolution).await.is_empty());
            }
            left
        };
        // A window goes whole: an hour of seconds, a day of minutes or hours.
        for (day, expected) in [(0, [true; 3]), (2, [false, true, true]), (3, [false, false, true]), (60, [false; 3])] {
            let store = &short.fleet.store;
            if day == 60 {
                // The other keeps its hours and minutes for as long as it is let.
                trim(store, max, START_US + 6 * DAY_US).await.expect("trimmed");
                assert_eq!(left(&long).await, [true; 3]);
            }
            trim(store, max, START_US + day * DAY_US).await.expect("trimmed");
            assert_eq!(left(&short).await, expected, "after {day} days");
        }
        assert_eq!(left(&long).await, [false, true, true], "the seconds of the other are as old as anybody may keep");
        // What the operator takes back holds for what was set before.
        let lowered = MetricsRetentions::new(short.fleet.store.clone(), Kept { hours: DAY, ..max }, true);
        let lowered = lowered.get(short.fleet.org).await.expect("read").kept.expect("the database keeps them");
        assert_eq!(lowered.hours, DAY);
    })
    .await;
}

#[tokio::test]
async fn a_changed_retention_is_on_record_and_a_refused_one_changes_nothing() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let retentions = MetricsRetentions::new(fleet.store.clone(), Kept::default(), true);
        let own = Own { raw: Some(3 * DAY), ..Own::default() };
        retentions.set(&fleet.act(), own).await.expect("set");
        let by_engine = MetricsRetentions::new(fleet.store.clone(), Kept::default(), false);
        let shown = by_engine.get(fleet.org).await.expect("read");
        assert_eq!((shown.kept, shown.own), (None, own), "an engine keeps them as long as it is set up to");
        assert_eq!(by_engine.set(&fleet.act(), own).await.expect_err("refused").code, "metric_store_is_an_engine");
        let too_long = Own { raw: Some(8 * DAY), ..Own::default() };
        let refused = retentions.set(&fleet.act(), too_long).await.expect_err("refused");
        assert_eq!(refused.kind, ErrorKind::Invalid);
        assert_eq!(retentions.get(fleet.org).await.expect("read").own, own);
        let recorded = fleet.recorded_of(fleet.org).await;
        assert_eq!(recorded.iter().filter(|action| *action == "METRICS_RETENTION_UPDATED").count(), 1, "{recorded:?}");
        let nobody = Act { org_id: OrgId::generate(), ..fleet.act() };
        assert_eq!(retentions.set(&nobody, own).await.expect_err("nobody").kind, ErrorKind::NotFound);
    })
    .await;
}
