-- How many of a hundred parts of the hardening profile hold, for lists and filters; NULL where nothing is known.
ALTER TABLE servers ADD COLUMN hardening_score BIGINT;
UPDATE servers SET hardening_score = (
    SELECT SUM(CASE WHEN h.standing = 'holds' THEN 100 ELSE 0 END) / COUNT(*)
    FROM server_hardening h WHERE h.server_id = servers.id AND h.standing <> 'not_applicable'
) WHERE EXISTS (
    SELECT 1 FROM server_hardening h WHERE h.server_id = servers.id AND h.standing <> 'not_applicable'
);
