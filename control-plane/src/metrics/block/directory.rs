//! Blocks' lists of series, read once for all that have the same. Pure but for a lock.

use std::sync::Arc;

use muster_shared::metric::Series;

use super::{Damaged, Room, part::Part};
use crate::metrics::KeptLists;

/// Lists of series that were read, by their bytes: a server's blocks share one as long as nothing comes and goes, and reading it
/// takes longer than reading a chart's values does. Clones share what was read.
#[derive(Debug, Clone, Default)]
pub struct Directories {
    lists: KeptLists<Series>,
}

impl Directories {
    pub(super) fn read(&self, part: &Part<'_>) -> Result<Arc<[Series]>, Damaged> {
        self.lists.get(&part.compressed, || {
            serde_json::from_slice(&part.decompress(&mut Room::default())?).map_err(|_| Damaged::Content)
        })
    }
}

/// The list's bytes before they are compressed.
pub(super) fn encode<'a>(series: impl Iterator<Item = &'a Series>) -> Vec<u8> {
    let list: Vec<&Series> = series.collect();
    // Series are texts and numbers, which JSON can always hold.
    serde_json::to_vec(&list).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use muster_shared::metric::SeriesKind;

    use super::{super::part, *};

    #[test]
    fn a_list_is_read_once() {
        let series = |at| Series { name: format!("m{at}"), labels: [].into(), scale: 0, kind: SeriesKind::Gauge };
        let list: Vec<_> = (0..9).map(series).collect();
        let mut bytes = Vec::new();
        part::put(&mut bytes, &encode(list.iter()), 1);
        let directories = Directories::default();
        let read = || directories.read(&Part::take(&mut &bytes[..]).expect("whole")).expect("whole");
        assert_eq!(*read(), list[..]);
        assert!(Arc::ptr_eq(&read(), &read()));
    }
}
