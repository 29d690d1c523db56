"""The tables of a namespace, handed around together."""

from __future__ import annotations

from dataclasses import dataclass

from fusecache.namespace.backlog import Backlog
from fusecache.namespace.database import Database
from fusecache.namespace.dentries import Dentries
from fusecache.namespace.directories import Directories
from fusecache.namespace.flows import Flows
from fusecache.namespace.inodes import Inodes
from fusecache.namespace.requests import Requests
from fusecache.namespace.seals import Seals
from fusecache.namespace.spared import Spared
from fusecache.namespace.tasks import Tasks
from fusecache.namespace.trees import Trees
from fusecache.namespace.uploads import Uploads
from fusecache.namespace.written import Written


@dataclass(frozen=True, slots=True)
class Tables:
    """The repositories of one database."""

    database: Database
    inodes: Inodes
    dentries: Dentries
    directories: Directories
    tasks: Tasks
    seals: Seals
    backlog: Backlog
    uploads: Uploads
    flows: Flows
    spared: Spared
    trees: Trees
    requests: Requests
    written: Written

    @classmethod
    def of(cls, database: Database) -> Tables:
        return cls(
            database,
            Inodes(database),
            Dentries(database),
            Directories(database),
            Tasks(database),
            Seals(database),
            Backlog(database),
            Uploads(database),
            Flows(database),
            Spared(database),
            Trees(database),
            Requests(database),
            Written(database),
        )
