# SPDX-License-Identifier: BSD-3-Clause
"""Socket calls for a process that runs with libflowfs-ipn.so preloaded: the C functions themselves, as
the socket module refuses families that it does not know. Errors are OSError."""

import contextlib
import ctypes
import errno
import os
import socket as numbers
import struct

AF_IPN = 0x4950
ANY, BROADCAST, SWITCH = 0, 1, 2
PORT, CHANGE_NUMNODES, MTU, NUMNODES, POOL, FLAGS, MODE = 0, 2, 0x80, 0x81, 0x82, 0x83, 0x84

libc = ctypes.CDLL(None, use_errno=True)
for function in (libc.send, libc.recv, libc.sendto, libc.recvfrom, libc.sendmsg, libc.recvmsg):
    function.restype = ctypes.c_ssize_t


class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]


class Message(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("name_bytes", ctypes.c_uint32),
                ("pieces", ctypes.POINTER(Piece)), ("count", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("control_bytes", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@contextlib.contextmanager
def raises_errno(number):
    """As that of sysc, without what takes long to import."""
    try:
        yield
    except OSError as error:
        assert error.errno == number, f"expected {errno.errorcode[number]}, got {error}"
    else:
        raise AssertionError(f"expected {errno.errorcode[number]}, got none")


def socket(protocol=BROADCAST, kind=numbers.SOCK_RAW, family=AF_IPN):
    return checked(libc.socket(family, kind, protocol))


def address(path, family=AF_IPN):
    return struct.pack("H108s", family, path.encode())


def bind(fd, path, family=AF_IPN):
    where = address(path, family)
    checked(libc.bind(fd, where, len(where)))


def connect(fd, path=None):
    where = address(path) if path else None
    checked(libc.connect(fd, where, len(where) if where else 0))


def shutdown(fd, how):
    checked(libc.shutdown(fd, how))


def set_option(fd, option, value, level=0):
    word = ctypes.c_int(value)
    checked(libc.setsockopt(fd, level, option, ctypes.byref(word), ctypes.sizeof(word)))


def get_option(fd, option, level=0):
    word, size = ctypes.c_int(), ctypes.c_uint32(4)
    checked(libc.getsockopt(fd, level, option, ctypes.byref(word), ctypes.byref(size)))
    assert size.value == 4
    return word.value


def send(fd, data, flags=0):
    return checked(libc.send(fd, data, len(data), flags))


def sendto(fd, data, path=None):
    where = address(path) if path else None
    return checked(libc.sendto(fd, data, len(data), 0, where, len(where) if where else 0))


def recv(fd, flags=0, most=65536):
    data = ctypes.create_string_buffer(most)
    count = checked(libc.recv(fd, data, most, flags))
    return data.raw[:count]


def recvfrom(fd, most=65536):
    data, size = ctypes.create_string_buffer(most), ctypes.c_uint32(108)
    where = ctypes.create_string_buffer(108)
    count = checked(libc.recvfrom(fd, data, most, 0, where, ctypes.byref(size)))
    return data.raw[:count], size.value


def _message(buffers):
    pieces = (Piece * len(buffers))(*[(ctypes.addressof(one), len(one)) for one in buffers])
    return Message(pieces=pieces, count=len(buffers))


def sendmsg(fd, *parts):
    buffers = [ctypes.create_string_buffer(part, len(part)) for part in parts]
    return checked(libc.sendmsg(fd, ctypes.byref(_message(buffers)), 0))


def recvmsg(fd, *sizes):
    buffers = [ctypes.create_string_buffer(size) for size in sizes]
    count = checked(libc.recvmsg(fd, ctypes.byref(_message(buffers)), 0))
    return b"".join(one.raw for one in buffers)[:count]


def joined(path, protocol=BROADCAST):
    fd = socket(protocol)
    connect(fd, path)
    return fd


def made(path, **options):
    """Bound and connected, as who makes a bus does it."""
    fd = socket()
    for name, value in options.items():
        set_option(fd, {"mtu": MTU, "ports": NUMNODES, "pool": POOL, "flags": FLAGS, "mode": MODE}[name],
                   value)
    bind(fd, path)
    connect(fd)
    return fd
