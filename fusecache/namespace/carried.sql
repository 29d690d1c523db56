-- Bytes of small files, as of their latest fsync: with them in the journal, one sync makes rows and bytes safe at once.
-- One row a file at most, beside its `seal`, which says the size and has no `synced_token`: there is no file to be kept.
CREATE TABLE carried (
    ino   INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL            -- all of them
) STRICT;

CREATE TRIGGER seal_gone AFTER DELETE ON seal
BEGIN
    DELETE FROM carried WHERE ino = OLD.ino;
END;
