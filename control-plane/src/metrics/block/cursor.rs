//! A column as it is read: some values at a time, so that a long one is never held whole. Pure.

use muster_shared::metric::varint::{take_varint, take_zigzag, unzigzag};

use super::{
    Damaged,
    column::{self, Form, Layout, Place},
    planes::Planes,
};

/// Reads a column's values in order.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    form: Form,
    unit: i64,
    /// The first value, or the least; then the value before.
    value: i64,
    step: i64,
    /// Whether nothing was read yet.
    is_new: bool,
    numbers: Numbers<'a>,
}

/// What a column's values are made of.
#[derive(Debug)]
enum Numbers<'a> {
    None,
    Varints(&'a [u8]),
    Planes(Planes<'a>, usize),
}

impl Numbers<'_> {
    fn next(&mut self, numbers: &mut [i64]) -> Result<(), Damaged> {
        match self {
            Self::None => {}
            Self::Varints(input) => {
                for number in numbers {
                    *number = take_varint(input)?.cast_signed();
                }
            }
            Self::Planes(planes, at) => {
                planes.copy(*at, numbers);
                *at += numbers.len();
            }
        }
        Ok(())
    }
}

impl<'a> Cursor<'a> {
    /// Of the column of `count` values, at least one, that begins at `at` in `plain`; moves past it. `known` is where the row
    /// before has this column.
    pub(super) fn open(
        plain: &'a [u8],
        at: &mut usize,
        count: usize,
        known: &mut Option<Place>,
    ) -> Result<Self, Damaged> {
        let place = column::skip(plain, at, count, known)?;
        let mut input = place.of(plain);
        let layout = Layout::take(&mut input)?;
        let unit = if layout.has_unit { take_varint(&mut input)?.cast_signed() } else { 1 };
        let value = take_zigzag(&mut input)?;
        let numbers = match layout.form {
            Form::Constant => Numbers::None,
            form if layout.in_planes => Numbers::Planes(Planes::take(&mut input, form.numbers(count))?, 0),
            _ => Numbers::Varints(input),
        };
        Ok(Self { form: layout.form, unit, value, step: 0, is_new: true, numbers })
    }

    /// Sets `values` to the next ones. There are as many.
    pub(super) fn next(&mut self, values: &mut [i64]) -> Result<(), Damaged> {
        let mut rest = values;
        if std::mem::take(&mut self.is_new) && self.form.begins_with_a_value() {
            let Some((first, others)) = rest.split_first_mut() else {
                self.is_new = true;
                return Ok(());
            };
            *first = self.value;
            rest = others;
        }
        // Numbers first, and what they say then: each of the two loops keeps all it needs in registers.
        self.numbers.next(rest)?;
        let (unit, mut value, mut step) = (self.unit, self.value, self.step);
        match self.form {
            Form::Constant => rest.fill(value),
            Form::Values => rest.iter_mut().for_each(|number| *number = value.wrapping_add(number.wrapping_mul(unit))),
            Form::Deltas => {
                for number in rest {
                    value = value.wrapping_add(unzigzag(number.cast_unsigned()).wrapping_mul(unit));
                    *number = value;
                }
            }
            Form::DeltasOfDeltas => {
                for number in rest {
                    step = step.wrapping_add(unzigzag(number.cast_unsigned()));
                    value = value.wrapping_add(step.wrapping_mul(unit));
                    *number = value;
                }
            }
        }
        (self.value, self.step) = (value, step);
        Ok(())
    }
}
