# SPDX-License-Identifier: BSD-3-Clause
"""System calls as they are: no retry after EINTR, the errno as an OSError, and those Python lacks."""

import contextlib
import ctypes
import errno
import os

import pytest

_libc = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
_SYS_RENAMEAT2 = 316
_SYS_COPY_FILE_RANGE = 326
SYSCALL_NUMBERS = {"read": 0, "write": 1, "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20,
                   "openat": 257, "poll": 7, "ioctl": 16, "io_getevents": 208, "io_submit": 209,
                   "fcntl": 72, "flock": 73}


def _checked(value, what):
    if value < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return value


def read(fd, count):
    """read(2), once: EINTR comes out as InterruptedError, unlike os.read."""
    buffer = ctypes.create_string_buffer(max(count, 1))
    _libc.read.restype = ctypes.c_ssize_t
    size = _checked(_libc.read(fd, buffer, ctypes.c_size_t(count)), "read")
    return buffer.raw[:size]


def write(fd, data):
    """write(2), once."""
    _libc.write.restype = ctypes.c_ssize_t
    return _checked(_libc.write(fd, data, ctypes.c_size_t(len(data))), "write")


def open_once(path, flags, mode=0):
    """open(2), once."""
    return _checked(_libc.open(os.fsencode(path), flags | os.O_CLOEXEC, mode), f"open {path}")


def rename2(old, new, flags):
    _checked(_libc.syscall(_SYS_RENAMEAT2, AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new),
                           flags), f"renameat2 {old} {new}")


def copy_file_range(source, target, count):
    _libc.syscall.restype = ctypes.c_long
    return _checked(_libc.syscall(_SYS_COPY_FILE_RANGE, source, None, target, None,
                                  ctypes.c_size_t(count), 0), "copy_file_range")


def splice(source, target, count):
    _libc.splice.restype = ctypes.c_ssize_t
    return _checked(_libc.splice(source, None, target, None, ctypes.c_size_t(count), 0), "splice")


def setns(fd):
    """The calling thread goes over to the namespace."""
    _checked(_libc.setns(fd, 0), "setns")


def set_pdeathsig(number):
    """The caller gets `number` when its parent goes, so that a killed test leaves nobody behind."""
    _checked(_libc.prctl(1, number, 0, 0, 0), "prctl")


@contextlib.contextmanager
def raises_errno(*numbers):
    """Asserts that the block fails with one of these errnos."""
    with pytest.raises(OSError) as caught:
        yield caught
    expected = " or ".join(errno.errorcode[n] for n in numbers)
    got = errno.errorcode.get(caught.value.errno, caught.value.errno)
    assert caught.value.errno in numbers, f"expected {expected}, got {got}: {caught.value}"


def outcome(call, *args):
    """The errno name of a call that fails, else its value: what oracles are compared by."""
    try:
        return call(*args)
    except OSError as error:
        return errno.errorcode[error.errno]
