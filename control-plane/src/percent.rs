//! Percent-encoding (RFC 3986, 2.1).

/// `text` as it can stand anywhere in a URI or a form: only unreserved characters stay as they are.
#[must_use]
pub fn encoded(text: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// `pairs` as a query or a form.
#[must_use]
pub fn pairs(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encoded("ada+x@example.com~"), "ada%2Bx%40example.com~");
        assert_eq!(pairs(&[("a", "b c"), ("d", "&é")]), "a=b%20c&d=%26%C3%A9");
    }
}
