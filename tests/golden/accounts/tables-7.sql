-- Who is told of what happens to a package, by webhook.
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    package TEXT NOT NULL,
    url TEXT NOT NULL,
    -- What deliveries are signed with: it is needed again, so it is kept as it is.
    secret TEXT NOT NULL,
    -- The words of what it is told of, with a space between.
    events TEXT NOT NULL,
    created_s INTEGER NOT NULL
) STRICT;
CREATE INDEX alerts_of ON alerts (package);

-- What was to be told, and how that went.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    alert INTEGER NOT NULL REFERENCES alerts ON DELETE CASCADE,
    -- What it is about: the same is told once.
    about TEXT NOT NULL,
    event TEXT NOT NULL,
    body TEXT NOT NULL,
    created_s INTEGER NOT NULL,
    failed INTEGER NOT NULL DEFAULT 0,
    -- When it is tried next; null once it is over.
    next_s INTEGER,
    -- How the last try went, in words.
    said TEXT,
    UNIQUE (alert, about)
) STRICT;
CREATE INDEX deliveries_due ON deliveries (next_s) WHERE next_s IS NOT NULL;
