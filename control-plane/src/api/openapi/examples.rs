//! An example of every body. Types have their own; what has none gets one from its parts.

use serde_json::{Map, Value, json};

use super::Operation;

/// How deep parts are followed: no type contains itself, and none is deeper.
const MAX_DEPTH: usize = 12;

/// Gives every named type an example.
pub(super) fn complete_schemas(components: &mut Value) {
    let known = components.clone();
    let Some(schemas) = components["schemas"].as_object_mut() else { return };
    for schema in schemas.values_mut() {
        if schema.get("example").is_none() {
            let example = of(schema, &known, 0);
            schema["example"] = example;
        }
    }
}

/// Gives the request and every response of `operation` an example.
pub(super) fn complete(operation: &mut Operation, components: &Value) {
    let mut bodies: Vec<&mut Value> = Vec::new();
    let mut contents = Vec::new();
    for (name, part) in operation.iter_mut() {
        match name.as_str() {
            "requestBody" => contents.extend(part.get_mut("content")),
            "responses" => {
                let responses = part.as_object_mut().into_iter().flat_map(Map::values_mut);
                contents.extend(responses.filter_map(|response| response.get_mut("content")));
            }
            _ => {}
        }
    }
    for content in contents {
        bodies.extend(content.as_object_mut().into_iter().flat_map(Map::values_mut));
    }
    for body in bodies {
        if body.get("example").is_none() && body.get("examples").is_none() {
            let schema = body.get("schema").cloned().unwrap_or_default();
            body["example"] = of(&schema, components, 0);
        }
    }
}

fn of(schema: &Value, components: &Value, depth: usize) -> Value {
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    let inner = |schema: &Value| of(schema, components, depth + 1);
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        return components.pointer(name.trim_start_matches("#/components")).map_or(Value::Null, inner);
    }
    if let Some(first) = schema.get("default").or(schema.get("const")).or(schema.pointer("/enum/0")) {
        return first.clone();
    }
    let choices = schema.get("oneOf").or(schema.get("anyOf")).and_then(Value::as_array);
    if let Some(choice) = choices.and_then(|choices| choices.iter().find(|choice| choice["type"] != "null")) {
        return inner(choice);
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        let objects = parts.iter().map(inner).filter_map(|part| part.as_object().cloned());
        return Value::Object(objects.flatten().collect());
    }
    match kind(schema) {
        "object" => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let parts = properties.into_iter().flatten().map(|(name, part)| (name.clone(), inner(part)));
            Value::Object(parts.collect())
        }
        "array" => match schema.get("items") {
            Some(items) if items.is_object() => json!([inner(items)]),
            _ => json!([]),
        },
        "string" => json!(if schema["format"] == "date-time" { "2025-01-15T10:30:00Z" } else { "text" }),
        "integer" => schema.get("minimum").cloned().unwrap_or(json!(1)),
        "number" => json!(1.5),
        "boolean" => json!(true),
        _ => Value::Null,
    }
}

/// A schema's type; of several, the first that is not null.
fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(kind) => kind,
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default(),
        _ => "",
    }
}
