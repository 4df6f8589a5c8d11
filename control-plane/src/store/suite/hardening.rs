//! Standings are kept with their beginning, apart for each organisation, and told when they change.

use muster_shared::{
    action::ItemName,
    facts::Facts,
    hardening::{ItemStanding, Standing},
};

use super::{Fleet, MINUTE_US, NOW_US};
use crate::{events::EventKind, filter::Filter, servers::ServerFilter, store::test_database::on_each};

fn facts(sshd: Standing) -> Vec<u8> {
    let item = |item, standing| ItemStanding { item, standing, detail: "seen".into() };
    let hardening = vec![item(ItemName::Sshd, sshd), item(ItemName::Fail2ban, Standing::Deviates)];
    serde_json::to_vec(&Facts { hardening, ..Facts::default() }).expect("facts are JSON")
}

#[tokio::test]
async fn a_change_by_hand_shows_with_the_next_look_and_since_when() {
    on_each(|store| async move {
        let (fleet, theirs) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        let server = fleet.create("web-1").await.id;
        let mut events = fleet.events.subscribe();
        let at = async |minutes: i64, sshd| {
            let at_us = NOW_US + minutes * MINUTE_US;
            fleet.servers.record_facts(fleet.org, server, &facts(sshd), at_us, at_us).await.expect("kept");
        };
        let score = async || fleet.servers.get(fleet.org, server).await.expect("there").hardening_score;
        assert_eq!(score().await, None, "before the host told");
        at(0, Standing::Holds).await;
        at(1, Standing::Holds).await;
        assert_eq!(score().await, Some(50));
        at(2, Standing::Deviates).await;
        at(3, Standing::Deviates).await;
        assert_eq!(score().await, Some(0));
        for (text, found) in [("hardening_score < 50.0", 1), ("hardening_score >= 50.0", 0)] {
            let filter = Filter::compile(text).expect("a filter");
            let page = ServerFilter::default();
            let listed = fleet.servers.list_matching(fleet.org, page, &filter, NOW_US).await.expect("a list");
            assert_eq!(listed.len(), found, "{text}");
        }

        let items = fleet.store.hardening(fleet.org, server).await.expect("read");
        assert_eq!(items.iter().map(|item| item.item).collect::<Vec<_>>(), [ItemName::Fail2ban, ItemName::Sshd]);
        let sshd = &items[1];
        assert_eq!((sshd.standing, sshd.since_us), (Standing::Deviates, NOW_US + 2 * MINUTE_US));
        assert_eq!(sshd.held_until_us, Some(NOW_US + MINUTE_US));
        assert_eq!(items[0].since_us, NOW_US, "what never held deviates since it is known");
        assert_eq!(fleet.store.hardening(theirs.org, server).await.expect("read"), [], "nobody else's");

        let mut told = 0;
        while let Ok(Some(Ok(event))) = tokio::time::timeout(std::time::Duration::from_millis(50), events.next()).await
        {
            told += u32::from(matches!(event.kind, EventKind::HardeningChanged));
        }
        assert_eq!(told, 2, "when it was first known, and when it drifted");
    })
    .await;
}
