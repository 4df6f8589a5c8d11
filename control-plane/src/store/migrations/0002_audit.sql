CREATE TABLE audit_entries (
    org_id TEXT NOT NULL REFERENCES organizations (id),
    seq BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    credential TEXT NOT NULL,
    source_address TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    resource_name TEXT NOT NULL,
    before_json TEXT NOT NULL,
    after_json TEXT NOT NULL,
    previous_hash BYTES NOT NULL,
    hash BYTES NOT NULL,
    PRIMARY KEY (org_id, seq)
);
CREATE INDEX audit_entries_by_resource ON audit_entries (org_id, resource_type, resource_id, seq);
CREATE INDEX audit_entries_by_action ON audit_entries (org_id, action, seq);
CREATE INDEX audit_entries_by_actor ON audit_entries (org_id, actor_id, seq);

-- The signed end of each organisation's chain; changing it first is what makes appending one at a time.
CREATE TABLE audit_heads (
    org_id TEXT PRIMARY KEY NOT NULL REFERENCES organizations (id),
    seq BIGINT NOT NULL,
    hash BYTES NOT NULL,
    signature BYTES NOT NULL
);
