-- Names the text of filter_facts, so that it need not be read by who knows it. It fills as facts are next stored.
ALTER TABLE servers ADD COLUMN filter_facts_id TEXT;
