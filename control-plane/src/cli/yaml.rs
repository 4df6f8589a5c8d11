//! JSON values as YAML. Every text is quoted as JSON quotes it, which YAML reads alike, so nothing is ambiguous.

use serde_json::Value;

/// `value` as a YAML document in block style.
#[must_use]
pub(super) fn to_string(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, 0);
    text.trim_start_matches('\n').to_owned() + "\n"
}

fn write_value(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                begin_line(text, depth);
                text.push_str(&key_text(key));
                text.push(':');
                write_nested(text, value, depth);
            }
        }
        Value::Array(values) if !values.is_empty() => {
            for value in values {
                begin_line(text, depth);
                text.push('-');
                write_item(text, value, depth);
            }
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn write_nested(text: &mut String, value: &Value, depth: usize) {
    if is_block(value) {
        write_value(text, value, depth + 1);
    } else {
        text.push(' ');
        write_value(text, value, depth);
    }
}

/// A list's item starts on the dash's own line.
fn write_item(text: &mut String, value: &Value, depth: usize) {
    let mut item = String::new();
    write_value(&mut item, value, depth + 1);
    text.push(' ');
    text.push_str(item.trim_start());
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(values) => !values.is_empty(),
        _ => false,
    }
}

fn begin_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
}

fn key_text(key: &str) -> String {
    let plain = key.starts_with(|first: char| first.is_ascii_lowercase())
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !matches!(key, "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n");
    if plain { key.to_owned() } else { Value::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_drawn_in_blocks() {
        let document =
            json!([{ "id": "1", "no": null, "tags": [], "facts": { "cpu": { "cores": 4 }, "x y": [1, "a: b"] } }]);
        let expected = r#"- facts:
    cpu:
      cores: 4
    "x y":
      - 1
      - "a: b"
  id: "1"
  "no": null
  tags: []
"#;
        assert_eq!(to_string(&document), expected);
        assert_eq!(to_string(&json!([])), "[]\n");
    }
}
