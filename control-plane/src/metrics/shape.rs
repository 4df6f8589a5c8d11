//! What one server's series are, as far as its head must know. Pure.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use muster_shared::metric::{Series, SeriesId};

use super::role::Role;

/// The series declared so far. Servers that declared the same share one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shape {
    /// By id: a hash of what the series was declared as.
    declared: Vec<(SeriesId, u32)>,
    /// Each with the power of ten its values count in; new ones come last.
    pub(super) tracked: Vec<(SeriesId, Role, i32)>,
}

/// A series is declared a second time as something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Redeclared;

impl Shape {
    /// Of series by id, ascending.
    pub(super) fn of(series: &[(SeriesId, Series)]) -> Self {
        Self {
            declared: series.iter().map(|(id, series)| (*id, hash(series))).collect(),
            tracked: series.iter().filter_map(|(id, series)| Some((*id, Role::of(series)?, series.scale))).collect(),
        }
    }

    /// How many series it has.
    pub(super) fn len(&self) -> usize {
        self.declared.len()
    }

    /// Whether everything `other` declares is here already.
    pub(super) fn covers(&self, other: &Self) -> Result<bool, Redeclared> {
        let mut covers = true;
        for (id, hash) in &other.declared {
            match self.find(*id) {
                Ok(at) if self.declared[at].1 != *hash => return Err(Redeclared),
                Ok(_) => {}
                Err(_) => covers = false,
            }
        }
        Ok(covers)
    }

    /// Adds what `other` declares and is not here yet.
    pub(super) fn absorb(&mut self, other: &Self) {
        let mut new: Vec<_> = other.declared.iter().filter(|(id, _)| self.find(*id).is_err()).copied().collect();
        let is_new = |id: SeriesId| new.binary_search_by_key(&id, |(id, _)| *id).is_ok();
        self.tracked.extend(other.tracked.iter().filter(|(id, _, _)| is_new(*id)).cloned());
        self.declared.append(&mut new);
        self.declared.sort_unstable_by_key(|(id, _)| *id);
    }

    fn find(&self, id: SeriesId) -> Result<usize, usize> {
        self.declared.binary_search_by_key(&id, |(id, _)| *id)
    }
}

fn hash(series: &Series) -> u32 {
    let mut hasher = DefaultHasher::new();
    series.hash(&mut hasher);
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use muster_shared::metric::{SeriesKind, names};

    use super::*;

    fn series(name: &str) -> Series {
        Series { name: name.to_owned(), labels: BTreeMap::new(), scale: 0, kind: SeriesKind::Gauge }
    }

    #[test]
    fn a_shape_grows_and_nothing_in_it_changes() {
        let mut shape = Shape::of(&[(1, series(names::HOST_LOAD_1M)), (5, series("up"))]);
        let before = shape.clone();
        let more = Shape::of(&[(3, series(names::HOST_UPTIME_SECONDS)), (5, series("up"))]);
        assert_eq!(shape.covers(&more), Ok(false));
        shape.absorb(&more);
        assert_eq!(shape.covers(&more), Ok(true));
        assert_eq!(shape.covers(&before), Ok(true));
        assert_eq!(shape.len(), 3);
        assert_eq!(shape.tracked.iter().map(|(id, _, _)| *id).collect::<Vec<_>>(), [1, 3], "new ones come last");
        assert_eq!(shape.covers(&Shape::of(&[(5, series("down"))])), Err(Redeclared));
    }
}
