-- Stripes of a larger hour of single samples are stored by themselves, as those of days are; its block is then an index, and
-- how many stripes there are stands beside it. The generation is that of whoever wrote both.
ALTER TABLE metric_blocks ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE metric_blocks ADD COLUMN stripes BIGINT NOT NULL DEFAULT 0;

CREATE TABLE metric_block_stripes (
    server_id TEXT NOT NULL REFERENCES servers (id),
    resolution BIGINT NOT NULL,
    window_us BIGINT NOT NULL,
    part BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    stripe BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    payload BYTES NOT NULL,
    PRIMARY KEY (server_id, resolution, window_us, part, generation, stripe)
);
