# SPDX-License-Identifier: BSD-3-Clause
"""Flows and buses from Python: libflowfs over ctypes, the calls of libflowfs(3) with exceptions for errno.

    import flowfs
    with flowfs.dial("echo") as flow:
        flow.send(b"hello")
        print(flow.recv())
    with flowfs.join("chat") as member:
        member.send(b"good morning")

Timeouts are seconds: None waits for ever, 0 never waits (BlockingIOError), otherwise TimeoutError. The
interpreter is free for other threads while a call waits; unlike the library, a signal handler of Python
runs only when the call has ended. $FLOWFS_LIBRARY names another library file.
"""

import ctypes
import errno
import math
import os
import weakref
from typing import NamedTuple

FILE_MODE, SPIN_NEVER, SPIN_ALWAYS, NO_POOL = 1, 2, 4, 8
RECEIVE_ONLY, SEND_ONLY = 16, 32
SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2
STATES = ("none", "alloc-pending", "accept-pending", "allocated", "dealloc-pending", "deallocated")

POLLIN, POLLOUT = 1, 4

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


class _Piece(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]


class _Place(ctypes.Structure):
    """struct flowfs_space and struct flowfs_view."""
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("handle", ctypes.c_void_p),
                ("id", ctypes.c_uint64)]


class _Event(ctypes.Structure):
    _fields_ = [("handle", ctypes.c_void_p), ("data", ctypes.c_void_p), ("events", ctypes.c_uint32)]


def _load():
    library = ctypes.CDLL(os.environ.get("FLOWFS_LIBRARY", "libflowfs.so.0"), use_errno=True)
    handle, timeout = ctypes.c_void_p, ctypes.c_int64
    opening = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint, timeout]
    pieces = [handle, ctypes.POINTER(_Piece), ctypes.c_int, timeout]
    place = ctypes.POINTER(_Place)
    for name, result, arguments in (
            ("dial", handle, opening), ("accept", handle, opening),
            ("join", handle, opening[:-1]), ("close", None, [handle]),
            ("send", ctypes.c_int, [handle, ctypes.c_void_p, ctypes.c_size_t, timeout]),
            ("recv", ctypes.c_ssize_t, [handle, ctypes.c_void_p, ctypes.c_size_t, timeout]),
            ("sendv", ctypes.c_int, pieces), ("recvv", ctypes.c_ssize_t, pieces),
            ("send_many", ctypes.c_ssize_t, pieces), ("recv_many", ctypes.c_ssize_t, pieces),
            ("loan", ctypes.c_int, [handle, ctypes.c_size_t, timeout, place]),
            ("commit", ctypes.c_int, [place, ctypes.c_size_t, timeout]),
            ("loan_cancel", None, [place]),
            ("borrow", ctypes.c_ssize_t, [handle, timeout, place]),
            ("release", ctypes.c_int, [place]), ("skip", ctypes.c_ssize_t, [handle]),
            ("forward", ctypes.c_int, [handle, place, timeout]),
            ("block_least", None, [handle, ctypes.c_size_t]),
            ("shared_pool", ctypes.c_uint64, [handle]),
            ("set_new", handle, [ctypes.c_uint]), ("set_free", None, [handle]),
            ("set_add", ctypes.c_int, [handle, handle, ctypes.c_uint, ctypes.c_void_p]),
            ("set_remove", ctypes.c_int, [handle, handle]),
            ("set_wait", ctypes.c_int,
             [handle, ctypes.POINTER(_Event), ctypes.c_int, timeout]),
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
    if timeout is None or timeout == math.inf:
        return -1
    if timeout < 0:
        raise ValueError("a timeout is not negative")
    return min(0 if timeout == 0 else max(1, round(timeout * 1e6)), 2**62)


def _exported(buffer):
    """A ctypes object over the buffer's memory, and its size; what is read-only is copied."""
    view = memoryview(buffer).cast("B")
    if view.readonly:
        return ctypes.create_string_buffer(view.tobytes(), view.nbytes or 1), view.nbytes
    return (ctypes.c_char * view.nbytes).from_buffer(view), view.nbytes


def _pieces(buffers):
    """An array of struct iovec, and what keeps its memory."""
    kept = [_exported(buffer) for buffer in buffers]
    array = (_Piece * len(kept))(*[(ctypes.addressof(data), size) for data, size in kept])
    return array, kept


_PYBUF_READ, _PYBUF_WRITE = 0x100, 0x200
_memoryview_at = ctypes.pythonapi.PyMemoryView_FromMemory
_memoryview_at.restype = ctypes.py_object
_memoryview_at.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]


class _Lying:
    """A message where it lies: `data` is a memoryview until it is over, or until the endpoint is closed.
    Slices of it must not be used longer than that. BufferError: an object over it is still in use."""

    def __init__(self, endpoint, place, access):
        self._endpoint = endpoint  # which lives as long
        self._place = place
        self.data = _memoryview_at(place.data, place.bytes, access)
        endpoint.keep(self)

    def __len__(self):
        return self.data.nbytes

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()

    def __del__(self):
        self._end()

    def let_go(self, _endpoint):
        """The endpoint is about to be closed, and takes it back by itself."""
        self._over()

    def _end(self):
        self.data.release()
        # A closed endpoint has taken everything back, also where the two go in one collection.
        if self._place.handle and self._endpoint.is_open:
            self._give_back(ctypes.byref(self._place))
        self._over()

    def _over(self):
        self.data.release()
        self._place.handle = None


class Loan(_Lying):
    """Space for one message. Cancelled when the `with` block ends without a commit()."""

    def _give_back(self, place):
        _library.flowfs_loan_cancel(place)

    def commit(self, size=None, timeout=None):
        """Sends the first `size` bytes, else all of them. After a timeout it is still there."""
        if size is None:
            size = len(self)
        self._endpoint.handle()
        sent = _library.flowfs_commit(ctypes.byref(self._place), size, _microseconds(timeout))
        if not self._place.handle:
            error = _failed() if sent else None
            self._over()
            if error:
                raise error
        elif sent:
            raise _failed()

    def cancel(self):
        self._end()


class Borrowed(_Lying):
    """A message that is read where it lies, until release() or the end of the `with` block."""

    def _give_back(self, place):
        _library.flowfs_release(place)

    def release(self):
        """ESTALE: a lossy bus may have written over it meanwhile; what was read is not to be believed."""
        self.data.release()
        gone = self._place.handle and self._endpoint.is_open and (
            _library.flowfs_release(ctypes.byref(self._place)) != 0)
        error = _failed() if gone else None
        self._over()
        if error:
            raise error

    def forward(self, endpoint, timeout=None):
        """Sends it on through `endpoint`, without a copy where both share a pool, and releases it."""
        self._endpoint.handle()
        if _library.flowfs_forward(endpoint.handle(), ctypes.byref(self._place),
                                   _microseconds(timeout)) != 0:
            raise _failed()
        self._over()

    def __exit__(self, kind, *_):
        if kind is None:
            self.release()
        else:
            self._end()


class Endpoint:
    """What an end of a flow and a member of a bus do alike."""

    def __init__(self, handle):
        self._handle = handle
        self._buffer = None
        self._kept = weakref.WeakSet()

    @property
    def is_open(self):
        return self._handle is not None

    def handle(self):
        """The flowfs_handle, for other code that calls the library."""
        if self._handle is None:
            raise ValueError("the endpoint is closed")
        return self._handle

    def send(self, message, timeout=None):
        """One message: bytes, bytearray, or anything contiguous with a buffer."""
        view = memoryview(message).cast("B")
        if view.readonly:
            data, size = view.tobytes(), view.nbytes
        else:
            data, size = (ctypes.c_char * view.nbytes).from_buffer(view), view.nbytes
        if _library.flowfs_send(self.handle(), data, size, _microseconds(timeout)) != 0:
            raise _failed()

    def recv_into(self, buffer, timeout=None):
        """Its length, 0 at the end of the flow. EMSGSIZE: the message is longer, and is kept."""
        view = memoryview(buffer).cast("B")
        array = (ctypes.c_char * view.nbytes).from_buffer(view)
        got = _library.flowfs_recv(self.handle(), array, view.nbytes, _microseconds(timeout))
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

    def sendv(self, pieces, timeout=None):
        """One message in pieces."""
        array, _kept = _pieces(pieces)
        if _library.flowfs_sendv(self.handle(), array, len(array), _microseconds(timeout)) != 0:
            raise _failed()

    def recvv_into(self, buffers, timeout=None):
        """As recv_into(), into several buffers one after the other."""
        array, _kept = _pieces(buffers)
        got = _library.flowfs_recvv(self.handle(), array, len(array), _microseconds(timeout))
        if got < 0:
            raise _failed()
        return got

    def send_many(self, messages, timeout=None):
        """How many of them were sent; it waits only before the first."""
        array, _kept = _pieces(messages)
        sent = _library.flowfs_send_many(self.handle(), array, len(array), _microseconds(timeout))
        if sent < 0:
            raise _failed()
        return sent

    def recv_many(self, most, longest=_FIRST_BUFFER, timeout=None):
        """A list of messages of up to `longest` bytes, [] at the end; it waits only for the first."""
        buffers = [bytearray(longest) for _ in range(most)]
        array, _kept = _pieces(buffers)
        got = _library.flowfs_recv_many(self.handle(), array, len(array), _microseconds(timeout))
        if got < 0:
            raise _failed()
        return [bytes(memoryview(buffers[number])[:array[number].bytes]) for number in range(got)]

    def loan(self, size, timeout=None):
        """Space for a message of up to `size` bytes: a Loan."""
        place = _Place()
        if _library.flowfs_loan(self.handle(), size, _microseconds(timeout),
                                ctypes.byref(place)) != 0:
            raise _failed()
        return Loan(self, place, _PYBUF_WRITE)

    def borrow(self, timeout=None):
        """The next message where it lies: a Borrowed, None at the end of the flow."""
        place = _Place()
        got = _library.flowfs_borrow(self.handle(), _microseconds(timeout), ctypes.byref(place))
        if got < 0:
            raise _failed()
        return Borrowed(self, place, _PYBUF_READ) if got else None

    def fileno(self):
        """For poll and epoll, once a call with timeout 0 has raised BlockingIOError."""
        descriptor = _library.flowfs_fd(self.handle())
        if descriptor < 0:
            raise _failed()
        return descriptor

    @property
    def id(self):
        """Its number in the tree: under flows/, or in port/ of the bus."""
        return _library.flowfs_id(self.handle())

    @property
    def is_mapped(self):
        """Whether messages go through shared memory; False also while there is no peer."""
        return bool(_library.flowfs_is_mapped(self.handle()))

    @property
    def state(self):
        """One of STATES. FileNotFoundError: the end has gone."""
        number = _library.flowfs_state(self.handle())
        if number < 0:
            raise _failed()
        return STATES[number]

    def shutdown(self, how):
        """SHUT_RD, SHUT_WR or SHUT_RDWR. Other threads that wait in that direction stop waiting."""
        if _library.flowfs_shutdown(self.handle(), how) != 0:
            raise _failed()

    def keep(self, what):
        """Has `what.let_go(self)` called before it is closed."""
        self._kept.add(what)

    def close(self):
        """For when no other thread is in a call. It leaves its sets, and what is lent and borrowed is over;
        BufferError, and nothing is closed, while an object over that is still in use."""
        if self._handle is not None:
            for what in list(self._kept):
                what.let_go(self)
            handle, self._handle = self._handle, None
            _library.flowfs_close(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()


class Flow(Endpoint):
    """One end of a flow. Made by dial() and accept()."""

    def block_least(self, size):
        """Loans of `size` bytes and more take a block of the pool; 0: the default."""
        _library.flowfs_block_least(self.handle(), size)

    @property
    def shared_pool(self):
        """Serial of the pool that this end and its peer share now, 0 for none."""
        return _library.flowfs_shared_pool(self.handle())

    @property
    def peer(self):
        """A Peer, its pid for information. OSError with ENOTCONN: there is none yet."""
        found = _Peer()
        if _library.flowfs_get_peer(self.handle(), ctypes.byref(found)) != 0:
            raise _failed()
        return Peer(found.flow, found.uid, found.gid, found.pid)


class Member(Endpoint):
    """A member of a bus, until it is closed. Made by join()."""

    def skip(self):
        """Passes over all that is unread but the newest message. How many."""
        skipped = _library.flowfs_skip(self.handle())
        if skipped < 0:
            raise _failed()
        return skipped


class Set:
    """Endpoints waited on together, by one thread. One that is closed leaves the set."""

    def __init__(self, flags=0):
        self._set = _library.flowfs_set_new(flags)
        if self._set is None:
            raise _failed()
        self._members = {}

    def _open(self):
        if self._set is None:
            raise ValueError("the set is closed")
        return self._set

    def add(self, endpoint, events=POLLIN):
        """For POLLIN, POLLOUT or both. FileExistsError: it is in the set."""
        if _library.flowfs_set_add(self._open(), endpoint.handle(), events, None) != 0:
            raise _failed()
        self._members[endpoint.handle()] = endpoint
        endpoint.keep(self)

    def remove(self, endpoint):
        """FileNotFoundError: it is not in the set."""
        if _library.flowfs_set_remove(self._open(), endpoint.handle()) != 0:
            raise _failed()
        del self._members[endpoint.handle()]

    def let_go(self, endpoint):
        """The endpoint is about to be closed."""
        if self._set is not None and endpoint.handle() in self._members:
            self.remove(endpoint)

    def wait(self, timeout=None, most=64):
        """A list of (endpoint, events), at least one."""
        events = (_Event * most)()
        found = _library.flowfs_set_wait(self._open(), events, most, _microseconds(timeout))
        if found < 0:
            raise _failed()
        return [(self._members[event.handle], event.events) for event in events[:found]]

    def close(self):
        """Its members stay open."""
        closing, self._set = self._set, None
        if closing is not None:
            _library.flowfs_set_free(closing)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()


def _encoded(text):
    """For a call that ends at the first NUL."""
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def _path(mount):
    return None if mount is None else _encoded(mount)


def _opened(kind, handle):
    if handle is None:
        raise _failed()
    return kind(handle)


def dial(name, mount=None, flags=0, timeout=None):
    """The client end of a new flow to names/NAME."""
    return _opened(Flow, _library.flowfs_dial(_path(mount), _encoded(name), flags,
                                              _microseconds(timeout)))


def accept(name, mount=None, flags=0, timeout=None):
    """The server end of the next flow to names/NAME."""
    return _opened(Flow, _library.flowfs_accept(_path(mount), _encoded(name), flags,
                                                _microseconds(timeout)))


def join(bus, mount=None, flags=0):
    """A new member of buses/BUS, which receives and sends, or with RECEIVE_ONLY or SEND_ONLY one of it."""
    return _opened(Member, _library.flowfs_join(_path(mount), _encoded(bus), flags))
