-- Registries that fail, or did so until everybody is told that they work again. Of each of these outages each
-- webhook gets one message when it begins and one when it ends, which wait among the deliveries until they are
-- heard, also where the gateway was started anew meanwhile.
CREATE TABLE outages (
    -- Where its `/v2/` is.
    registry TEXT NOT NULL,
    -- Since when it fails: that is what tells one outage from the next.
    since_s INTEGER NOT NULL,
    why TEXT NOT NULL,
    -- Since when it works again; null as long as it fails.
    ended_s INTEGER,
    PRIMARY KEY (registry, since_s)
) STRICT;

-- Whose a message is that waits: nobody's messages take the room of another's. Null for webhooks of the
-- configuration file, which are told of all packages and have '' for theirs.
ALTER TABLE deliveries ADD COLUMN organisation INTEGER;
UPDATE deliveries SET organisation = coalesce(
    (SELECT domains.organisation FROM alerts JOIN domains
         ON domains.host = substr(alerts.package, 1, instr(alerts.package, '/') - 1)
     WHERE alerts.id = deliveries.alert),
    (SELECT id FROM organisations WHERE is_operator));
-- What is over is kept to know what was told, not what was said.
UPDATE deliveries SET body = '' WHERE next_s IS NULL;

ALTER TABLE alerts ADD COLUMN in_file INTEGER NOT NULL DEFAULT 0;
