-- What the kernel asked for, by its own numbers, and what was carried out: in the transaction that did it, and only if
-- doing it again would be another thing. A daemon that dies before its answer is followed by one that is asked again.
-- Numbers are those of one connection to the kernel: the next one begins with an empty table.
CREATE TABLE request (
    request INTEGER PRIMARY KEY    -- `unique` of struct fuse_in_header. Kept until a few thousand have been answered
) STRICT;
