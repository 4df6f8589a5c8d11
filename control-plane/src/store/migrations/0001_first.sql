CREATE TABLE organizations (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    created_at_us BIGINT NOT NULL
);

CREATE TABLE users (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    created_at_us BIGINT NOT NULL
);

CREATE TABLE memberships (
    org_id TEXT NOT NULL REFERENCES organizations (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    role TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);

CREATE TABLE api_tokens (
    id TEXT PRIMARY KEY NOT NULL,
    org_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    token_sha256 BYTES NOT NULL UNIQUE,
    created_at_us BIGINT NOT NULL,
    expires_at_us BIGINT,
    revoked_at_us BIGINT,
    FOREIGN KEY (org_id, user_id) REFERENCES memberships (org_id, user_id)
);

CREATE TABLE control_secrets (
    name TEXT PRIMARY KEY NOT NULL,
    sealed BYTES NOT NULL,
    created_at_us BIGINT NOT NULL
);

CREATE TABLE servers (
    id TEXT PRIMARY KEY NOT NULL,
    org_id TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    provider TEXT NOT NULL,
    region TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    -- Counts changes by people, so that two of them can't overwrite each other unseen.
    revision BIGINT NOT NULL DEFAULT 0,
    deleted_at_us BIGINT,
    -- How to reach it over SSH; a host that joined by itself has no user here.
    ipv4_address TEXT,
    ipv6_address TEXT,
    fqdn TEXT,
    hostname TEXT,
    connection_host_type TEXT NOT NULL,
    ssh_port BIGINT NOT NULL,
    ssh_username TEXT,
    ssh_auth_method TEXT,
    ssh_sudo_mode TEXT NOT NULL,
    ssh_password_sealed BYTES,
    ssh_private_key_sealed BYTES,
    ssh_key_passphrase_sealed BYTES,
    ssh_host_key_fingerprint TEXT,
    -- The other key a host showed, until a person accepts it.
    ssh_host_key_offered TEXT,
    connection_outcome TEXT,
    connection_detail TEXT,
    connection_at_us BIGINT,
    -- What its owner says of it; thousandths, so that no database rounds.
    cpu_cores_milli BIGINT,
    memory_gb_milli BIGINT,
    disk_gb_milli BIGINT,
    max_projects BIGINT,
    -- The part of the facts that lists and health need.
    facts_sha256 BYTES,
    facts_collected_at_us BIGINT,
    detected_hostname TEXT,
    os_type TEXT,
    os_version TEXT,
    os_arch TEXT,
    docker_status TEXT,
    docker_version TEXT,
    detected_cpu_cores BIGINT,
    detected_memory_bytes BIGINT,
    data_disk_bytes BIGINT,
    data_disk_available_bytes BIGINT,
    preflight_verdict TEXT,
    preflight_at_us BIGINT,
    -- The agent and its identity.
    agent_status TEXT NOT NULL,
    agent_version TEXT,
    agent_machine_id_sha256 TEXT,
    agent_boot_id TEXT,
    agent_allowed_families TEXT,
    agent_generation BIGINT NOT NULL DEFAULT 0,
    agent_confirmed_generation BIGINT NOT NULL DEFAULT 0,
    last_seen_at_us BIGINT
);
CREATE UNIQUE INDEX servers_by_name ON servers (org_id, name) WHERE deleted_at_us IS NULL;
CREATE INDEX servers_by_creation ON servers (org_id, created_at_us, id) WHERE deleted_at_us IS NULL;
CREATE INDEX servers_by_status ON servers (org_id, status, created_at_us, id) WHERE deleted_at_us IS NULL;

CREATE TABLE server_facts (
    server_id TEXT PRIMARY KEY NOT NULL REFERENCES servers (id),
    json BYTES NOT NULL,
    sha256 BYTES NOT NULL,
    collected_at_us BIGINT NOT NULL,
    stored_at_us BIGINT NOT NULL
);

CREATE TABLE server_preflights (
    server_id TEXT PRIMARY KEY NOT NULL REFERENCES servers (id),
    json TEXT NOT NULL,
    checked_at_us BIGINT NOT NULL
);

CREATE TABLE idempotency_keys (
    org_id TEXT NOT NULL REFERENCES organizations (id),
    idempotency_key TEXT NOT NULL,
    body_sealed BYTES NOT NULL,
    server_id TEXT NOT NULL REFERENCES servers (id),
    created_at_us BIGINT NOT NULL,
    PRIMARY KEY (org_id, idempotency_key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at_us);

CREATE TABLE join_tokens (
    id TEXT PRIMARY KEY NOT NULL,
    org_id TEXT NOT NULL REFERENCES organizations (id),
    token_sha256 BYTES NOT NULL UNIQUE,
    -- What the host becomes: a server made beforehand, or a new one of this name.
    for_server_id TEXT REFERENCES servers (id),
    server_name TEXT,
    allowed_families TEXT NOT NULL,
    created_by TEXT NOT NULL REFERENCES users (id),
    created_at_us BIGINT NOT NULL,
    expires_at_us BIGINT NOT NULL,
    used_at_us BIGINT,
    used_by_server_id TEXT REFERENCES servers (id),
    revoked_at_us BIGINT
);
CREATE INDEX join_tokens_by_creation ON join_tokens (org_id, created_at_us);

CREATE TABLE certificates (
    serial TEXT PRIMARY KEY NOT NULL,
    org_id TEXT NOT NULL REFERENCES organizations (id),
    server_id TEXT NOT NULL REFERENCES servers (id),
    public_key_sha256 BYTES NOT NULL,
    not_before_us BIGINT NOT NULL,
    not_after_us BIGINT NOT NULL,
    issued_at_us BIGINT NOT NULL,
    revoked_at_us BIGINT,
    revoked_because TEXT
);
CREATE INDEX certificates_by_server ON certificates (server_id);
CREATE INDEX certificates_by_expiry ON certificates (not_after_us);

CREATE TABLE commands (
    id TEXT PRIMARY KEY NOT NULL,
    org_id TEXT NOT NULL REFERENCES organizations (id),
    server_id TEXT NOT NULL REFERENCES servers (id),
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    result TEXT,
    created_by TEXT NOT NULL REFERENCES users (id),
    created_at_us BIGINT NOT NULL,
    expires_at_us BIGINT NOT NULL,
    sent_at_us BIGINT,
    started_at_us BIGINT,
    finished_at_us BIGINT,
    cancel_requested_at_us BIGINT,
    lease_owner TEXT,
    lease_expires_at_us BIGINT
);
CREATE INDEX commands_by_server ON commands (org_id, server_id, created_at_us, id);
CREATE INDEX commands_by_creation ON commands (org_id, created_at_us, id);
CREATE INDEX commands_unfinished ON commands (server_id, created_at_us, id) WHERE finished_at_us IS NULL;

CREATE TABLE command_updates (
    command_id TEXT NOT NULL REFERENCES commands (id),
    seq BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    body TEXT NOT NULL,
    stored_at_us BIGINT NOT NULL,
    PRIMARY KEY (command_id, seq)
);

-- Epochs and sequences are unsigned on the wire; their bits are kept.
CREATE TABLE metric_series (
    server_id TEXT NOT NULL REFERENCES servers (id),
    epoch BIGINT NOT NULL,
    series_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    scale BIGINT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (server_id, epoch, series_id)
);

CREATE TABLE metric_frames (
    server_id TEXT NOT NULL REFERENCES servers (id),
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    ticks BIGINT NOT NULL,
    encoding BIGINT NOT NULL,
    payload BYTES NOT NULL,
    PRIMARY KEY (server_id, epoch, seq)
);
CREATE INDEX metric_frames_by_time ON metric_frames (server_id, last_us);
