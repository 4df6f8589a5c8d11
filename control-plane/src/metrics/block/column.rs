//! One column of integers, small where they stand still or rise evenly. Pure.
//!
//! ```text
//! column  = flag body
//! flag 0  = zigzag(value)                                  the same value throughout
//! flag 1  = zigzag(first) zigzag(delta)*
//! flag 2  = zigzag(first) zigzag(first delta) zigzag(delta of deltas)*
//! ```

use muster_shared::metric::varint::{EndsEarly, put_deltas, put_zigzag, take_zigzag};

use super::Damaged;

const CONSTANT: u8 = 0;
const DELTAS: u8 = 1;
const DELTAS_OF_DELTAS: u8 = 2;

/// Appends `values`, in whichever form is the smallest. Nothing for none.
pub(super) fn put(out: &mut Vec<u8>, values: &[i64]) {
    let Some(first) = values.first() else { return };
    if values.iter().all(|value| value == first) {
        out.push(CONSTANT);
        put_zigzag(out, *first);
        return;
    }
    let at = out.len();
    out.push(DELTAS);
    put_deltas(out, values.iter().copied());
    let steps = values.iter().scan(0i64, |before, value| {
        let step = value.wrapping_sub(*before);
        *before = *value;
        Some(step)
    });
    let mut other = Vec::with_capacity(out.len() - at);
    other.push(DELTAS_OF_DELTAS);
    put_zigzag(&mut other, *first);
    put_deltas(&mut other, steps.skip(1));
    if other.len() < out.len() - at {
        out.truncate(at);
        out.append(&mut other);
    }
}

/// Takes `count` values, at least one, off the front of `input`.
pub(super) fn take(input: &mut &[u8], count: usize) -> Result<Vec<i64>, Damaged> {
    let (flag, rest) = input.split_first().ok_or(Damaged::Content)?;
    *input = rest;
    let first = take_zigzag(input)?;
    match *flag {
        CONSTANT => Ok(vec![first; count]),
        DELTAS => added_up(first, count, || take_zigzag(input)),
        DELTAS_OF_DELTAS => {
            let mut step = 0i64;
            added_up(first, count, || {
                step = step.wrapping_add(take_zigzag(input)?);
                Ok(step)
            })
        }
        _ => Err(Damaged::Content),
    }
}

fn added_up(first: i64, count: usize, mut step: impl FnMut() -> Result<i64, EndsEarly>) -> Result<Vec<i64>, Damaged> {
    let mut values = Vec::with_capacity(count);
    let mut value = first;
    values.push(value);
    for _ in 1..count {
        value = value.wrapping_add(step()?);
        values.push(value);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_put_is_taken(values in prop::collection::vec(prop_oneof![any::<i64>(), 0i64..9], 1..300)) {
            let mut out = Vec::new();
            put(&mut out, &values);
            let mut input = &out[..];
            prop_assert_eq!(take(&mut input, values.len()), Ok(values));
            prop_assert!(input.is_empty());
        }
    }

    #[test]
    fn what_stands_still_or_rises_evenly_is_small() {
        let size = |values: Vec<i64>| {
            let mut out = Vec::new();
            put(&mut out, &values);
            out.len()
        };
        assert!(size(vec![1 << 40; 3600]) < 10);
        assert!(size((0..3600).map(|at| at * 1_000_000).collect()) < 3700);
    }
}
