# SPDX-License-Identifier: BSD-3-Clause
"""Flows from Python: libflowfs over ctypes, the calls of flowfs(3) with exceptions for errno.

    import flowfs
    with flowfs.dial("echo") as flow:
        flow.send(b"hello")
        print(flow.recv())

Timeouts are seconds: None waits for ever, 0 never waits (BlockingIOError), otherwise TimeoutError. The
interpreter is free for other threads while a call waits; unlike the library, a signal handler of Python
runs only when the call has ended. $FLOWFS_LIBRARY names another library file.
"""

import ctypes
import errno
import os
from typing import NamedTuple

FILE_MODE, SPIN_NEVER, SPIN_ALWAYS = 1, 2, 4
SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2
STATES = ("none", "alloc-pending", "accept-pending", "allocated", "dealloc-pending", "deallocated")

_FIRST_BUFFER = 64 * 1024
_LONGEST_MESSAGE = 1 << 30


class Peer(NamedTuple):
    flow: int
    uid: int
    gid: int
    pid: int


class _Peer(ctypes.Structure):
    _fields_ = [("flow", ctypes.c_uint64), ("uid", ctypes.c_uint32), ("gid", ctypes.c_uint32),
                ("pid", ctypes.c_int32)]


def _load():
    library = ctypes.CDLL(os.environ.get("FLOWFS_LIBRARY", "libflowfs.so.0"), use_errno=True)
    handle, timeout = ctypes.c_void_p, ctypes.c_int64
    opening = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint, timeout]
    for name, result, arguments in (
            ("dial", handle, opening), ("accept", handle, opening), ("close", None, [handle]),
            ("send", ctypes.c_int, [handle, ctypes.c_void_p, ctypes.c_size_t, timeout]),
            ("recv", ctypes.c_ssize_t, [handle, ctypes.c_void_p, ctypes.c_size_t, timeout]),
            ("shutdown", ctypes.c_int, [handle, ctypes.c_int]), ("fd", ctypes.c_int, [handle]),
            ("id", ctypes.c_uint64, [handle]), ("is_mapped", ctypes.c_int, [handle]),
            ("state", ctypes.c_int, [handle]),
            ("get_peer", ctypes.c_int, [handle, ctypes.POINTER(_Peer)])):
        function = getattr(library, f"flowfs_{name}")
        function.restype, function.argtypes = result, arguments
    return library


_library = _load()


def _failed():
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _microseconds(timeout):
    if timeout is None:
        return -1
    if timeout < 0:
        raise ValueError("a timeout is not negative")
    return min(0 if timeout == 0 else max(1, round(timeout * 1e6)), 2**62)


class Flow:
    """One end of a flow. Made by dial() and accept()."""

    def __init__(self, handle):
        self._handle = handle
        self._buffer = None

    def _open(self):
        if self._handle is None:
            raise ValueError("the flow is closed")
        return self._handle

    def send(self, message, timeout=None):
        """One message: bytes, bytearray, or anything contiguous with a buffer."""
        view = memoryview(message).cast("B")
        if view.readonly:
            data, size = view.tobytes(), view.nbytes
        else:
            data, size = (ctypes.c_char * view.nbytes).from_buffer(view), view.nbytes
        if _library.flowfs_send(self._open(), data, size, _microseconds(timeout)) != 0:
            raise _failed()

    def recv_into(self, buffer, timeout=None):
        """Its length, 0 at the end of the flow. EMSGSIZE: the message is longer, and is kept."""
        view = memoryview(buffer).cast("B")
        array = (ctypes.c_char * view.nbytes).from_buffer(view)
        got = _library.flowfs_recv(self._open(), array, view.nbytes, _microseconds(timeout))
        if got < 0:
            raise _failed()
        return got

    def recv(self, timeout=None):
        """The next message, b"" at the end of the flow."""
        # A buffer of the call's own: two threads that take turns must not share one.
        buffer, self._buffer = self._buffer or bytearray(_FIRST_BUFFER), None
        while True:
            try:
                got = self.recv_into(buffer, timeout)
                break
            except OSError as error:
                if error.errno != errno.EMSGSIZE or len(buffer) >= _LONGEST_MESSAGE:
                    raise
                buffer = bytearray(4 * len(buffer))
        message = bytes(memoryview(buffer)[:got])
        self._buffer = buffer
        return message

    def shutdown(self, how):
        if _library.flowfs_shutdown(self._open(), how) != 0:
            raise _failed()

    def fileno(self):
        """For poll and epoll."""
        descriptor = _library.flowfs_fd(self._open())
        if descriptor < 0:
            raise _failed()
        return descriptor

    @property
    def id(self):
        return _library.flowfs_id(self._open())

    @property
    def is_mapped(self):
        return bool(_library.flowfs_is_mapped(self._open()))

    @property
    def state(self):
        number = _library.flowfs_state(self._open())
        if number < 0:
            raise _failed()
        return STATES[number]

    @property
    def peer(self):
        found = _Peer()
        if _library.flowfs_get_peer(self._open(), ctypes.byref(found)) != 0:
            raise _failed()
        return Peer(found.flow, found.uid, found.gid, found.pid)

    def close(self):
        """For when no other thread is in a call."""
        handle, self._handle = self._handle, None
        if handle is not None:
            _library.flowfs_close(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()


def _opened(function, name, mount, flags, timeout):
    handle = function(None if mount is None else os.fsencode(mount), os.fsencode(name), flags,
                      _microseconds(timeout))
    if handle is None:
        raise _failed()
    return Flow(handle)


def dial(name, mount=None, flags=0, timeout=None):
    """The client end of a new flow to names/NAME."""
    return _opened(_library.flowfs_dial, name, mount, flags, timeout)


def accept(name, mount=None, flags=0, timeout=None):
    """The server end of the next flow to names/NAME."""
    return _opened(_library.flowfs_accept, name, mount, flags, timeout)
