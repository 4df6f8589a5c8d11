-- What an organisation may use; null is without limit. Thousandths, as everything that is added up.
ALTER TABLE organizations ADD COLUMN total_cpu_quota_milli BIGINT;
ALTER TABLE organizations ADD COLUMN total_ram_quota_mb_milli BIGINT;
ALTER TABLE organizations ADD COLUMN total_disk_quota_gb_milli BIGINT;

CREATE TABLE projects (
    id TEXT PRIMARY KEY NOT NULL,
    org_id TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    description TEXT NOT NULL,
    odoo_version TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    deleted_at_us BIGINT
);
CREATE UNIQUE INDEX projects_by_slug ON projects (org_id, slug) WHERE deleted_at_us IS NULL;
CREATE INDEX projects_by_creation ON projects (org_id, created_at_us, id) WHERE deleted_at_us IS NULL;

-- What users whose role is bound to projects may see.
CREATE TABLE project_members (
    org_id TEXT NOT NULL,
    project_id TEXT NOT NULL REFERENCES projects (id),
    user_id TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    PRIMARY KEY (project_id, user_id),
    FOREIGN KEY (org_id, user_id) REFERENCES memberships (org_id, user_id) ON DELETE CASCADE
);
CREATE INDEX project_members_by_user ON project_members (org_id, user_id);

CREATE TABLE environments (
    id TEXT PRIMARY KEY NOT NULL,
    org_id TEXT NOT NULL REFERENCES organizations (id),
    project_id TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    environment_type TEXT NOT NULL,
    domain TEXT,
    port BIGINT,
    container_id TEXT,
    cpu_cores_milli BIGINT NOT NULL,
    ram_mb BIGINT NOT NULL,
    disk_gb_milli BIGINT NOT NULL,
    -- A replica has the sizes of what it replicates.
    replica_of TEXT REFERENCES environments (id),
    is_active BIGINT NOT NULL,
    server_id TEXT REFERENCES servers (id),
    -- What it counts for in quota and on its server, written with the row by the one function that knows the rule.
    counted_cpu_milli BIGINT NOT NULL,
    counted_ram_mb_milli BIGINT NOT NULL,
    counted_disk_gb_milli BIGINT NOT NULL,
    -- As its containers were last seen.
    status TEXT NOT NULL,
    status_at_us BIGINT,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    deleted_at_us BIGINT
);
CREATE UNIQUE INDEX environments_by_name ON environments (project_id, name) WHERE deleted_at_us IS NULL;
CREATE INDEX environments_by_organization ON environments (org_id) WHERE deleted_at_us IS NULL;
CREATE INDEX environments_by_server ON environments (server_id) WHERE deleted_at_us IS NULL;
CREATE INDEX environments_by_source ON environments (replica_of) WHERE deleted_at_us IS NULL;
