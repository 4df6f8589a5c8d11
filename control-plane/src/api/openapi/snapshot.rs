//! The dashboard's types are made of a snapshot of the document, so that it builds before the program does. What the
//! snapshot says must still be true; what is new since may be missing from it until somebody needs it.
//!
//! `UPDATE_DOCS=1 cargo test -p muster openapi::snapshot` writes it.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Map, Value};

use super::document;
use crate::api::rest::routes;

/// What types are not made of.
const PROSE: [&str; 12] = [
    "description",
    "example",
    "examples",
    "summary",
    "security",
    "tags",
    "headers",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
];

/// The part of the document that types are made of: shapes of parameters, bodies and successes.
fn snapshot() -> Value {
    let mut document = document(&routes());
    let mut paths = document["paths"].take();
    for (path, item) in paths.as_object_mut().into_iter().flatten() {
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            if let Some(responses) = operation["responses"].as_object_mut() {
                responses.retain(|status, _| status.starts_with('2'));
                for response in responses.values_mut() {
                    // A response without a description would be no response.
                    response["description"] = Value::from(path.as_str());
                }
            }
        }
    }
    let schemas = document["components"]["schemas"].take();
    let mut snapshot = serde_json::json!({
        "openapi": "3.1.0", "info": { "title": "Muster", "version": "0" },
        "paths": paths, "components": { "schemas": schemas },
    });
    shorten(&mut snapshot, false);
    snapshot
}

/// Removes prose; not where names are chosen by us, such as a field called `description`.
fn shorten(value: &mut Value, names: bool) {
    match value {
        Value::Object(fields) => {
            let keep = |name: &str, value: &Value| {
                names
                    || !PROSE.contains(&name)
                    || name == "description" && value.as_str().is_some_and(|text| text.starts_with('/'))
            };
            fields.retain(|name, value| keep(name, value));
            for (name, value) in fields.iter_mut() {
                shorten(value, !names && ["properties", "schemas", "paths", "responses"].contains(&name.as_str()));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, false)),
        _ => {}
    }
}

/// Where `snapshot` says something that `now` does not.
fn faults(now: &Value, snapshot: &Value, at: &str, exact: &BTreeSet<String>, found: &mut Vec<String>) {
    match (now, snapshot) {
        (Value::Object(now), Value::Object(snapshot)) => {
            for (name, said) in snapshot {
                let at = format!("{at}/{name}");
                match now.get(name) {
                    Some(is) => faults(is, said, &at, exact, found),
                    None => found.push(format!("{at} is gone")),
                }
            }
        }
        (Value::Array(now), Value::Array(snapshot)) => {
            let missing = snapshot.iter().filter(|item| !now.contains(item));
            found.extend(missing.map(|item| format!("{at}: {item} is gone")));
            // A body that needs more than the dashboard sends is refused.
            if exact.contains(at) && now.len() > snapshot.len() {
                found.push(format!("{at}: more is required"));
            }
        }
        (now, snapshot) if now != snapshot => found.push(format!("{at}: {snapshot} is now {now}")),
        _ => {}
    }
}

/// Where the fields are named that the bodies of requests must have.
fn required_of_requests(snapshot: &Value) -> BTreeSet<String> {
    let operations = snapshot["paths"].as_object().into_iter().flat_map(Map::values);
    let operations = operations.filter_map(Value::as_object).flat_map(Map::values);
    let schemas = operations.filter_map(|operation| {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        schema["$ref"].as_str()?.strip_prefix('#').map(|schema| format!("{schema}/required"))
    });
    schemas.collect()
}

#[test]
fn what_the_dashboard_was_built_for_is_what_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard/openapi.json");
    let now = snapshot();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = serde_json::to_string_pretty(&now).expect("serialises");
        std::fs::write(&path, format!("{text}\n")).expect("written");
    }
    let snapshot = std::fs::read_to_string(path).expect("dashboard/openapi.json");
    let snapshot = serde_json::from_str(&snapshot).expect("JSON");
    let mut found = Vec::new();
    faults(&now, &snapshot, "", &required_of_requests(&snapshot), &mut found);
    assert!(
        found.is_empty(),
        "UPDATE_DOCS=1 writes dashboard/openapi.json; look whether the dashboard still fits:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_field_that_goes_or_changes_or_is_demanded_is_noticed_and_a_new_one_is_not() {
    let old = serde_json::json!({ "a": { "type": "string" }, "required": ["a"] });
    let check = |now: Value| {
        let mut found = Vec::new();
        faults(&now, &old, "", &BTreeSet::from(["/required".to_owned()]), &mut found);
        found.len()
    };
    assert_eq!(check(old.clone()), 0);
    assert_eq!(check(serde_json::json!({ "a": { "type": "string" }, "b": {}, "required": ["a"] })), 0);
    assert_eq!(check(serde_json::json!({ "a": { "type": "number" }, "required": ["a"] })), 1);
    assert_eq!(check(serde_json::json!({ "required": ["a"] })), 1);
    assert_eq!(check(serde_json::json!({ "a": { "type": "string" }, "required": ["a", "b"] })), 1);
}
