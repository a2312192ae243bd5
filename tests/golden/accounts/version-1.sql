-- The accounts' database as the first pullgate that had one wrote it (`tests/older.rs`): its tables, which stay as they
-- are here whatever becomes of them later, and what was in them.

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

-- Who was there by then. Each has the password of the test.
INSERT INTO organisations VALUES (1, 'acme', 1, 1000), (2, 'other', 0, 2000);
INSERT INTO domains VALUES ('other.example', 2);
INSERT INTO accounts VALUES
    (1, 'ada', '$argon2id$v=19$m=19456,t=2,p=1$6jRAXmWc6pH/hKFsIsL7KA$lDbmRFkLXGbNUnMLKsB6gbblaycZmRK5UgmICsrTtSE', NULL, 0, 1000),
    (2, 'bob', '$argon2id$v=19$m=19456,t=2,p=1$6jRAXmWc6pH/hKFsIsL7KA$lDbmRFkLXGbNUnMLKsB6gbblaycZmRK5UgmICsrTtSE', NULL, 0, 1001),
    (3, 'eve', '$argon2id$v=19$m=19456,t=2,p=1$6jRAXmWc6pH/hKFsIsL7KA$lDbmRFkLXGbNUnMLKsB6gbblaycZmRK5UgmICsrTtSE', CAST('12345678901234567890' AS BLOB), 1, 2000),
    (4, 'pat', '$argon2id$v=19$m=19456,t=2,p=1$6jRAXmWc6pH/hKFsIsL7KA$lDbmRFkLXGbNUnMLKsB6gbblaycZmRK5UgmICsrTtSE', NULL, 0, 3000),
    (5, 'pia', '$argon2id$v=19$m=19456,t=2,p=1$6jRAXmWc6pH/hKFsIsL7KA$lDbmRFkLXGbNUnMLKsB6gbblaycZmRK5UgmICsrTtSE', NULL, 0, 3001);
INSERT INTO members VALUES (1, 1, 'admin'), (2, 1, 'member'), (3, 2, 'admin');
INSERT INTO package_members VALUES
    (4, 'registry.acme.com/acme/rocket', 'member'),
    (5, 'registry.acme.com/acme/rocket', 'admin');

-- bob's browser, where he was an hour ago; a token of ada's; an invitation to acme, as a member: what is handed
-- out are 64 times `a`, `pullgate_` and 64 times `b`, and 64 times `c`.
INSERT INTO sessions VALUES
    (1, 2, X'FFE054FE7AE0CB6DC65C3AF9B61D5209F439851DB43D0BA5997337DF154668EB', 'Firefox',
     unixepoch() - 7200, unixepoch() - 3600);
INSERT INTO tokens VALUES
    (1, 1, 'report', X'10DAA9F25FCA6939B7D7F66C259159603BE75B261A92686231E584F026A82E2B',
     1, NULL, 'admin', 1500, NULL, NULL);
INSERT INTO invitations VALUES
    (1, X'52B6419D27BD7F547CEE3B92F8C17A908B8A49601ECBEC161E5030DE1DFE9E0A', 1, NULL, 'member', 1,
     unixepoch() - 3600, unixepoch() + 3600);
INSERT INTO audit VALUES
    (1, unixepoch() - 3600, 1, 'ada', 1, NULL, 'invitation.make', NULL, '{"role":"member"}');

PRAGMA user_version = 1;
