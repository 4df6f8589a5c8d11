-- One typed command to a selection of servers, in waves. The selection is fixed when the run is made.
CREATE TABLE fleet_runs (
    id TEXT PRIMARY KEY NOT NULL,
    org_id TEXT NOT NULL REFERENCES organizations (id),
    task TEXT NOT NULL,
    filter TEXT NOT NULL,
    dry_run BIGINT NOT NULL,
    dry_run_id TEXT REFERENCES fleet_runs (id),
    wave_size BIGINT NOT NULL,
    max_failures BIGINT NOT NULL,
    state TEXT NOT NULL,
    -- The last wave whose servers may begin.
    wave BIGINT NOT NULL,
    created_by TEXT NOT NULL REFERENCES users (id),
    created_by_name TEXT NOT NULL,
    created_with TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    ended_at_us BIGINT
);
CREATE INDEX fleet_runs_by_creation ON fleet_runs (org_id, created_at_us, id);
CREATE INDEX fleet_runs_unended ON fleet_runs (id) WHERE ended_at_us IS NULL;

CREATE TABLE fleet_run_servers (
    run_id TEXT NOT NULL REFERENCES fleet_runs (id),
    server_id TEXT NOT NULL REFERENCES servers (id),
    org_id TEXT NOT NULL REFERENCES organizations (id),
    wave BIGINT NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    -- The command's id, and that of its confirmation, are fixed before it is submitted, so that it is once only.
    command_id TEXT,
    confirmation_id TEXT,
    lease TEXT,
    lease_expires_at_us BIGINT,
    updated_at_us BIGINT NOT NULL,
    PRIMARY KEY (run_id, server_id)
);
CREATE INDEX fleet_run_servers_open ON fleet_run_servers (run_id, wave, server_id)
    WHERE state IN ('waiting', 'running');
