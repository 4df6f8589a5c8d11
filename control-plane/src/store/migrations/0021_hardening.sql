-- How each server stands towards each item of the hardening profile, and since when.
CREATE TABLE server_hardening (
    server_id TEXT NOT NULL REFERENCES servers (id),
    org_id TEXT NOT NULL REFERENCES organizations (id),
    item TEXT NOT NULL,
    standing TEXT NOT NULL,
    detail TEXT NOT NULL,
    since_us BIGINT NOT NULL,
    held_until_us BIGINT,
    seen_at_us BIGINT NOT NULL,
    PRIMARY KEY (server_id, item)
);
CREATE INDEX server_hardening_by_standing ON server_hardening (org_id, standing);
