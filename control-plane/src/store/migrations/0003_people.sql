ALTER TABLE organizations ADD COLUMN members_revision BIGINT NOT NULL DEFAULT 0;

ALTER TABLE users ADD COLUMN email TEXT;
ALTER TABLE users ADD COLUMN password_hash TEXT;
ALTER TABLE users ADD COLUMN must_change_password BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN totp_secret_sealed BYTES;
ALTER TABLE users ADD COLUMN totp_confirmed_at_us BIGINT;
ALTER TABLE users ADD COLUMN totp_last_step BIGINT;
ALTER TABLE users ADD COLUMN deleted_at_us BIGINT;
CREATE UNIQUE INDEX users_by_email ON users (email) WHERE email IS NOT NULL;
CREATE INDEX memberships_by_user ON memberships (user_id, created_at_us);

-- Without scopes a token may do all its user may.
ALTER TABLE api_tokens ADD COLUMN scopes TEXT;
ALTER TABLE api_tokens ADD COLUMN last_used_at_us BIGINT;
CREATE INDEX api_tokens_by_user ON api_tokens (org_id, user_id, created_at_us);

CREATE TABLE user_sessions (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id),
    token_sha256 BYTES NOT NULL UNIQUE,
    -- Where the user chose to act.
    org_id TEXT REFERENCES organizations (id),
    created_at_us BIGINT NOT NULL,
    last_used_at_us BIGINT NOT NULL,
    expires_at_us BIGINT NOT NULL,
    source_address TEXT NOT NULL,
    user_agent TEXT NOT NULL
);
CREATE INDEX user_sessions_by_user ON user_sessions (user_id, created_at_us);

CREATE TABLE totp_recovery_codes (
    user_id TEXT NOT NULL REFERENCES users (id),
    code_sha256 BYTES NOT NULL,
    used_at_us BIGINT,
    PRIMARY KEY (user_id, code_sha256)
);
