//! Secrets a caller sends: readable by nobody but the noun that stores them.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, de::Error as _};
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

impl WriteOnly {
    /// Whether nothing was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.expose_secret().is_empty()
    }
}

impl From<String> for WriteOnly {
    fn from(text: String) -> Self {
        Self(SecretString::from(text))
    }
}

impl<'de> Deserialize<'de> for WriteOnly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Serde's own message quotes what it found, and that may be the secret in another type.
        String::deserialize(deserializer).map(Self::from).map_err(|_| D::Error::custom("a secret must be a text"))
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
    fn a_secret_of_another_type_is_not_quoted() {
        let error = serde_json::from_str::<WriteOnly>("918273645").expect_err("refused");
        assert!(error.to_string().starts_with("a secret must be a text"), "{error}");
    }

    #[test]
    fn debug_output_shows_nothing() {
        let secret = WriteOnly::from("correct horse".to_owned());
        assert!(!format!("{secret:?}").contains("horse"));
    }
}
