//! Reading columns: a value this version can't read is an error that names its column, never a guess.

use std::str::FromStr;

use sqlx::{Any, ColumnIndex, Decode, Row as _, Type, any::AnyRow};

use super::{Result, StoreError};

/// Typed access to a row's columns.
pub(super) trait Columns {
    /// A number, a text or bytes.
    fn value<'r, T: Decode<'r, Any> + Type<Any>>(&'r self, column: &'static str) -> Result<T>;

    /// A text in a type's own form: an id, an address, a newtype.
    fn parsed<T: FromStr>(&self, column: &'static str) -> Result<T>;

    /// The same where the column may be null.
    fn parsed_if_any<T: FromStr>(&self, column: &'static str) -> Result<Option<T>>;

    /// One of a status type's words.
    fn word<T>(&self, column: &'static str, parse: fn(&str) -> Option<T>) -> Result<T>;

    /// A count or size, which is never negative.
    fn unsigned(&self, column: &'static str) -> Result<u64>;

    /// The same where the column may be null.
    fn unsigned_if_any(&self, column: &'static str) -> Result<Option<u64>>;
}

impl Columns for AnyRow
where
    &'static str: ColumnIndex<AnyRow>,
{
    fn value<'r, T: Decode<'r, Any> + Type<Any>>(&'r self, column: &'static str) -> Result<T> {
        Ok(self.try_get(column)?)
    }

    fn parsed<T: FromStr>(&self, column: &'static str) -> Result<T> {
        self.value::<&str>(column)?.parse().map_err(|_| StoreError::Unreadable { column })
    }

    fn parsed_if_any<T: FromStr>(&self, column: &'static str) -> Result<Option<T>> {
        self.value::<Option<&str>>(column)?
            .map(|text| text.parse().map_err(|_| StoreError::Unreadable { column }))
            .transpose()
    }

    fn word<T>(&self, column: &'static str, parse: fn(&str) -> Option<T>) -> Result<T> {
        parse(self.value::<&str>(column)?).ok_or(StoreError::Unreadable { column })
    }

    fn unsigned(&self, column: &'static str) -> Result<u64> {
        u64::try_from(self.value::<i64>(column)?).map_err(|_| StoreError::Unreadable { column })
    }

    fn unsigned_if_any(&self, column: &'static str) -> Result<Option<u64>> {
        self.value::<Option<i64>>(column)?
            .map(|value| u64::try_from(value).map_err(|_| StoreError::Unreadable { column }))
            .transpose()
    }
}
