//! JSON documents over gRPC: `google.protobuf.Struct` and back. Whole numbers come back whole.

use prost_types::{ListValue, Struct, Value as Wire, value::Kind};
use serde_json::{Map, Number, Value};

use super::number::to_integer;

/// A JSON object as a `Struct`; anything else becomes an empty one.
#[must_use]
pub fn to_struct(value: Value) -> Struct {
    match value {
        Value::Object(map) => Struct { fields: map.into_iter().map(|(name, value)| (name, to_wire(value))).collect() },
        _ => Struct::default(),
    }
}

/// A `Struct` as a JSON object.
#[must_use]
pub fn to_json(value: Struct) -> Value {
    Value::Object(value.fields.into_iter().map(|(name, value)| (name, from_wire(value))).collect::<Map<_, _>>())
}

fn to_wire(value: Value) -> Wire {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => Kind::ListValue(ListValue { values: values.into_iter().map(to_wire).collect() }),
        object @ Value::Object(_) => Kind::StructValue(to_struct(object)),
    };
    Wire { kind: Some(kind) }
}

fn from_wire(value: Wire) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(number)) => match to_integer(number) {
            Some(integer) => Value::from(integer),
            None => Number::from_f64(number).map_or(Value::Null, Value::Number),
        },
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(from_wire).collect(),
        Some(Kind::StructValue(object)) => to_json(object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_survive_the_way_there_and_back() {
        let document = serde_json::json!({
            "hostname": "web-1", "booted_at_us": 1_736_937_000_000_000_i64, "load": 0.25, "sshd": null,
            "mounts": [{ "path": "/", "read_only": false }], "unread": {},
        });
        assert_eq!(to_json(to_struct(document.clone())), document);
    }
}
