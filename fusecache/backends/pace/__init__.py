"""The pace of a store: how fast it is asked, learned from what it answers."""

from fusecache.backends.pace.knobs import Aimd, Limits
from fusecache.backends.pace.paced import Paced
from fusecache.backends.pace.pacer import Pace, Pacer, Priority, Refused, RequestClass, unheard

__all__ = ["Aimd", "Limits", "Pace", "Paced", "Pacer", "Priority", "Refused", "RequestClass", "unheard"]
