CREATE TABLE ssh_key_pairs (
    id TEXT PRIMARY KEY NOT NULL,
    org_id TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    key_type TEXT NOT NULL,
    public_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    private_key_sealed BYTES NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    UNIQUE (org_id, name)
);
CREATE INDEX ssh_key_pairs_by_creation ON ssh_key_pairs (org_id, created_at_us, id);

ALTER TABLE servers ADD COLUMN ssh_key_pair_id TEXT REFERENCES ssh_key_pairs (id);
CREATE INDEX servers_by_key_pair ON servers (ssh_key_pair_id) WHERE ssh_key_pair_id IS NOT NULL;
