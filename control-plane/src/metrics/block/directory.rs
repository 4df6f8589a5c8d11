//! Blocks' lists of series, read once for all that have the same. Pure but for the lock and a counter.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use muster_shared::metric::Series;

use super::{Damaged, Room, part::Part};

/// Most series held in all, some 700 bytes each: lists of the largest hosts, or of fifty usual ones.
const MAX_HELD: usize = 20_000;

/// Lists of series that were read, by their bytes: a server's blocks share one as long as nothing comes and goes, and reading it
/// takes longer than reading a chart's values does. Clones share what was read.
#[derive(Debug, Clone, Default)]
pub struct Directories {
    lists: Arc<Mutex<Lists>>,
}

#[derive(Debug, Default)]
struct Lists {
    read: HashMap<Vec<u8>, Arc<[Series]>>,
    held: usize,
}

impl Directories {
    pub(super) fn read(&self, part: &Part<'_>) -> Result<Arc<[Series]>, Damaged> {
        if let Some(known) = self.lists().read.get(&*part.compressed) {
            return Ok(Arc::clone(known));
        }
        let list: Vec<Series> =
            serde_json::from_slice(&part.decompress(&mut Room::default())?).map_err(|_| Damaged::Content)?;
        let list: Arc<[Series]> = list.into();
        self.lists().hold(part.compressed.to_vec(), &list);
        Ok(list)
    }

    fn lists(&self) -> std::sync::MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    /// Where there are too many, those before are let go of, and counted.
    fn hold(&mut self, compressed: Vec<u8>, list: &Arc<[Series]>) {
        if self.held + list.len() > MAX_HELD {
            metrics::counter!("muster_series_lists_let_go_total").increment(self.read.len() as u64);
            *self = Self::default();
        }
        if self.read.insert(compressed, Arc::clone(list)).is_none() {
            self.held += list.len();
        }
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

    fn list(number: usize, count: usize) -> Vec<Series> {
        let series =
            |at| Series { name: format!("m{number}_{at}"), labels: [].into(), scale: 0, kind: SeriesKind::Gauge };
        (0..count).map(series).collect()
    }

    fn read(directories: &Directories, list: &[Series]) -> Arc<[Series]> {
        let mut bytes = Vec::new();
        part::put(&mut bytes, &encode(list.iter()), 1);
        directories.read(&Part::take(&mut &bytes[..]).expect("whole")).expect("whole")
    }

    #[test]
    fn a_list_is_read_once_and_no_more_is_held_than_may_be() {
        let directories = Directories::default();
        let first = read(&directories, &list(0, 9));
        assert!(Arc::ptr_eq(&first, &read(&directories.clone(), &list(0, 9))));
        for number in 1..30 {
            assert_eq!(*read(&directories, &list(number, 1_000)), list(number, 1_000)[..]);
            let lists = directories.lists();
            assert_eq!(lists.held, lists.read.values().map(|list| list.len()).sum::<usize>());
            assert!(lists.held <= MAX_HELD);
        }
        assert!(!Arc::ptr_eq(&first, &read(&directories, &list(0, 9))), "let go of");
        // More than is held in all is held while nothing else is.
        assert_eq!(read(&directories, &list(99, MAX_HELD + 1)).len(), MAX_HELD + 1);
        read(&directories, &list(0, 9));
        assert_eq!(directories.lists().held, 9);
    }
}
