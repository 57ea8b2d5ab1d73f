# SPDX-License-Identifier: BSD-3-Clause
"""The socket beside the mount that hands out memory, as include/flowfs/wire.h has it."""

import os
import socket
import struct

import wire

REQUEST, ANSWER = struct.Struct("=IIQII"), struct.Struct("=II")
READ, WRITE = 0, 1


def connect(mount):
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        made.connect(mount + ".sock")  # waits for its turn, which it would not with a timeout
    except OSError:
        made.close()
        raise
    made.settimeout(20)
    return made


def request(file, number=0, access=READ, version=None, reserved=0):
    numbers = wire.numbers()
    return REQUEST.pack(numbers["LAYOUT_VERSION"] if version is None else version,
                        numbers[f"MEMORY_{file}"], number, access, reserved)


def answer(connection):
    """The next answer's descriptor, or its errno as an OSError; None at the end."""
    data, fds, _, _ = socket.recv_fds(connection, 64, 4)
    if not data:
        return None
    version, error = ANSWER.unpack(data)
    assert version == wire.numbers()["LAYOUT_VERSION"]
    assert len(fds) == (error == 0), "a descriptor comes with success, and with nothing else"
    if error:
        raise OSError(error, os.strerror(error))
    return fds[0]


def ask(mount, file, number=0, access=READ):
    """A descriptor of the memory of a file."""
    with connect(mount) as connection:
        connection.send(request(file, number, access))
        return answer(connection)


def outcome_of(mount, file, number, access):
    """The errno of asking, or 0: for a child."""
    try:
        os.close(ask(mount, file, number, access))
    except OSError as error:
        return error.errno
    return 0
