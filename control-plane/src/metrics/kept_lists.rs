//! Lists of series that are read once for all who need the same. Pure but for the lock and a counter.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Most entries kept in all, some 700 bytes each: lists of the largest hosts, or of fifty usual ones.
const MAX_KEPT: usize = 20_000;

/// Lists that were read, by the bytes they were read from. Clones share them.
#[derive(Debug)]
pub(crate) struct KeptLists<T> {
    lists: Arc<Mutex<Lists<T>>>,
}

#[derive(Debug)]
struct Lists<T> {
    read: HashMap<Vec<u8>, Arc<[T]>>,
    kept: usize,
}

impl<T> Clone for KeptLists<T> {
    fn clone(&self) -> Self {
        Self { lists: Arc::clone(&self.lists) }
    }
}

impl<T> Default for KeptLists<T> {
    fn default() -> Self {
        Self { lists: Arc::new(Mutex::new(Lists { read: HashMap::new(), kept: 0 })) }
    }
}

impl<T> KeptLists<T> {
    /// The list that `stored` says; what `read` makes of it where it was not read yet.
    ///
    /// # Errors
    /// Those of `read`.
    pub(crate) fn get<E>(&self, stored: &[u8], read: impl FnOnce() -> Result<Vec<T>, E>) -> Result<Arc<[T]>, E> {
        if let Some(known) = self.lists().read.get(stored) {
            return Ok(Arc::clone(known));
        }
        let list: Arc<[T]> = read()?.into();
        self.lists().keep(stored.to_vec(), &list);
        Ok(list)
    }

    fn lists(&self) -> MutexGuard<'_, Lists<T>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lists<T> {
    /// Where there are too many, those before are let go of, and counted.
    fn keep(&mut self, stored: Vec<u8>, list: &Arc<[T]>) {
        if self.kept + list.len() > MAX_KEPT {
            metrics::counter!("muster_series_lists_let_go_total").increment(self.read.len() as u64);
            self.read.clear();
            self.kept = 0;
        }
        if self.read.insert(stored, Arc::clone(list)).is_none() {
            self.kept += list.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn get(lists: &KeptLists<usize>, number: u8, count: usize) -> Arc<[usize]> {
        lists.get(&[number], || Ok::<_, Infallible>((0..count).collect())).expect("read")
    }

    #[test]
    fn a_list_is_read_once_and_no_more_is_kept_than_may_be() {
        let lists = KeptLists::default();
        let first = get(&lists, 0, 9);
        assert!(Arc::ptr_eq(&first, &get(&lists.clone(), 0, 9)));
        for number in 1..30 {
            assert_eq!(get(&lists, number, 1_000).len(), 1_000);
            let lists = lists.lists();
            assert_eq!(lists.kept, lists.read.values().map(|list| list.len()).sum::<usize>());
            assert!(lists.kept <= MAX_KEPT);
        }
        assert!(!Arc::ptr_eq(&first, &get(&lists, 0, 9)), "let go of");
        // More than is kept in all is kept while nothing else is.
        assert_eq!(get(&lists, 99, MAX_KEPT + 1).len(), MAX_KEPT + 1);
        get(&lists, 0, 9);
        assert_eq!(lists.lists().kept, 9);
    }

    #[test]
    fn what_can_t_be_read_is_not_kept() {
        let lists = KeptLists::<usize>::default();
        assert_eq!(lists.get(&[1], || Err("damaged")), Err("damaged"));
        assert_eq!(get(&lists, 1, 3).len(), 3);
    }
}
