//! A block or a day whose stripes are stored by themselves: an index says which series are in which. Pure.
//!
//! ```text
//! index  = head varint(stripes) varint(series in it)*
//! stripe = part
//! ```

use std::ops::Range;

use muster_shared::metric::{
    Series,
    varint::{put_varint, take_varint},
};

use super::{
    Damaged, Directories, Encoded, Room, checksum,
    part::Part,
    table::{Built, Head, Table},
};

/// Most stripes: more than a day of the largest hosts has.
const MAX_STRIPES: u64 = 1 << 20;

/// An encoded block or day, and its stripes as far as they are stored by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Striped {
    /// An index where there are `stripes`; a whole block otherwise.
    pub head: Encoded,
    pub stripes: Vec<EncodedStripe>,
}

/// One of its stripes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedStripe {
    pub checksum: u32,
    pub payload: Vec<u8>,
}

impl From<Encoded> for Striped {
    fn from(whole: Encoded) -> Self {
        Self { head: whole, stripes: Vec::new() }
    }
}

impl Striped {
    /// With all stripes by themselves. `slots` are those of what was built, in order.
    pub(super) fn apart(built: Built, slots: &[i64]) -> Self {
        let mut payload = built.head;
        put_varint(&mut payload, built.stripes.len() as u64);
        built.stripes.iter().for_each(|stripe| put_varint(&mut payload, stripe.series));
        let stripe = |part: Vec<u8>| EncodedStripe { checksum: checksum(&part), payload: part };
        Self {
            head: Encoded::new(payload, slots, built.samples),
            stripes: built.stripes.into_iter().map(|built| stripe(built.part)).collect(),
        }
    }
}

/// An index, but for its slots, which are unpacked with its stripes.
#[derive(Debug)]
pub struct Index<const LANES: usize> {
    head: Head<'static>,
    /// How many series each stripe has.
    stripes: Vec<usize>,
}

impl<const LANES: usize> Index<LANES> {
    /// Reads an index.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn read((mut payload, expected): (&[u8], u32), directories: &Directories) -> Result<Self, Damaged> {
        let head = Head::take::<LANES>(&mut payload, expected, directories)?;
        let count = take_varint(&mut payload)?;
        if count > MAX_STRIPES {
            return Err(Damaged::Content);
        }
        let (mut stripes, mut left) = (Vec::new(), head.series.len());
        for _ in 0..count {
            let series = usize::try_from(take_varint(&mut payload)?).map_err(|_| Damaged::Content)?;
            left = left.checked_sub(series).ok_or(Damaged::Content)?;
            stripes.push(series);
        }
        if left > 0 || !payload.is_empty() {
            return Err(Damaged::Content);
        }
        Ok(Self { head: head.into_owned(), stripes })
    }

    /// The numbers of all stripes.
    pub fn stripes(&self) -> Range<u32> {
        // There are fewer than `MAX_STRIPES`.
        0..u32::try_from(self.stripes.len()).unwrap_or(u32::MAX)
    }

    /// The numbers of the stripes with a series that is `wanted`, ascending.
    pub fn stripes_with(&self, wanted: impl Fn(&Series) -> bool) -> Vec<u32> {
        let mut end = 0;
        let has = |(stripe, series): (u32, &usize)| {
            let named = &self.head.series[end..end + series];
            end += series;
            named.iter().any(&wanted).then_some(stripe)
        };
        self.stripes().zip(&self.stripes).filter_map(has).collect()
    }

    /// What can be read with `stripes`, each by its number; and the first damage among them, which are left out.
    ///
    /// # Errors
    /// [`Damaged`] of the index itself.
    pub fn with<'a>(
        self,
        stripes: impl IntoIterator<Item = (u32, (&'a [u8], u32))>,
        room: &mut Room,
    ) -> Result<(Table<'a, LANES>, Option<Damaged>), Damaged> {
        let mut all: Vec<_> = self.stripes.iter().map(|series| (*series, None)).collect();
        let mut damage = None;
        for (number, content) in stripes {
            match (part(content), all.get_mut(number as usize)) {
                (Ok(part), Some((_, place))) => *place = Some(part),
                (Ok(_), None) => damage = damage.or(Some(Damaged::Content)),
                (Err(damaged), _) => damage = damage.or(Some(damaged)),
            }
        }
        let slots = self.head.slots(room)?;
        Ok((Table { series: self.head.series, slots, stripes: all }, damage))
    }
}

fn part((payload, expected): (&[u8], u32)) -> Result<Part<'_>, Damaged> {
    if checksum(payload) != expected {
        return Err(Damaged::Checksum);
    }
    let mut input = payload;
    let part = Part::take(&mut input)?;
    if input.is_empty() { Ok(part) } else { Err(Damaged::Content) }
}
