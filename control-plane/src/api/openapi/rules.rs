//! What holds of a body's fields and between them, which their types can't say.

use muster_shared::{
    action::{ItemName, Mode, item::MAX_ENTRIES},
    hardening::PROFILE,
};
use serde_json::{Value, json};

use crate::{
    fix::FIXES,
    metrics::{MAX_LABELS, MAX_METRICS},
};

/// Adds the rules to the types they hold for.
pub(super) fn constrain(components: &mut Value) {
    for name in ["VmCreate", "VmConnection"] {
        if let Some(schema) = components.pointer_mut(&format!("/schemas/{name}")) {
            schema["allOf"] = json!([login(), address()]);
        }
    }
    for name in ["VmCreate", "VmConnection", "VmPatch"] {
        for (field, format) in [("ipv4_address", "ipv4"), ("ipv6_address", "ipv6")] {
            restrict(components, &format!("/schemas/{name}/properties/{field}"), address_or_none(format));
        }
    }
    constrain_fixes(components);
    constrain_hardening(components);
    if let Some(schema) = components.pointer_mut("/schemas/EnvironmentCreate") {
        schema["allOf"] = json!([sizes()]);
    }
    if let Some(schema) = components.pointer_mut("/schemas/SshPasswordUpdate") {
        schema["allOf"] = json!([{ "properties": { "ssh_password": { "minLength": 1 } } }]);
    }
    if let Some(schema) = components.pointer_mut("/schemas/SshKeyUpdate") {
        schema["allOf"] = json!([key()]);
    }
}

/// Adds what holds of an operation's parameters that may be repeated.
pub(super) fn constrain_parameters(operation: &mut Value) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let rules = match parameter["name"].as_str() {
            Some("metric") => {
                json!({ "items": { "type": "string", "minLength": 1 }, "minItems": 1, "maxItems": MAX_METRICS })
            }
            Some("label") => json!({ "items": { "type": "string", "pattern": "=" }, "maxItems": MAX_LABELS }),
            _ => continue,
        };
        if parameter["schema"]["type"] == "array" {
            restrict(parameter, "/schema", rules);
        }
    }
}

/// Puts `rules` in the place of what the schema at `place` says of the same.
fn restrict(components: &mut Value, place: &str, rules: Value) {
    let schema = components.pointer_mut(place).and_then(Value::as_object_mut);
    if let (Some(schema), Value::Object(rules)) = (schema, rules) {
        if rules.contains_key("anyOf") {
            schema.retain(|name, _| name == "description");
        }
        schema.extend(rules);
    }
}

/// An empty text is no address, as none is.
fn address_or_none(format: &str) -> Value {
    json!({ "anyOf": [
        { "type": "string", "format": format },
        { "type": "string", "maxLength": 0 },
        { "type": "null" },
    ] })
}

fn port() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": u16::MAX })
}

fn words(names: &[ItemName]) -> Value {
    let words: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    json!({ "type": "string", "enum": words })
}

/// Some actions or all of them; a plan or the way back.
fn constrain_fixes(components: &mut Value) {
    let field = |name: &str| format!("/schemas/FixRequest/properties/{name}");
    restrict(components, &field("actions"), json!({ "items": words(&FIXES) }));
    restrict(components, &field("ports"), json!({ "items": port(), "maxItems": MAX_ENTRIES }));
    restrict(components, &field("username"), json!({ "pattern": "^[A-Za-z_][A-Za-z0-9_.-]{0,31}$" }));
    let unit = "^[A-Za-z0-9](\\.?[A-Za-z0-9:_@-])*\\.?$";
    restrict(components, &field("unit"), json!({ "pattern": unit, "maxLength": 255 }));
    let some = json!({
        "required": ["actions"],
        "properties": { "actions": { "minItems": 1 }, "all": { "const": false } },
    });
    let all = json!({ "required": ["all"], "properties": { "actions": { "maxItems": 0 }, "all": { "const": true } } });
    let not = |name: &str| json!({ "properties": { name: { "const": false } } });
    let rules = json!({ "allOf": [{ "anyOf": [some, all] }, { "anyOf": [not("dry_run"), not("undo")] }] });
    restrict(components, "/schemas/FixRequest", rules);
}

fn constrain_hardening(components: &mut Value) {
    let field = |name: &str| format!("/schemas/HardenRequest/properties/{name}");
    let modes = [Mode::Plan, Mode::Apply, Mode::Undo].map(Mode::as_str);
    restrict(components, &field("mode"), json!({ "enum": modes }));
    restrict(components, &field("items"), json!({ "items": words(&PROFILE) }));
    restrict(components, &field("open_ports"), json!({ "items": port() }));
    let network = "^[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?$";
    restrict(components, &field("ssh_from"), json!({ "items": { "type": "string", "pattern": network } }));
}

/// All three sizes, or what is replicated in their place.
fn sizes() -> Value {
    json!({ "anyOf": [
        {
            "required": ["cpu_cores", "ram_mb", "disk_gb"],
            "properties": {
                "cpu_cores": { "type": "number" },
                "ram_mb": { "type": "integer" },
                "disk_gb": { "type": "number" },
                "replica_of": { "type": "null" },
            },
        },
        {
            "required": ["replica_of"],
            "properties": {
                "replica_of": { "type": "string" },
                "cpu_cores": { "type": "null" },
                "ram_mb": { "type": "null" },
                "disk_gb": { "type": "null" },
            },
        },
    ] })
}

/// A private key, or a key pair in its place.
fn key() -> Value {
    json!({ "anyOf": [
        {
            "required": ["ssh_private_key"],
            "properties": { "ssh_private_key": { "type": "string" }, "ssh_key_pair_id": { "type": "null" } },
        },
        {
            "required": ["ssh_key_pair_id"],
            "properties": {
                "ssh_key_pair_id": { "type": "string" },
                "ssh_private_key": { "type": "null" },
                "ssh_key_passphrase": { "type": "null" },
            },
        },
    ] })
}

/// A key, a key pair, or a password; the method named is the one given.
fn login() -> Value {
    json!({ "anyOf": [
        {
            "required": ["ssh_key_pair_id"],
            "properties": {
                "ssh_key_pair_id": { "type": "string" },
                "ssh_private_key": { "type": "null" },
                "ssh_key_passphrase": { "type": "null" },
                "ssh_password": { "type": "null" },
                "ssh_auth_method": { "enum": ["ssh_key", null] },
            },
        },
        {
            "required": ["ssh_private_key"],
            "properties": {
                "ssh_private_key": { "type": "string" },
                "ssh_key_pair_id": { "type": "null" },
                "ssh_auth_method": { "enum": ["ssh_key", null] },
            },
        },
        {
            "required": ["ssh_password"],
            "properties": {
                "ssh_password": { "type": "string" },
                "ssh_private_key": { "type": "null" },
                "ssh_key_pair_id": { "type": "null" },
                "ssh_auth_method": { "enum": ["password", null] },
            },
        },
    ] })
}

/// The address that is chosen is there.
fn address() -> Value {
    let choices = [("ipv4_address", "ipv4"), ("ipv6_address", "ipv6"), ("fqdn", "fqdn"), ("hostname", "hostname")];
    let choices = choices.map(|(field, word)| {
        json!({
            "required": [field],
            "properties": {
                field: { "type": "string", "minLength": 1 },
                "connection_host_type": { "enum": ["auto", word, null] },
            },
        })
    });
    json!({ "anyOf": choices })
}
