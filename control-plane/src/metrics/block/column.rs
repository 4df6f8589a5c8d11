//! One column of integers, small where they stand still, rise evenly or are multiples of something. Pure.
//!
//! ```text
//! column  = flag body
//! flag 0  = zigzag(value)                                                        the same value throughout
//! flag 1  = zigzag(first) zigzag(delta)*                                         written by the first version only
//! flag 2  = zigzag(first) zigzag(first delta) zigzag(delta of deltas)*           written by the first version only
//! flag 3  =                                                                      as this column of the row before
//! flag 4  = varint(unit) zigzag(least) varint((value - least) / unit)*
//! flag 5  = varint(unit) zigzag(first) zigzag(delta / unit)*
//! flag 6  = varint(unit) zigzag(first) zigzag(first delta / unit) zigzag(delta of deltas / unit)*
//! flag 7  = as 4, flag 8 as 5, flag 9 as 6, the numbers marked * as planes
//! ```
//! The unit is what all deltas are multiples of, such as the bytes of a page. Flags 4 to 6 were written by the second version
//! only.

use muster_shared::metric::varint::{put_varint, put_zigzag, zigzag};

use super::{
    Damaged,
    cursor::Cursor,
    planes::{self, Planes},
};

const CONSTANT: u8 = 0;
const DELTAS: u8 = 1;
const DELTAS_OF_DELTAS: u8 = 2;
const AS_BEFORE: u8 = 3;
const VALUES: u8 = 4;
const UNIT_DELTAS: u8 = 5;
const UNIT_DELTAS_OF_DELTAS: u8 = 6;
/// What makes a flag one of planes.
const PLANES: u8 = 3;
const PLANES_OF_VALUES: u8 = VALUES + PLANES;
const PLANES_OF_DELTAS: u8 = UNIT_DELTAS + PLANES;
const PLANES_OF_DELTAS_OF_DELTAS: u8 = UNIT_DELTAS_OF_DELTAS + PLANES;

/// Values unpacked at once: they and what is made of them stay in the processor's nearest cache.
pub(super) const CHUNK: usize = 1_024;

/// What a column's numbers say of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Constant,
    Values,
    Deltas,
    DeltasOfDeltas,
}

impl Form {
    /// How many numbers `count` values have.
    pub(super) fn numbers(self, count: usize) -> usize {
        match self {
            Self::Constant => 0,
            Self::Values => count,
            Self::Deltas | Self::DeltasOfDeltas => count.saturating_sub(1),
        }
    }

    /// Whether the first value stands for itself.
    pub(super) fn begins_with_a_value(self) -> bool {
        self.numbers(1) == 0
    }
}

/// What a column's flag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) form: Form,
    pub(super) has_unit: bool,
    pub(super) in_planes: bool,
}

impl Layout {
    /// Takes a flag off the front of `input`.
    pub(super) fn take(input: &mut &[u8]) -> Result<Self, Damaged> {
        let (flag, rest) = input.split_first().ok_or(Damaged::Content)?;
        *input = rest;
        let form = match *flag {
            CONSTANT => Form::Constant,
            VALUES | PLANES_OF_VALUES => Form::Values,
            DELTAS | UNIT_DELTAS | PLANES_OF_DELTAS => Form::Deltas,
            DELTAS_OF_DELTAS | UNIT_DELTAS_OF_DELTAS | PLANES_OF_DELTAS_OF_DELTAS => Form::DeltasOfDeltas,
            _ => return Err(Damaged::Content),
        };
        Ok(Self { form, has_unit: *flag >= VALUES, in_planes: *flag >= PLANES_OF_VALUES })
    }
}

/// Where a column that others refer to is, and how many values it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    at: usize,
    count: usize,
}

impl Place {
    /// From the column's flag on.
    pub(super) fn of<'a>(&self, plain: &'a [u8]) -> &'a [u8] {
        plain.get(self.at..).unwrap_or_default()
    }
}

/// Appends `values`, in whichever form compresses best. `before` is what the row before has in this column. Nothing for none.
pub(super) fn put(out: &mut Vec<u8>, values: &[i64], before: &[i64]) {
    let Some(first) = values.first() else { return };
    if values.iter().all(|value| value == first) {
        out.push(CONSTANT);
        put_zigzag(out, *first);
        return;
    }
    if values == before {
        out.push(AS_BEFORE);
        return;
    }
    let forms = Forms::of(values);
    let (flag, numbers) = forms.smallest();
    out.push(flag + PLANES);
    put_varint(out, forms.unit);
    put_zigzag(out, if flag == VALUES { forms.least } else { *first });
    planes::put(out, numbers);
}

/// What a column's numbers may be.
struct Forms {
    unit: u64,
    least: i64,
    values: Vec<u64>,
    deltas: Vec<u64>,
    deltas_of_deltas: Vec<u64>,
}

impl Forms {
    fn of(values: &[i64]) -> Self {
        let unit = unit(values);
        let least = values.iter().copied().min().unwrap_or_default();
        let above = |value: &i64| value.wrapping_sub(least).cast_unsigned() / unit;
        let (mut deltas, mut deltas_of_deltas) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
        each_delta(values, unit, |delta, delta_of_deltas| {
            deltas.push(zigzag(delta));
            deltas_of_deltas.push(zigzag(delta_of_deltas));
        });
        Self { unit, least, values: values.iter().map(above).collect(), deltas, deltas_of_deltas }
    }

    /// The flag and the numbers of the form that compresses best, as far as can be foreseen.
    fn smallest(&self) -> (u8, &[u64]) {
        let forms =
            [(UNIT_DELTAS, &self.deltas), (UNIT_DELTAS_OF_DELTAS, &self.deltas_of_deltas), (VALUES, &self.values)];
        let least = forms.into_iter().min_by_key(|(_, numbers)| planes::estimated_bits(numbers));
        least.map_or((UNIT_DELTAS, &[]), |(flag, numbers)| (flag, &numbers[..]))
    }
}

/// Takes `values`, at least one, from `at` in `plain`, and moves on. `known` is where the row before has this column.
pub(super) fn take(plain: &[u8], at: &mut usize, known: &mut Option<Place>, values: &mut [i64]) -> Result<(), Damaged> {
    let mut cursor = Cursor::open(plain, at, values.len(), known)?;
    values.chunks_mut(CHUNK).try_for_each(|values| cursor.next(values))
}

/// Passes over a column of `count` values; where its values are.
pub(super) fn skip(plain: &[u8], at: &mut usize, count: usize, known: &mut Option<Place>) -> Result<Place, Damaged> {
    let begin = *at;
    let mut input = plain.get(begin..).ok_or(Damaged::Content)?;
    if input.first() == Some(&AS_BEFORE) {
        *at = begin + 1;
        return known.filter(|place| place.count == count).ok_or(Damaged::Content);
    }
    let layout = Layout::take(&mut input)?;
    let (own, numbers) = (1 + usize::from(layout.has_unit), layout.form.numbers(count));
    let varints = if layout.in_planes { own } else { own + numbers };
    input = &input[length_of(input, varints)?..];
    if layout.in_planes {
        Planes::take(&mut input, numbers)?;
    }
    *at = plain.len() - input.len();
    let place = Place { at: begin, count };
    *known = Some(place);
    Ok(place)
}

/// How many bytes `numbers` varints have.
fn length_of(plain: &[u8], numbers: usize) -> Result<usize, Damaged> {
    let mut left = numbers;
    for (at, byte) in plain.iter().enumerate() {
        left -= usize::from(byte & 0x80 == 0);
        if left == 0 {
            return Ok(at + 1);
        }
    }
    Err(Damaged::Content)
}

/// The greatest number that all deltas are multiples of; 1 where a delta does not fit 64 bits.
fn unit(values: &[i64]) -> u64 {
    let mut unit = 0u64;
    for pair in values.windows(2) {
        let Some(delta) = pair[1].checked_sub(pair[0]) else { return 1 };
        let (mut one, mut other) = (delta.unsigned_abs(), unit);
        while other != 0 {
            (one, other) = (other, one % other);
        }
        unit = one;
        if unit == 1 {
            break;
        }
    }
    // Half of all numbers is beyond what a signed delta can be multiplied with.
    if unit == 0 || unit > i64::MAX.cast_unsigned() { 1 } else { unit }
}

/// Tells of every value but the first how many units it is from the one before, and what that is from the step before.
fn each_delta(values: &[i64], unit: u64, mut tell: impl FnMut(i64, i64)) {
    let (unit, mut step) = (unit.cast_signed(), 0i64);
    for pair in values.windows(2) {
        let mut delta = pair[1].wrapping_sub(pair[0]);
        if unit != 1 {
            delta /= unit;
        }
        tell(delta, delta.wrapping_sub(step));
        step = delta;
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::metric::varint::put_deltas;
    use proptest::prelude::*;

    use super::*;

    fn taken(plain: &[u8], counts: &[usize]) -> Vec<Vec<i64>> {
        let (mut at, mut known) = (0, None);
        let mut take = |count: &usize| {
            let mut values = vec![0; *count];
            take(plain, &mut at, &mut known, &mut values).expect("whole");
            values
        };
        let columns = counts.iter().map(&mut take).collect();
        assert_eq!(at, plain.len());
        columns
    }

    fn values() -> impl Strategy<Value = Vec<i64>> {
        let value = prop_oneof![any::<i64>(), 0i64..9, (0i64..9).prop_map(|pages| pages * 4096 + 17)];
        prop_oneof![prop::collection::vec(value, 1..300), prop::collection::vec(0i64..2, 1..4)]
    }

    proptest! {
        #[test]
        fn whatever_is_put_is_taken(columns in prop::collection::vec(values(), 1..6), twice in 0usize..6) {
            let mut columns = columns;
            if let Some(again) = columns.get(twice).cloned() {
                columns.insert(twice, again);
            }
            let mut plain = Vec::new();
            let mut before: &[i64] = &[];
            for column in &columns {
                put(&mut plain, column, before);
                before = column;
            }
            let counts: Vec<_> = columns.iter().map(Vec::len).collect();
            prop_assert_eq!(taken(&plain, &counts), columns);
        }

        #[test]
        fn values_are_the_same_however_many_are_read_at_once(values in values(), parts in prop::collection::vec(0usize..90, 0..9)) {
            let mut plain = Vec::new();
            put(&mut plain, &values, &[]);
            let mut cursor = Cursor::open(&plain, &mut 0, values.len(), &mut None).expect("whole");
            let mut read = Vec::new();
            for part in parts.into_iter().chain([values.len()]) {
                let mut some = vec![0; part.min(values.len() - read.len())];
                cursor.next(&mut some).expect("whole");
                read.extend(some);
            }
            prop_assert_eq!(read, values);
        }

        #[test]
        fn what_the_second_version_put_is_taken(values in values()) {
            let forms = Forms::of(&values);
            let mut plain = Vec::new();
            for (flag, first, numbers) in [
                (VALUES, forms.least, &forms.values),
                (UNIT_DELTAS, values[0], &forms.deltas),
                (UNIT_DELTAS_OF_DELTAS, values[0], &forms.deltas_of_deltas),
            ] {
                plain.push(flag);
                put_varint(&mut plain, forms.unit);
                put_zigzag(&mut plain, first);
                numbers.iter().for_each(|number| put_varint(&mut plain, *number));
            }
            prop_assert_eq!(taken(&plain, &[values.len(); 3]), [values.clone(), values.clone(), values]);
        }

        #[test]
        fn what_the_first_version_put_is_taken(values in prop::collection::vec(any::<i64>(), 1..50)) {
            let mut plain = vec![DELTAS];
            put_deltas(&mut plain, values.iter().copied());
            let steps = values.iter().enumerate().map(|(at, value)| value.wrapping_sub(if at > 0 { values[at - 1] } else { 0 }));
            plain.push(DELTAS_OF_DELTAS);
            put_zigzag(&mut plain, values[0]);
            put_deltas(&mut plain, steps.skip(1));
            prop_assert_eq!(taken(&plain, &[values.len(); 2]), [values.clone(), values]);
        }
    }

    #[test]
    fn what_stands_still_or_rises_evenly_is_small() {
        let size = |values: Vec<i64>| {
            let mut plain = Vec::new();
            put(&mut plain, &values, &[]);
            plain.len()
        };
        assert!(size(vec![1 << 40; 3600]) < 10);
        assert!(size((0..3600).map(|at| at * 1_000_000).collect()) < 3700);
        assert!(size((0..3600).map(|at| (at * at % 97) * 1_048_576).collect()) < 3700, "units of a mebibyte");
    }

    #[test]
    fn a_column_as_before_needs_one() {
        let taken = |plain: &[u8], mut at, mut known, mut values: Vec<i64>| {
            take(plain, &mut at, &mut known, &mut values).map(|()| values)
        };
        assert_eq!(taken(&[AS_BEFORE], 0, None, vec![0; 3]), Err(Damaged::Content));
        let known = Some(Place { at: 0, count: 2 });
        assert_eq!(taken(&[CONSTANT, 2, AS_BEFORE], 2, known, vec![0; 3]), Err(Damaged::Content));
        assert_eq!(taken(&[CONSTANT, 2, AS_BEFORE], 2, known, vec![0; 2]), Ok(vec![1, 1]));
    }
}
