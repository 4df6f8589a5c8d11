-- Who somebody is at an OpenID provider; one each.
CREATE TABLE oidc_identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id),
    created_at_us BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE UNIQUE INDEX oidc_identities_by_user ON oidc_identities (user_id, issuer);

-- Attempts to sign in that came back, until they would be over anyway.
CREATE TABLE oidc_attempts (
    state_sha256 BYTES PRIMARY KEY NOT NULL,
    ends_at_us BIGINT NOT NULL
);
CREATE INDEX oidc_attempts_by_end ON oidc_attempts (ends_at_us);
