//! What reading samples may cost, and what they are read as.

use crate::error::{Error, ErrorKind};

/// How much one question may still read.
#[derive(Debug)]
pub struct Budget {
    samples: usize,
}

impl Budget {
    /// At most `samples`.
    #[must_use]
    pub fn of(samples: usize) -> Self {
        Self { samples }
    }

    /// How many samples may still be read.
    #[must_use]
    pub fn left(&self) -> usize {
        self.samples
    }

    /// Takes `samples` from it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it has not so many.
    pub fn take(&mut self, samples: usize) -> Result<(), Error> {
        self.samples = self.samples.checked_sub(samples).ok_or_else(too_much)?;
        Ok(())
    }

    /// The same for each of those who read at once; [`Budget::take_together`] takes what they took.
    #[must_use]
    pub(super) fn shared<const N: usize>(&self) -> [Self; N] {
        std::array::from_fn(|_| Self::of(self.samples))
    }

    /// Takes from it what was taken of each share.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it has not so many.
    pub(super) fn take_together<const N: usize>(&mut self, shares: [Self; N]) -> Result<(), Error> {
        let had = self.samples;
        shares.into_iter().try_for_each(|share| self.take(had - share.samples))
    }
}

pub(super) fn too_much() -> Error {
    let detail = "the range holds too many samples: ask for a shorter one, fewer series or fewer servers";
    Error::new(ErrorKind::Invalid, "range_too_long", detail)
}

/// A series' integers by time, in microseconds since the epoch.
pub type Points = Vec<(i64, i64)>;
