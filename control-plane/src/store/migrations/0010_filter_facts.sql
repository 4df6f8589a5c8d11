-- What filters ask of a host's facts, one line each. It fills as facts are next stored: hosts send theirs as they connect.
ALTER TABLE servers ADD COLUMN filter_facts TEXT;
