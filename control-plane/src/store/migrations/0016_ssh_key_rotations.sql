-- One rotation a key pair, taken up again where servers were left behind.
CREATE TABLE ssh_key_rotations (
    id TEXT PRIMARY KEY NOT NULL,
    org_id TEXT NOT NULL REFERENCES organizations (id),
    -- The old pair goes at the end, so nothing here refers to it.
    old_pair_id TEXT NOT NULL UNIQUE,
    new_pair_id TEXT NOT NULL REFERENCES ssh_key_pairs (id),
    name TEXT NOT NULL,
    old_public_key TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at_us BIGINT NOT NULL,
    ended_at_us BIGINT
);
CREATE INDEX ssh_key_rotations_running ON ssh_key_rotations (id) WHERE state = 'running';
CREATE INDEX ssh_key_rotations_by_new_pair ON ssh_key_rotations (new_pair_id);

CREATE TABLE ssh_key_rotation_servers (
    rotation_id TEXT NOT NULL REFERENCES ssh_key_rotations (id),
    server_id TEXT NOT NULL REFERENCES servers (id),
    org_id TEXT NOT NULL REFERENCES organizations (id),
    state TEXT NOT NULL,
    step TEXT,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    -- Whose turn it is: of one turn, not of one process.
    lease TEXT,
    lease_expires_at_us BIGINT,
    claims BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    PRIMARY KEY (rotation_id, server_id)
);
CREATE INDEX ssh_key_rotation_servers_open ON ssh_key_rotation_servers (rotation_id, server_id)
    WHERE state IN ('waiting', 'switched');
