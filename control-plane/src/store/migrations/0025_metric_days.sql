-- The hours of a day that is over become one day: an index, and stripes by the generation that wrote them, so that whoever
-- read an index before finds its stripes or knows that they are gone.
CREATE TABLE metric_days (
    server_id TEXT NOT NULL REFERENCES servers (id),
    resolution BIGINT NOT NULL,
    day_us BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    samples BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    payload BYTES NOT NULL,
    damaged_at_us BIGINT,
    PRIMARY KEY (server_id, resolution, day_us)
);
CREATE INDEX metric_days_by_age ON metric_days (resolution, day_us);

CREATE TABLE metric_day_stripes (
    server_id TEXT NOT NULL REFERENCES servers (id),
    resolution BIGINT NOT NULL,
    day_us BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    stripe BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    payload BYTES NOT NULL,
    PRIMARY KEY (server_id, resolution, day_us, generation, stripe)
);
