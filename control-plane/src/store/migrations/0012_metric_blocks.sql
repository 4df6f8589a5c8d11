-- Frames become blocks once they are some minutes old. Resolution is in seconds: 1, 60 or 3600; a window's blocks are
-- its parts.
CREATE TABLE metric_blocks (
    server_id TEXT NOT NULL REFERENCES servers (id),
    resolution BIGINT NOT NULL,
    window_us BIGINT NOT NULL,
    part BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    samples BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    payload BYTES NOT NULL,
    damaged_at_us BIGINT,
    PRIMARY KEY (server_id, resolution, window_us, part)
);
CREATE INDEX metric_blocks_by_age ON metric_blocks (resolution, window_us);

-- Counts what was sealed of a server: two who seal it at once find out.
CREATE TABLE metric_sealing (
    server_id TEXT NOT NULL PRIMARY KEY REFERENCES servers (id),
    revision BIGINT NOT NULL
);

-- Frames that can't be read, kept as long as raw samples are.
CREATE TABLE metric_quarantine (
    server_id TEXT NOT NULL REFERENCES servers (id),
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    ticks BIGINT NOT NULL,
    encoding BIGINT NOT NULL,
    payload BYTES NOT NULL,
    reason TEXT NOT NULL,
    quarantined_at_us BIGINT NOT NULL,
    PRIMARY KEY (server_id, epoch, seq)
);

-- 1: it is in a block already and stays for what a server said last, until a newer one takes its place.
ALTER TABLE metric_frames ADD COLUMN in_block BIGINT NOT NULL DEFAULT 0;

-- When a sealed frame last had values of the list's series; 0 until somebody looked.
ALTER TABLE metric_declarations ADD COLUMN used_at_us BIGINT NOT NULL DEFAULT 0;
-- 1: all of its series are of containers, which never come back under their numbers.
ALTER TABLE metric_declarations ADD COLUMN is_passing BIGINT NOT NULL DEFAULT 0;
