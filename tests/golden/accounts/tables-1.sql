-- Times are in seconds since 1970. What is handed out as text (sessions, tokens, invitations) is kept as
-- its SHA-256 only. A package is named as counts name it: <domain>/<name>.

CREATE TABLE organisations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    -- The one that runs the gateway; it owns every domain that no other does.
    is_operator INTEGER NOT NULL DEFAULT 0,
    created_s INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_operator ON organisations (is_operator) WHERE is_operator = 1;

CREATE TABLE domains (
    host TEXT PRIMARY KEY,
    organisation INTEGER NOT NULL REFERENCES organisations ON DELETE CASCADE
) STRICT;

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What one signs in with, in lower case.
    login TEXT NOT NULL UNIQUE,
    -- As Argon2id writes it (PHC string).
    password TEXT NOT NULL,
    -- The second factor, where there is one, and the last step of it that was used.
    second_factor BLOB,
    second_factor_step INTEGER NOT NULL DEFAULT 0,
    created_s INTEGER NOT NULL
) STRICT;

CREATE TABLE members (
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    organisation INTEGER NOT NULL REFERENCES organisations ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('member', 'admin')),
    PRIMARY KEY (account, organisation)
) STRICT;

CREATE TABLE package_members (
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    package TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('member', 'admin')),
    PRIMARY KEY (account, package)
) STRICT;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    secret BLOB NOT NULL UNIQUE,
    browser TEXT NOT NULL,
    created_s INTEGER NOT NULL,
    seen_s INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_of ON sessions (account);

CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    label TEXT NOT NULL,
    secret BLOB NOT NULL UNIQUE,
    organisation INTEGER NOT NULL REFERENCES organisations ON DELETE CASCADE,
    package TEXT,
    role TEXT NOT NULL CHECK (role IN ('member', 'admin')),
    created_s INTEGER NOT NULL,
    expires_s INTEGER,
    seen_s INTEGER
) STRICT;
CREATE INDEX tokens_of ON tokens (account);

CREATE TABLE invitations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    secret BLOB NOT NULL UNIQUE,
    organisation INTEGER NOT NULL REFERENCES organisations ON DELETE CASCADE,
    package TEXT,
    role TEXT NOT NULL CHECK (role IN ('member', 'admin')),
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    created_s INTEGER NOT NULL,
    expires_s INTEGER NOT NULL
) STRICT;

-- Who did what, kept also when the account, the package or the organisation is gone.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_s INTEGER NOT NULL,
    account INTEGER,
    login TEXT NOT NULL,
    organisation INTEGER,
    package TEXT,
    deed TEXT NOT NULL,
    before TEXT,
    after TEXT
) STRICT;
CREATE INDEX audit_of ON audit (organisation, id);
