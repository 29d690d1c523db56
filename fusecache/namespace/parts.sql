-- Uploads in parts that were begun, or may have been, and neither completed nor aborted: what goes on after a restart,
-- and what must not stay in the bucket. A row is there, and synced, before the store is asked to begin one.
CREATE TABLE upload (
    upload     INTEGER PRIMARY KEY,  -- from the counter of seq: never reused
    ino        INTEGER NOT NULL,   -- whose bytes are sent; 0: none's, the store copies an object of its own
    wanted     INTEGER NOT NULL DEFAULT 1,  -- 0: nobody goes on with it, it has to be aborted
    store      INTEGER NOT NULL,
    key        TEXT NOT NULL,      -- the target, as in the task of the inode
    upload_id  TEXT,               -- the store's name for it; NULL: it was asked to begin one, its answer isn't known
    others     TEXT,               -- JSON: the uploads to this key that were there before, and so are not ours.
                                   --   NULL: the store does not tell
    signature  TEXT NOT NULL,      -- what the object is signed with: two that differ in a byte sign differently
    part_bytes INTEGER NOT NULL,   -- of each part that is sent, about
    unchanged  TEXT NOT NULL,      -- JSON: [offset, length] of what the store may copy ...
    base_key   TEXT,               -- ... from this version, NULL if there is nothing. If it is at the target, it is gone
    base_etag  TEXT                --   once the upload is completed: what reads it reads the object of this signature then
) STRICT;
CREATE INDEX upload_ino ON upload (ino);

CREATE TABLE part (
    upload INTEGER NOT NULL,
    number INTEGER NOT NULL,       -- from 1
    etag   TEXT NOT NULL,          -- what the store answered: the part need not be sent again
    PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER upload_ended AFTER DELETE ON upload
BEGIN
    DELETE FROM part WHERE upload = OLD.upload;
END;
-- Other bytes, no more task, another target, or a name that stays local: nobody goes on.
CREATE TRIGGER upload_outdated AFTER UPDATE OF generation ON inode WHEN NEW.generation <> OLD.generation
BEGIN
    UPDATE upload SET wanted = 0 WHERE ino = NEW.ino;
END;
CREATE TRIGGER upload_unwanted AFTER DELETE ON task WHEN OLD.kind = 1
BEGIN
    UPDATE upload SET wanted = 0 WHERE ino = OLD.ino;
END;
CREATE TRIGGER upload_astray AFTER UPDATE OF key, staged ON task WHEN NEW.kind = 1
BEGIN
    UPDATE upload SET wanted = 0 WHERE ino = NEW.ino AND (NEW.staged OR key IS NOT NEW.key);
END;
