-- Badges are on until somebody turns them off.

CREATE TABLE badges_off (
    package TEXT PRIMARY KEY
) STRICT;
