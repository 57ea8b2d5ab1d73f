# SPDX-License-Identifier: BSD-3-Clause
"""POSIX ACLs as the kernel's extended attribute holds them."""

import os
import struct

ATTRIBUTE = "system.posix_acl_access"
DEFAULT_ATTRIBUTE = "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NOBODY = 0xFFFFFFFF
_ORDER = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER]


def pack(entries):
    """`entries` are (tag, permissions, id or None)."""
    ordered = sorted(entries, key=lambda e: (_ORDER.index(e[0]), e[2] or 0))
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, bits, _NOBODY if who is None else who) for tag, bits, who in ordered)


def acl(mode, users=(), groups=(), mask=None):
    """An ACL with the base entries of `mode`; users and groups are (id, permissions)."""
    entries = [(USER_OBJ, mode >> 6 & 7, None), (GROUP_OBJ, mode >> 3 & 7, None),
               (OTHER, mode & 7, None)]
    entries += [(USER, bits, who) for who, bits in users]
    entries += [(GROUP, bits, who) for who, bits in groups]
    if mask is not None:
        entries.append((MASK, mask, None))
    return pack(entries)


def get(path):
    """The raw ACL, or None where there is none beyond the mode."""
    try:
        return os.getxattr(path, ATTRIBUTE)
    except OSError:
        return None
