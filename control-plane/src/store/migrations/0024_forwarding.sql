-- 0: no engine was set when it came; 1: it waits for the engine; 2: the engine has it.
ALTER TABLE metric_frames ADD COLUMN forwarding BIGINT NOT NULL DEFAULT 0;
-- Empty where no engine is set, and so costs nothing there.
CREATE INDEX metric_frames_to_forward ON metric_frames (server_id, first_us) WHERE forwarding = 1;

-- Which process sends frames to the engine, until when nobody else does, and since when the engine is away.
CREATE TABLE metric_forwarder (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    until_us BIGINT NOT NULL,
    away_since_us BIGINT
);
