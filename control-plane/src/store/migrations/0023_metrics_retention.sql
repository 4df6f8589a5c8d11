-- How long an organisation keeps single samples, minutes and hours, in seconds; NULL: as long as the control plane lets it.
ALTER TABLE organizations ADD COLUMN raw_retention_seconds BIGINT;
ALTER TABLE organizations ADD COLUMN minute_retention_seconds BIGINT;
ALTER TABLE organizations ADD COLUMN hour_retention_seconds BIGINT;
