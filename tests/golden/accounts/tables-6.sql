-- Domains that organisations say are theirs, until a TXT record proves it.

CREATE TABLE claims (
    host TEXT NOT NULL,
    organisation INTEGER NOT NULL REFERENCES organisations ON DELETE CASCADE,
    -- What the record has to say; everybody may know it.
    text TEXT NOT NULL,
    created_s INTEGER NOT NULL,
    PRIMARY KEY (host, organisation)
) STRICT;
