-- The upper's tree: what must not be lost. One transaction per acknowledged operation.
-- Times are nanoseconds since the epoch. Keys are text, relative to their store. `seq` is
-- monotonic over the life of this file: the order in which changes were acknowledged.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,     -- schema_version; seq_reserved (no seq above it was ever given out); boot_id; id;
                                --   paused: keys below which nothing is changed, pinned: nothing given up, as JSON lists;
                                --   bytes_spared: as spared.py counts them; staging: which names were, at the last mount;
                                --   paces: when that was, and by store, class and prefix the requests a second that it
                                --   took, as JSON
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE store (
    store INTEGER PRIMARY KEY,
    url   TEXT NOT NULL UNIQUE  -- as mounted: a namespace is never opened over another store
) STRICT;

-- One row per inode that is dirty or that the kernel has looked up. The number is the FUSE nodeid.
-- A version that replaced another in the store behind our back is a new inode.
CREATE TABLE inode (
    ino        INTEGER PRIMARY KEY,  -- from the counter of seq: never reused
    mode       INTEGER NOT NULL,   -- st_mode, type included
    uid        INTEGER NOT NULL,
    gid        INTEGER NOT NULL,
    nlink      INTEGER NOT NULL,   -- 0: unlinked, kept until its last handle closes. A directory made here:
                                   --   2 and one for each of its subdirectories, which counts while it is opaque
    size       INTEGER NOT NULL,
    atime_ns   INTEGER NOT NULL,
    mtime_ns   INTEGER NOT NULL,
    ctime_ns   INTEGER NOT NULL,
    generation INTEGER NOT NULL,   -- grows with each change of the bytes
    headed     INTEGER NOT NULL,   -- 0: attributes are a listing's guess; a HEAD of this version is still due
    symlink    BLOB,               -- target, for a symbolic link
    base_store INTEGER,            -- the version that blocks come from which are not here ...
    base_key   TEXT,
    base_etag  TEXT,               -- ... NULL: every byte is local
    base_size  INTEGER,            -- how many of its bytes still count: a truncate shrinks it
    blocks     BLOB,               -- dirty, and made from its base: bitmap of the blocks here, LSB first; else NULL
    rdev       INTEGER NOT NULL DEFAULT 0,  -- of a device
    xattrs     BLOB,               -- the `user.*` attributes, as namespace/xattrs.py packs them: read with the row,
                                   --   gone with it. NULL: it never had any; empty: its object may still tell of some
    changed    BLOB                -- beside `blocks`: the blocks that were written, committed before they are; what else
                                   --   counts of the base is as in the store. NULL: maybe all that are here
) STRICT;

-- A name in a directory. The lower identity (store, key, etag) belongs to the name.
CREATE TABLE dentry (
    parent     INTEGER NOT NULL,
    name       BLOB NOT NULL,
    ino        INTEGER,            -- NULL: a whiteout, it hides what the lower shows under this name
    store      INTEGER,            -- where this name's object is now; NULL: the store has none yet.
    key        TEXT,               --   Not always where it belongs: see task `copy`
    etag       TEXT,
    generation INTEGER,            -- of the inode's bytes that the object holds
    epoch      INTEGER NOT NULL,   -- seq of the last change of this identity through us: what a listing
                                   --   that began earlier says of this name is ignored
    settled    INTEGER NOT NULL DEFAULT 0,  -- whiteout: nothing is left to hide, but older listings may be about
    PRIMARY KEY (parent, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX dentry_ino ON dentry (ino) WHERE ino IS NOT NULL;
CREATE INDEX dentry_key ON dentry (store, key) WHERE key IS NOT NULL;

CREATE TABLE directory (
    ino        INTEGER PRIMARY KEY,
    store      INTEGER NOT NULL,
    prefix     TEXT,               -- where its lower is read; NULL: opaque, all there is are the rows.
                                   --   Another than its own path: a redirect, until the tree is relocated
    used       INTEGER NOT NULL,   -- 1: the store may have something below its own path that is ours
    marker     INTEGER NOT NULL,   -- 1: the store has the key `dir/`
    vouched_ns INTEGER NOT NULL,   -- wall time at which the rows were all there was (it stopped being opaque)
    epoch      INTEGER NOT NULL    -- seq: a listing of `prefix` that began earlier does not count, as names
                                   --   that no row knows came or went below it through us
) STRICT;
CREATE INDEX directory_prefix ON directory (store, prefix) WHERE prefix IS NOT NULL;

-- What the store still lacks. In flight lives in memory only: after a crash it is simply due.
CREATE TABLE task (
    task       INTEGER PRIMARY KEY,  -- from the counter of seq: never reused, what is in flight may outlive its row
    kind       INTEGER NOT NULL,   -- records.TaskKind
    ino        INTEGER,            -- all but delete: whose object, or whose tree
    store      INTEGER NOT NULL,
    key        TEXT,               -- delete: what goes. Else the target, recorded before the first request to it
    source     TEXT,               -- copy: key, relocate: prefix, that is read until this is done. Relocate with
                                   --   source = key: all is copied and read there, strays are looked for
    etag       TEXT,               -- delete: the version that is meant
    unsure     INTEGER NOT NULL DEFAULT 0,  -- delete: 1: or one that a request of ours, whose answer isn't known, made
    attributes INTEGER NOT NULL DEFAULT 0,  -- copy: 1: they changed, an object at home is copied onto itself
    position   TEXT,               -- relocate: the last source key that was copied; above all of them: only commit markers
                                   --   are left, which come last
    generation INTEGER NOT NULL,   -- of the task: a change while it is in flight makes it stay
    seq        INTEGER NOT NULL,   -- of the latest acknowledgement it stands for
    since_seq  INTEGER NOT NULL,   -- of the earliest one that is not in the store yet
    due_ns     INTEGER,            -- NULL: parked (open for writing, staging, or a delete with a reader).
                                   --   0: a flush waits for it, so it goes before all others. 2^62: paused
    since_ns   INTEGER NOT NULL,   -- wall time of since_seq: bounds the delay
    staged     INTEGER NOT NULL DEFAULT 0,  -- 1: below a staging name, local until renamed out
    stuck      INTEGER NOT NULL DEFAULT 0,  -- records.Stuck; tried again slowly
    attempts   INTEGER NOT NULL DEFAULT 0,
    error      TEXT,
    shield_parent INTEGER,         -- the whiteout, or the live name, that hides `key` or `source` until this is done
    shield_name   BLOB,
    target_parent INTEGER,         -- the name that `key` belonged to when it was recorded
    target_name   BLOB,
    flow       INTEGER             -- the directory it was wanted in: directories take turns (persist/queue.py)
) STRICT;
CREATE UNIQUE INDEX task_ino ON task (ino, kind) WHERE ino IS NOT NULL;
-- Two queues: deletes go a thousand to a request, and must not be searched for among the others.
CREATE INDEX task_due ON task (due_ns) WHERE due_ns IS NOT NULL AND kind <> 5;
CREATE INDEX task_flow ON task (flow, due_ns) WHERE due_ns IS NOT NULL AND kind <> 5;
CREATE INDEX task_delete_due ON task (due_ns) WHERE due_ns IS NOT NULL AND kind = 5;
CREATE INDEX task_since ON task (staged, since_seq);
CREATE INDEX task_stuck ON task (task) WHERE stuck > 0;
CREATE INDEX task_key ON task (store, key) WHERE key IS NOT NULL;
CREATE INDEX task_source ON task (store, source) WHERE source IS NOT NULL;
CREATE INDEX task_shield ON task (shield_parent, shield_name) WHERE shield_parent IS NOT NULL;
CREATE INDEX task_target ON task (target_parent, target_name) WHERE kind = 3;  -- its copies appear there
