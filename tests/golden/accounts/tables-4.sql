-- Packages that were made in the dashboard. Whose one is, its domain says. What is said of it is JSON, as
-- programs write it; domain and name stand there too.

CREATE TABLE packages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    domain TEXT NOT NULL,
    name TEXT NOT NULL,
    written TEXT NOT NULL,
    UNIQUE (domain, name)
) STRICT;

-- Of which package made in the dashboard an entry is, whatever it was called then.
ALTER TABLE audit ADD COLUMN made INTEGER;
CREATE INDEX audit_of_made ON audit (made, id) WHERE made IS NOT NULL;
