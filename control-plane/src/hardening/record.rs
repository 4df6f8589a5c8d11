//! How a server stands towards the profile, as it is kept. Pure.

use muster_shared::{
    action::ItemName,
    hardening::{ItemStanding, Standing, score},
    id::ServerId,
};

/// One item of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRecord {
    pub item: ItemName,
    pub standing: Standing,
    /// What was seen, in words.
    pub detail: String,
    /// Since when it stands so, by the host's clock.
    pub since_us: i64,
    /// When it last held, where it does not now.
    pub held_until_us: Option<i64>,
    /// When it was last looked at.
    pub seen_at_us: i64,
}

/// A server's items, in the profile's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardening {
    pub server: ServerId,
    pub items: Vec<ItemRecord>,
}

impl Hardening {
    /// How many of a hundred parts of what applies hold; `None` where nothing applies or nothing is known.
    #[must_use]
    pub fn score(&self) -> Option<u8> {
        score(self.items.iter().map(|item| item.standing))
    }
}

/// What a new look makes of what was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub record: ItemRecord,
    /// It stands otherwise than before, or is new.
    pub is_news: bool,
    /// It held and does not any more.
    pub is_drift: bool,
}

/// Takes in what was seen at `at_us`.
#[must_use]
pub fn moved(before: Option<&ItemRecord>, seen: &ItemStanding, at_us: i64) -> Moved {
    let same = before.filter(|before| before.standing == seen.standing);
    let held = before.filter(|before| before.standing == Standing::Holds);
    let is_drift = held.is_some() && seen.standing == Standing::Deviates;
    let held_until_us = match (seen.standing, same, held) {
        (Standing::Holds, ..) => None,
        (_, Some(same), _) => same.held_until_us,
        (_, None, Some(held)) => Some(held.seen_at_us),
        (_, None, None) => before.and_then(|before| before.held_until_us),
    };
    let record = ItemRecord {
        item: seen.item,
        standing: seen.standing,
        detail: seen.detail.clone(),
        since_us: same.map_or(at_us, |same| same.since_us),
        held_until_us,
        seen_at_us: at_us,
    };
    Moved { record, is_news: same.is_none(), is_drift }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(standing: Standing) -> ItemStanding {
        ItemStanding { item: ItemName::Sshd, standing, detail: "seen".into() }
    }

    #[test]
    fn a_standing_begins_once_and_drift_is_told_once() {
        let first = moved(None, &seen(Standing::Holds), 10);
        assert!(first.is_news && !first.is_drift && first.record.since_us == 10);
        let second = moved(Some(&first.record), &seen(Standing::Holds), 20);
        assert!(!second.is_news && second.record.since_us == 10 && second.record.seen_at_us == 20);
        let drifted = moved(Some(&second.record), &seen(Standing::Deviates), 30);
        assert!(drifted.is_news && drifted.is_drift);
        assert_eq!((drifted.record.since_us, drifted.record.held_until_us), (30, Some(20)));
        let still = moved(Some(&drifted.record), &seen(Standing::Deviates), 40);
        assert!(!still.is_news && !still.is_drift);
        assert_eq!((still.record.since_us, still.record.held_until_us), (30, Some(20)));
        let mended = moved(Some(&still.record), &seen(Standing::Holds), 50);
        assert_eq!((mended.record.since_us, mended.record.held_until_us, mended.is_drift), (50, None, false));
    }

    #[test]
    fn what_can_not_be_seen_is_no_drift() {
        let held = moved(None, &seen(Standing::Holds), 10);
        let unknown = moved(Some(&held.record), &seen(Standing::Unknown), 20);
        assert!(unknown.is_news && !unknown.is_drift);
        assert_eq!(unknown.record.held_until_us, Some(10));
    }
}
