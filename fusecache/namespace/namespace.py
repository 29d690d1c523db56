"""The namespace of one mount: the tables, and the three that change them."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from fusecache.config.rules import Rules
from fusecache.namespace.closes import Closes
from fusecache.namespace.database import Database
from fusecache.namespace.drain import Drain
from fusecache.namespace.lower import Defaults, Lower
from fusecache.namespace.pauses import Pauses
from fusecache.namespace.pins import Pins
from fusecache.namespace.policies import Policies
from fusecache.namespace.records import Inode
from fusecache.namespace.tables import Tables
from fusecache.namespace.tmpfiles import Tmpfiles
from fusecache.namespace.tree import Tree
from fusecache.types import ROOT_INO, InodeNo, Seq


class Namespace:
    """What must never lose an acknowledged operation. All methods are synchronous and run on the loop.

    `tree`, `closes` and `tmpfiles` are for applications, `lower` for what the store shows, `drain` for the persister;
    `tables` are there to be read by all.
    """

    def __init__(
        self,
        path: Path,
        *,
        url: str,
        boot_id: str,
        delay_ns: int,
        defaults: Defaults,
        is_staging: Callable[[list[bytes]], bool],
        now_ns: int,
        rules: Rules | None = None,
        ballast_bytes: int = 0,
        staging_said: str = "",
    ) -> None:
        """Open the namespace at `path`, or begin one over the store `url`. `delay_ns` counts where no rule does.

        `staging_said` is another one when `is_staging` answers otherwise.

        Raises:
            NamespaceError: it is damaged, too new, or belongs to another store.
        """
        self.database = Database(path, boot_id=boot_id, ballast_bytes=ballast_bytes)
        self.tables = Tables.of(self.database)
        self.url = url
        self.store = self.database.bind_store(url)
        self.policies = Policies(self.tables, rules, delay_ns=delay_ns, is_staging=is_staging)
        self.tree = Tree(self.tables, self.policies, delay_ns=delay_ns, is_staging=is_staging)
        self.closes = Closes(self.tables, self.policies)
        self.tmpfiles = Tmpfiles(self.tables)
        self.lower = Lower(self.tables, defaults)
        self.drain = Drain(self.tables, self.policies, delay_ns=delay_ns)
        self.pauses = Pauses(self.database)
        self.pins = Pins(self.database, self.tables)
        self.is_staging = is_staging
        self._staging_said = staging_said
        if self.tables.directories.find(ROOT_INO) is None:
            self._make_root(defaults, now_ns)

    def look_again_at_staging(self, *, now_ns: int) -> None:
        """If other names are staging than at the last mount, all that is parked as such is planned anew."""
        said = self.database.connection.execute("SELECT value FROM meta WHERE name = 'staging'").fetchone()
        if said == (self._staging_said,):
            return
        with self.database.transaction() as db:
            self.tables.tasks.unstage_all(now_ns)
            db.execute("INSERT OR REPLACE INTO meta VALUES ('staging', ?)", (self._staging_said,))

    def close(self) -> None:
        self.database.close()

    def _make_root(self, defaults: Defaults, now_ns: int) -> None:
        mode = stat.S_IFDIR | defaults.dir_mode
        times = (now_ns, now_ns, now_ns)
        root = Inode(
            InodeNo(0), mode, defaults.uid, defaults.gid, 1, 0, *times, 0, 1, None, None, None, None, None, None
        )
        with self.database.transaction():
            inode = self.tables.inodes.insert(root)
            assert inode.ino == ROOT_INO
            self.tables.directories.insert(ROOT_INO, self.store, "", epoch=Seq(0))
