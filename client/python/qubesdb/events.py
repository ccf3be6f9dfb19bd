# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Watch events as an iterator.

An iterator has a connection of its own. On a shared one, each command would take events off the
descriptor into the library, where no event loop sees them, and each reader the others' events.
"""
from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ._qubesdb import DisconnectedError, Error, QubesDB

if TYPE_CHECKING:
    import asyncio

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between attempts to connect


def _call(loop: asyncio.AbstractEventLoop, *callback: Any) -> None:
    with suppress(RuntimeError):  # the loop may have been closed
        loop.call_soon_threadsafe(*callback)


def _settle(future: asyncio.Future[Any], result: Any = None) -> None:
    if not future.done():
        future.set_result(result)


class WatchEvents:
    """
    Gives the path of each event: what was written or removed under a watch.

    Made by QubesDB.watch_events(). `for` waits in the thread, `async for` in its event loop;
    either may be left and resumed, and a cancelled wait loses no event. When the daemon goes,
    the iterator waits until it is back, and gives each watched path once, since something may
    have changed meanwhile; without `reconnect` it raises DisconnectedError. Signal handlers run
    while it waits, and end it only if they raise something.

    close() ends the iteration, from any thread or task. It is a context manager too. Only one
    thread or task at a time may wait for the next event.
    """

    def __init__(self, vmname: str | bytes | None, paths: tuple[str | bytes, ...],
                 reconnect: bool = True) -> None:
        if not paths:
            raise TypeError("nothing to watch")
        self._vmname = vmname
        self._paths = paths
        self._reconnect = reconnect
        self._look_again: collections.deque[str] = collections.deque()
        self._in_use = threading.Lock()
        self._closed = False
        self._wake: Callable[[], object] | None = None  # ends a wait that is not the library's
        self._db = self._connect()

    def __enter__(self) -> WatchEvents:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration and the connection; a second time does nothing."""
        self._closed = True
        wake = self._wake
        if wake is not None:
            wake()
        else:
            self._db.__exit__()

    def __iter__(self) -> WatchEvents:
        return self

    def __next__(self) -> str:
        with self._one_user():
            while not self._closed:
                try:
                    return self._take()
                except InterruptedError:
                    pass
                except DisconnectedError:
                    if not self._reconnect:
                        raise
                    self._come_back()
                except Error:
                    if not self._closed:
                        raise
        raise StopIteration

    def __aiter__(self) -> WatchEvents:
        return self

    async def __anext__(self) -> str:
        with self._one_user():
            while not self._closed:
                try:
                    if self._is_at_hand() or await self._is_readable():
                        return self._take()
                except DisconnectedError:
                    if not self._reconnect:
                        raise
                    await self._come_back_meanwhile()
                except Error:
                    if not self._closed:
                        raise
        raise StopAsyncIteration

    @contextmanager
    def _one_user(self) -> Iterator[None]:
        if not self._in_use.acquire(blocking=False):
            raise RuntimeError("another thread or task waits for the next event")
        try:
            yield
        finally:
            if self._closed:
                self._db.__exit__()
            self._in_use.release()

    def _is_at_hand(self) -> bool:
        return bool(self._look_again) or self._db.watches_pending() > 0

    def _take(self) -> str:
        return self._look_again.popleft() if self._look_again else self._db.read_watch()

    async def _is_readable(self) -> bool:
        """Waits; False if close() was called meanwhile."""
        import asyncio  # pylint: disable=import-outside-toplevel

        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        self._wake = lambda: _call(loop, _settle, ready)
        fd = -1
        try:
            if not self._closed:
                fd = self._db.watch_fd()
                loop.add_reader(fd, _settle, ready)
                await ready
        finally:
            if fd >= 0:
                loop.remove_reader(fd)
            self._wake = None
        return not self._closed

    def _connect(self) -> QubesDB:
        db = QubesDB(self._vmname)
        for path in self._paths:
            db.watch(path)
        db.watch_fd()  # so that it tells of a loss
        return db

    def _connect_again(self, stop: threading.Event) -> QubesDB | None:
        pause = FIRST_PAUSE
        while not stop.is_set():
            with suppress(Error):
                return self._connect()
            stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return None

    def _resume(self, db: QubesDB | None) -> None:
        if db is not None:
            self._db = db
            self._look_again.extend(
                path if isinstance(path, str) else path.decode() for path in self._paths)

    def _come_back(self) -> None:
        stop = threading.Event()
        self._wake = stop.set
        try:
            if not self._closed:
                self._resume(self._connect_again(stop))
        finally:
            self._wake = None

    async def _come_back_meanwhile(self) -> None:
        """
        In a thread, because a daemon that starts answers only when it has its entries. A thread
        that nobody waits for any longer drops the connection that it made.
        """
        import asyncio  # pylint: disable=import-outside-toplevel

        loop = asyncio.get_running_loop()
        done: asyncio.Future[QubesDB | None] = loop.create_future()
        stop = threading.Event()
        self._wake = lambda: _call(loop, _settle, done)
        try:
            if not self._closed:
                threading.Thread(daemon=True, target=lambda: _call(
                    loop, _settle, done, self._connect_again(stop))).start()
                self._resume(await done)
        finally:
            stop.set()
            self._wake = None
