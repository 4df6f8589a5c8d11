-- One point an hour, counted from the epoch: what forecasts are made from.
CREATE TABLE disk_use (
    server_id TEXT NOT NULL REFERENCES servers (id),
    hour BIGINT NOT NULL,
    percent_milli BIGINT NOT NULL,
    PRIMARY KEY (server_id, hour)
);
CREATE INDEX disk_use_by_age ON disk_use (hour);
