//! Secrets a caller sends: readable by nobody but the noun that stores them.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type},
};

/// A text that can be received but has no way back out: no `Serialize`, and `Debug` shows nothing of it.
#[derive(Debug, Clone)]
pub struct WriteOnly(SecretString);

impl WriteOnly {
    /// Hands the secret to whoever stores or uses it.
    #[must_use]
    pub fn into_inner(self) -> SecretString {
        self.0
    }
}

impl From<String> for WriteOnly {
    fn from(text: String) -> Self {
        Self(SecretString::from(text))
    }
}

impl<'de> Deserialize<'de> for WriteOnly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl PartialSchema for WriteOnly {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
            .write_only(true)
            .into()
    }
}

impl ToSchema for WriteOnly {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_nothing() {
        let secret = WriteOnly::from("correct horse".to_owned());
        assert!(!format!("{secret:?}").contains("horse"));
    }
}
