//! What differs between two states.

use serde_json::{Map, Value};

/// The fields of `before` and `after` that differ; a field that only one of them has is `null` in the other.
#[must_use]
pub fn changes(before: &Value, after: &Value) -> (Value, Value) {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return (before.clone(), after.clone());
    };
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let (mut was, mut is) = (Map::new(), Map::new());
    for name in names {
        let (old, new) = (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
        if old != new {
            was.insert(name.clone(), old.clone());
            is.insert(name.clone(), new.clone());
        }
    }
    (Value::Object(was), Value::Object(is))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_left() {
        let (was, is) =
            changes(&json!({ "name": "a", "cores": 4, "gone": 1 }), &json!({ "name": "b", "cores": 4, "new": 2 }));
        assert_eq!(was, json!({ "name": "a", "gone": 1, "new": null }));
        assert_eq!(is, json!({ "name": "b", "gone": null, "new": 2 }));
    }
}
