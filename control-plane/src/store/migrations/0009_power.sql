-- When its host reported that it is powering off; a session that ends soon after leaves the server stopped.
ALTER TABLE servers ADD COLUMN stopping_at_us BIGINT;

-- The server a command is about, where that is not the one that carries it out; and since when that one is awaited.
ALTER TABLE commands ADD COLUMN target_server_id TEXT REFERENCES servers (id);
ALTER TABLE commands ADD COLUMN awaiting_since_us BIGINT;
CREATE INDEX commands_by_target ON commands (org_id, target_server_id, created_at_us, id)
    WHERE target_server_id IS NOT NULL;
CREATE INDEX commands_awaiting ON commands (awaiting_since_us)
    WHERE awaiting_since_us IS NOT NULL AND finished_at_us IS NULL;

-- The IPv4 networks a server stands in, as its facts last said: who can wake whom.
CREATE TABLE server_networks (
    server_id TEXT NOT NULL REFERENCES servers (id),
    org_id TEXT NOT NULL REFERENCES organizations (id),
    interface TEXT NOT NULL,
    mac TEXT NOT NULL,
    subnet TEXT NOT NULL,
    PRIMARY KEY (server_id, interface, subnet)
);
CREATE INDEX server_networks_by_subnet ON server_networks (org_id, subnet, server_id);
