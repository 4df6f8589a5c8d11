-- A list of declarations as hosts of one shape send it, compressed; stored once, whoever declares it.
CREATE TABLE declaration_lists (
    sha256 BYTES NOT NULL PRIMARY KEY,
    declarations BYTES NOT NULL
);

-- Takes the place of metric_series, which is only read from now on, and goes one release later.
CREATE TABLE metric_declarations (
    server_id TEXT NOT NULL REFERENCES servers (id),
    epoch BIGINT NOT NULL,
    list_sha256 BYTES NOT NULL REFERENCES declaration_lists (sha256),
    PRIMARY KEY (server_id, epoch, list_sha256)
);
CREATE INDEX metric_declarations_by_list ON metric_declarations (list_sha256);
