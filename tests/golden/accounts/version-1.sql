-- What was in the accounts' database that the first pullgate that had one wrote (`tests/older.rs`), in the tables of
-- its first step.

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
