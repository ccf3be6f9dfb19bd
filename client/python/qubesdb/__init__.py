# SPDX-License-Identifier: LGPL-2.1-or-later
"""
QubesDB: the small tree of configuration entries of each VM.

    with qubesdb.QubesDB() as db:               # of the VM that this runs in
        db.read("/name")                        # b'work', None if there is none
        db.write("/qubes-service/cups", "1")
        for path in db.watch_events("/qubes-firewall/"):
            ...                                 # in asyncio: async for

All failures are qubesdb.Error; qubesdb.DisconnectedError, one of them, says that the daemon is
gone.
"""
from __future__ import annotations

from . import _qubesdb
from ._qubesdb import DisconnectedError, Error
from .events import WatchEvents

__all__ = ["DisconnectedError", "Error", "QubesDB", "WatchEvents"]


class QubesDB(_qubesdb.QubesDB):
    __doc__ = _qubesdb.QubesDB.__doc__

    def watch_events(self, *paths: str | bytes, reconnect: bool = True) -> WatchEvents:
        """
        Watch paths and return an iterator over their events, for `for` and `async for`.

        It has a connection of its own, to the same daemon: neither its watches nor its events
        have anything to do with watch() and read_watch() of this object, and it lasts until its
        own close(). When this returns, the watches are registered. See WatchEvents.
        """
        self.watches_pending()  # a closed object raises
        return WatchEvents(self.vmname, paths, reconnect)
