-- Whether the host that ended a command put its name to the end, as JSON; NULL where its host has not ended it.
ALTER TABLE commands ADD COLUMN receipt TEXT;
