-- Where a container is, by its id or name: what was last seen on each server.
CREATE TABLE server_containers (
    server_id TEXT NOT NULL REFERENCES servers (id),
    container_id TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (server_id, container_id)
);
CREATE INDEX server_containers_by_id ON server_containers (container_id);
CREATE INDEX server_containers_by_name ON server_containers (name);
