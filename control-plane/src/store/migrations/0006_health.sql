-- How each server was when it was last checked, and since when.
CREATE TABLE server_health (
    server_id TEXT PRIMARY KEY NOT NULL REFERENCES servers (id),
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    -- The signals that decided, as JSON.
    evidence TEXT NOT NULL,
    since_us BIGINT NOT NULL,
    checked_at_us BIGINT NOT NULL,
    next_check_at_us BIGINT NOT NULL,
    -- What only a check sees: the newest sample and the agent's certificate.
    sample_arrived_at_us BIGINT,
    sample_looked_at_us BIGINT,
    sample_disk_percent_milli BIGINT,
    certificate_not_before_us BIGINT,
    certificate_not_after_us BIGINT,
    disk_use_hour BIGINT,
    -- Attempts over SSH that nobody asked for.
    probe_failures BIGINT NOT NULL DEFAULT 0,
    probe_revision BIGINT,
    next_probe_at_us BIGINT,
    probe_looked_at_us BIGINT
);
CREATE INDEX server_health_by_turn ON server_health (next_check_at_us);
