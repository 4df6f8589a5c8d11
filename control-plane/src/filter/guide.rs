//! The guide to filters, made of the table of fields.

use std::{fmt::Write as _, path::Path};

use super::{FIELDS, Filter, Kind, MAX_CHARACTERS, MAX_NESTING, MAX_NODES};

const EXAMPLES: &[(&str, &str)] = &[
    ("docker.version < version(\"24.0\") && disk.free_gb < 20.0", "old Docker and little space"),
    ("health_status == \"healthy\" && name.startsWith(\"web-\")", "healthy web servers"),
    ("region in [\"Frankfurt\", \"Berlin\"] && os.id == \"debian\"", "Debian in two regions"),
    ("agent.status == \"online\" && now - booted_at > duration(\"90d\")", "not booted for a quarter"),
    ("reboot_pending || security_updates > 0", "in need of care"),
    ("80 in ports.tcp && !(443 in ports.tcp)", "plain HTTP only"),
    ("!has(docker.version)", "Docker's version is not known"),
];

fn guide() -> String {
    let mut guide = String::from(
        "# Asking the fleet\n\n\
         `GET /api/v1/vms?filter=…`, `ListServers` over gRPC and `muster servers list --filter …` take an expression \
         in a part of\n[CEL](https://cel.dev) and list the servers for which it is true.\n\n\
         ```sh\n\
         muster servers list --filter 'docker.version < version(\"24.0\") && disk.free_gb < 20.0'\n\
         curl -G \"$MUSTER_URL/api/v1/vms\" -H \"Authorization: Bearer $MUSTER_TOKEN\" \\\n  \
         --data-urlencode 'filter=os.id == \"debian\" && reboot_pending'\n\
         ```\n\n\
         | filter | lists |\n| --- | --- |\n",
    );
    for (filter, lists) in EXAMPLES {
        let _ = writeln!(guide, "| `{}` | {lists} |", filter.replace('|', "\\|"));
    }
    let _ = write!(
        guide,
        "\n## Language\n\n\
         - Texts in `\"…\"` or `'…'` (`r\"…\"` without escapes), numbers (`20`, `20.5`, `0x1f`), `true`, `false`, lists \
         `[a, b]`.\n\
         - `==` `!=` `<` `<=` `>` `>=`, `in`, `&&`, `||`, `!`, `condition ? a : b`, and `+ - * / %`.\n\
         - `version(\"24.0\")` compares piece by piece: `1.9 < 1.10`, `24 == 24.0`, `24.0.0-rc.1 < 24.0.0`, the rest as \
         Debian does.\n\
         - `timestamp(\"2025-01-15T10:30:00Z\")`, `duration(\"90s\")`, `\"1h30m\"`, `\"7d\"`, and `now`.\n\
         - `has(FIELD)` says whether something is known.\n\
         - On texts `.startsWith()`, `.endsWith()`, `.contains()`, `.lowerAscii()`, `.size()`; on lists `.size()`.\n\
         - There are no regular expressions and no loops. At most {MAX_CHARACTERS} characters, {MAX_NODES} names, values \
         and operators, nested\n  {MAX_NESTING} deep.\n\n\
         **What is not known does not match.** A host that never told its Docker version is listed neither by\n\
         `docker.version < version(\"24.0\")` nor by its opposite; `!has(docker.version)` finds it. `&&` and `||` still \
         answer where\nthe known side decides.\n\n\
         An expression that is wrong is a 422 with the code `invalid_filter`; its `detail` names the column, and the \
         nearest name there\nis:\n\n\
         ```json\n\
         {{\"detail\": \"filter, column 1: no such name as `dokcer.version`; did you mean `docker.version`?\", \
         \"code\": \"invalid_filter\", \"request_id\": \"…\"}}\n\
         ```\n\n\
         ## Fields\n\n| name | is a | says |\n| --- | --- | --- |\n| `now` | time | The time of the request |\n"
    );
    for field in FIELDS {
        let _ = writeln!(guide, "| `{}` | {} | {} |", field.name, field.kind, field.about);
    }
    guide
}

/// `UPDATE_DOCS=1 cargo test -p muster filter::guide` writes the file.
#[test]
fn the_guide_is_made_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/filter.md");
    let guide = guide();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &guide).expect("written");
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), guide, "UPDATE_DOCS=1 writes docs/guide/filter.md");
}

/// What the dashboard's filter box offers.
fn fields() -> String {
    let fields: Vec<_> =
        FIELDS.iter().map(|field| [field.name, &field.kind.to_string(), field.about].map(str::to_owned)).collect();
    let lines: Vec<_> = fields.iter().map(|field| serde_json::to_string(field).expect("serialises")).collect();
    format!("[\n  {}\n]\n", lines.join(",\n  "))
}

/// `UPDATE_DOCS=1 cargo test -p muster filter::guide` writes the file.
#[test]
fn the_dashboard_offers_every_field() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard/src/filter/fields.json");
    let fields = fields();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fields).expect("written");
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), fields, "UPDATE_DOCS=1 writes it");
}

#[test]
fn every_example_compiles_and_every_field_can_be_asked_for() {
    for (filter, _) in EXAMPLES {
        Filter::compile(filter).unwrap_or_else(|invalid| panic!("{filter}: {invalid}"));
    }
    let mut names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FIELDS.len(), "a name stands twice");
    for field in FIELDS {
        let name = field.name;
        let filter = match field.kind {
            Kind::Truth => name.to_owned(),
            Kind::Number => format!("{name} < 1"),
            Kind::Text => format!("{name} < \"a\""),
            Kind::Version => format!("{name} < version(\"1\")"),
            Kind::Time => format!("{name} < now"),
            Kind::Duration => format!("{name} < duration(\"1s\")"),
            Kind::Texts => format!("\"a\" in {name}"),
            Kind::Numbers => format!("1 in {name}"),
        };
        Filter::compile(&filter).unwrap_or_else(|invalid| panic!("{filter}: {invalid}"));
        assert_eq!(field.kind.element().is_some(), matches!(field.kind, Kind::Texts | Kind::Numbers));
    }
}
