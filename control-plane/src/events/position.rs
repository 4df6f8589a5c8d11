//! A place in an organisation's events: `EPOCH-SEQ`, what a reader shows to go on where it stopped.

use std::{fmt, str::FromStr};

/// A place in the log of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which process's log: numbers of another one mean nothing.
    pub epoch: u64,
    /// The number of the last event that was read; 0 before the first.
    pub seq: u64,
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position: expected EPOCH-SEQ")]
pub struct InvalidPosition;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.seq)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (epoch, seq) = text.split_once('-').ok_or(InvalidPosition)?;
        let digits = |text: &str, is_digit: fn(&u8) -> bool| text.as_bytes().iter().all(is_digit);
        if epoch.len() != 16 || !digits(epoch, u8::is_ascii_hexdigit) || !digits(seq, u8::is_ascii_digit) {
            return Err(InvalidPosition);
        }
        Ok(Self {
            epoch: u64::from_str_radix(epoch, 16).map_err(|_| InvalidPosition)?,
            seq: seq.parse().map_err(|_| InvalidPosition)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn positions_read_back(epoch: u64, seq: u64) {
            let position = Position { epoch, seq };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }
    }

    #[test]
    fn what_is_no_position_is_none() {
        for text in
            ["", "-", "1-1", "0000000000000001", "0000000000000001-", "0000000000000001-+1", "000000000000000é-1"]
        {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
