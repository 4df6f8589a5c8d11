//! Schemas as they are meant.

use serde_json::{Value, json};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

/// The schema of a text that is one of `words`.
pub fn one_of(words: impl IntoIterator<Item = &'static str>) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

/// The schema of one server-sent event.
pub(super) const EVENT: &str = "ServerSentEvent";

/// What each event of a stream looks like.
pub(super) fn event() -> Value {
    json!({
        "type": "object",
        "description": "One event of a stream, as `event:` and `data:` lines.",
        "required": ["event", "data"],
        "properties": {
            "event": { "type": "string", "description": "What kind of event it is." },
            "data": { "type": "string", "contentMediaType": "application/json", "description": "A JSON object." },
            "id": { "type": "string", "description": "Where to go on from, as `Last-Event-ID`." },
        },
        "example": { "event": "status", "data": "{\"step\": \"connecting\"}" },
    })
}

/// Gives every stream of events the schema of an event.
pub(super) fn describe_events(operation: &mut Value) {
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for response in responses.values_mut() {
        if let Some(stream) = response.pointer_mut("/content/text~1event-stream") {
            stream["schema"] = json!({ "$ref": format!("#/components/schemas/{EVENT}") });
        }
    }
}

/// Rust's unsigned integers have bounds that their OpenAPI formats do not tell.
pub(super) fn bound_integers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(bound_integers),
        Value::Object(map) => {
            let largest = match map.get("format").and_then(Value::as_str) {
                Some("int32") => Some(json!(u32::MAX)),
                Some("int64") => Some(json!(u64::MAX)),
                _ => None,
            };
            let is_unsigned = map.get("minimum").and_then(Value::as_f64).is_some_and(|minimum| minimum >= 0.0);
            if let Some(largest) = largest.filter(|_| is_unsigned) {
                map.remove("format");
                map.entry("maximum").or_insert(largest);
            }
            map.values_mut().for_each(bound_integers);
        }
        _ => {}
    }
}
