-- What a database of the seventh version has beside what it had at first (`tests/older.rs`): `{receiver}` is where a
-- webhook is heard.

INSERT INTO packages VALUES
    (1, 'other.example', 'x', '{"domain":"other.example","name":"x","backends":["ghcr.io/other/x"],"failover_on_404":false,"delivery":"redirect","credentials":"none","description":""}');
INSERT INTO badges_off VALUES ('other.example/x');
INSERT INTO public_packages VALUES ('registry.acme.com/acme/rocket');
INSERT INTO claims VALUES ('claimed.example', 2, 'pullgate-domain=00', 2500);

-- The same secret each: `whsec_` and 24 bytes. Of the first webhook one message was heard and one waits; the second
-- one's only one was given up.
INSERT INTO alerts VALUES
    (1, 'other.example/x', 'http://{receiver}/x', 'whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH', 'backend weekly', 2600),
    (2, 'registry.acme.com/acme/rocket', 'http://{receiver}/rocket', 'whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH', 'unusual', 2601);
INSERT INTO deliveries VALUES
    (1, 1, 'week 2026-01-05', 'pulls.week', '{"type":"pulls.week","package":"other.example/x"}', 2700, 0, NULL, 'answered 204'),
    (2, 1, 'week 2026-01-12', 'pulls.week', '{"type":"pulls.week","package":"other.example/x","text":"it waits"}', unixepoch() - 60, 1, unixepoch() - 30, 'answered 500'),
    (3, 2, 'day 2026-01-12', 'pulls.surge', '{"type":"pulls.surge","package":"registry.acme.com/acme/rocket"}', 2800, 10, NULL, 'answered 500');

PRAGMA user_version = 7;
