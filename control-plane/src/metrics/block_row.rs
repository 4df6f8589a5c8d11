//! Blocks as they are stored, and the tables in them: whole ones, and indexes with stripes beside them. Pure.

use muster_shared::metric::Series;

use super::block::{Damaged, Directories, EncodedStripe, Index, Room, Striped, Table};
use crate::store::{BlockKey, BlockRow, StripeRow, StripesKey};

/// `block` at its place, as the server's revision `generation` writes it.
pub(super) fn row(key: BlockKey, generation: i64, block: Striped) -> BlockRow {
    let Striped { head, stripes } = block;
    let mut row = BlockRow {
        key,
        first_us: head.first_us,
        last_us: head.last_us,
        samples: head.samples,
        checksum: head.checksum,
        payload: head.payload,
        stripe_count: u32::try_from(stripes.len()).unwrap_or(u32::MAX),
        generation,
        stripes: Vec::new(),
    };
    row.stripes = stripe_rows(row.stripes_key(), stripes);
    row
}

/// Stripes at their place, in order.
pub(super) fn stripe_rows(key: StripesKey, stripes: Vec<EncodedStripe>) -> Vec<StripeRow> {
    let row = |(stripe, EncodedStripe { checksum, payload })| StripeRow { key, stripe, checksum, payload };
    (0..).zip(stripes).map(row).collect()
}

/// The stripes of a block that have series which are `wanted`; none where it can't be read.
pub(super) fn stripes_with<const LANES: usize>(
    row: &BlockRow,
    directories: &Directories,
    wanted: impl Fn(&Series) -> bool,
) -> Vec<u32> {
    let index = Index::<LANES>::read((&row.payload, row.checksum), directories);
    index.map_or_else(|_| Vec::new(), |index| index.stripes_with(wanted))
}

/// The table of a block of which at least the stripes with series that are `wanted` should be at hand.
///
/// # Errors
/// [`Damaged`], also where such a stripe is missing.
pub(super) fn table<'a, const LANES: usize>(
    row: &'a BlockRow,
    (directories, room): (&Directories, &mut Room),
    wanted: impl Fn(&Series) -> bool,
) -> Result<Table<'a, LANES>, Damaged> {
    let content = (&row.payload[..], row.checksum);
    if row.stripe_count == 0 {
        return Table::read(content, directories, room);
    }
    let index = Index::<LANES>::read(content, directories)?;
    match index.with(row.stripes.iter().map(StripeRow::content), room)? {
        (table, None) if !table.lacks(wanted) => Ok(table),
        (_, damage) => Err(damage.unwrap_or(Damaged::Content)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use muster_shared::metric::SeriesKind;

    use super::*;
    use crate::{metrics::block::encode_points, store::Resolution};

    fn series(number: usize) -> Series {
        Series { name: format!("m{number:02}"), labels: [].into(), scale: 0, kind: SeriesKind::Gauge }
    }

    /// A block of ten series of noise, in some stripes.
    fn striped() -> (BTreeMap<Series, Vec<(i64, i64)>>, BlockRow) {
        let noise = |at: i64| (at ^ (at << 21)).wrapping_mul(0x2545_f491_4f6c_dd1d);
        let points = |number: i64| (0..3_600).map(|at| (at, noise(at * 10 + number))).collect();
        let points: BTreeMap<_, _> = (0..10).map(|number| (series(number as usize), points(number))).collect();
        let key = BlockKey { resolution: Resolution::Second, window_us: 0, part: 0 };
        let row = row(key, 4, encode_points(&points).expect("a block"));
        assert!(row.stripe_count > 2, "{}", row.stripe_count);
        (points, row)
    }

    #[test]
    fn a_series_is_read_with_its_own_stripe_alone() {
        let (points, mut row) = striped();
        let directories = Directories::default();
        let all = std::mem::take(&mut row.stripes);
        for (number, (_, points)) in points.iter().enumerate() {
            let wanted = |one: &Series| *one == series(number);
            let [stripe] = stripes_with::<1>(&row, &directories, wanted)[..] else { panic!("in one stripe") };
            row.stripes = vec![all[stripe as usize].clone()];
            let table = table::<1>(&row, (&directories, &mut Room::default()), wanted).expect("whole");
            let cells: Vec<_> = points.iter().map(|(at_us, value)| (*at_us, [*value])).collect();
            assert_eq!(table.select(wanted), Ok(vec![(series(number), cells)]));
        }
    }

    #[test]
    fn a_block_without_a_stripe_or_with_a_damaged_one_can_t_be_read() {
        let (_, row) = striped();
        let read =
            |row: &BlockRow| table::<1>(row, (&Directories::default(), &mut Room::default()), |_| true).map(drop);
        assert_eq!(read(&row), Ok(()));
        let without = |row: &BlockRow| BlockRow { stripes: row.stripes[1..].to_vec(), ..row.clone() };
        assert_eq!(read(&without(&row)), Err(Damaged::Content));
        let mut damaged = row.clone();
        damaged.stripes[1].payload[70] ^= 1;
        assert_eq!(read(&damaged), Err(Damaged::Checksum));
        // Of the wrong kind, with a checksum that is right.
        assert_eq!(read(&BlockRow { stripe_count: 0, ..row }), Err(Damaged::Content));
    }
}
