-- What was made with a token ends with it.

ALTER TABLE tokens ADD COLUMN made_with INTEGER REFERENCES tokens ON DELETE CASCADE;
ALTER TABLE invitations ADD COLUMN made_with INTEGER REFERENCES tokens ON DELETE CASCADE;
