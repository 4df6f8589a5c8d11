//! What holds between the fields of a body, which no single field can say.

use serde_json::{Value, json};

/// Adds the rules to the types they hold for.
pub(super) fn constrain(components: &mut Value) {
    for name in ["VmCreate", "VmConnection"] {
        if let Some(schema) = components.pointer_mut(&format!("/schemas/{name}")) {
            schema["allOf"] = json!([login(), address()]);
        }
    }
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
