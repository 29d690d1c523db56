-- What of a dirty file outlives a power loss, and what has to outlive one. Nothing here is needed after a mere crash.

-- One row a file with an upload: whether its local bytes can be believed after the machine went down. A file
-- without a row, or whose row says nothing of its present generation, was written and never made safe.
CREATE TABLE seal (
    ino              INTEGER PRIMARY KEY,
    generation       INTEGER,      -- of the bytes that `digest` is of
    digest           BLOB,         -- xxh3_64 of each block, as cache/sums.py packs them; zeros: not known
    synced_generation INTEGER,     -- every byte of this generation is on the disk
    synced_size      INTEGER,      -- so much of the file was, at the latest sync; NULL: never synced
    synced_blocks    BLOB,         -- ... of a partly local one: these blocks, as `inode.blocks`
    synced_base_size INTEGER,      -- ... and so much of its base counted
    synced_token     INTEGER,      -- names that sync: a file that is emptied later is kept beside, under this number
    good_size        INTEGER,      -- bytes of the version in the store that this one is made from,
    good_etag        TEXT          --   and its etag, as long as the name's object is still that one
) STRICT;

-- Content files to delete, once the change that made them superfluous is itself safe from a power loss.
CREATE TABLE doomed (
    ino   INTEGER NOT NULL,
    token INTEGER NOT NULL,        -- 0: the file itself; else what was kept of it when it was emptied
    PRIMARY KEY (ino, token)
) STRICT, WITHOUT ROWID;

-- Files whose bytes did not outlive a power loss: what is left of them is in the cache directory, below `aside/`.
CREATE TABLE aside (
    ino    INTEGER PRIMARY KEY,    -- and the name of the file there, in hexadecimal
    path   BLOB NOT NULL,          -- where it was shown, relative to the mount
    at_ns  INTEGER NOT NULL        -- wall time
) STRICT;

CREATE TRIGGER upload_begun AFTER UPDATE OF generation ON inode
    WHEN OLD.base_etag IS NOT NULL AND OLD.blocks IS NULL AND NEW.generation <> OLD.generation
BEGIN
    INSERT OR IGNORE INTO seal (ino, good_size, good_etag) VALUES (OLD.ino, OLD.size, OLD.base_etag);
END;
CREATE TRIGGER upload_gone AFTER DELETE ON task WHEN OLD.kind = 1
BEGIN
    INSERT OR IGNORE INTO doomed SELECT ino, synced_token FROM seal WHERE ino = OLD.ino AND synced_token IS NOT NULL;
    DELETE FROM seal WHERE ino = OLD.ino;
END;
CREATE TRIGGER synced_again AFTER UPDATE OF synced_token ON seal WHEN OLD.synced_token IS NOT NULL
BEGIN
    INSERT OR IGNORE INTO doomed VALUES (OLD.ino, OLD.synced_token);
END;
CREATE TRIGGER inode_gone AFTER DELETE ON inode WHEN OLD.mode & 61440 = 32768
BEGIN
    INSERT OR IGNORE INTO doomed VALUES (OLD.ino, 0);
END;
