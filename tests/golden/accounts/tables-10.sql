-- Badges that are off stay so under a name that their package had before. That is no package more.
ALTER TABLE badges_off ADD COLUMN is_former INTEGER NOT NULL DEFAULT 0;
