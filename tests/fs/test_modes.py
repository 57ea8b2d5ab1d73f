# SPDX-License-Identifier: BSD-3-Clause
"""Trial 9: access by owners, groups, supplementary groups, modes and ACLs, against tmpfs."""

import errno
import itertools
import os
import random
import re
import stat
import subprocess
import tempfile

import acls
import pytest
from harness import close, is_mounted
from procs import Child, as_user, sh, wait_for
from sysc import outcome, raises_errno

ALICE, BOB, CAROL, DAVE = 61001, 61002, 61003, 61004
STAFF, EXTRA = 61050, 61051
SUBJECTS = {  # uid, gid, supplementary groups
    "root": (0, 0, []), "owner": (ALICE, ALICE, []), "owner in the group": (ALICE, STAFF, []),
    "named user": (BOB, BOB, []), "member": (CAROL, STAFF, []),
    "supplementary member": (CAROL, CAROL, [STAFF]),
    "member of a named group": (CAROL, CAROL, [EXTRA]),
    "member of both groups": (CAROL, CAROL, [STAFF, EXTRA]),
    "named user in the group": (BOB, STAFF, [EXTRA]), "stranger": (DAVE, DAVE, [])}
MODES = [u << 6 | g << 3 | o for u, g, o in itertools.product((0, 2, 4, 6), (0, 2, 4, 6), (0, 4, 6, 7))]
ACLS = {
    "no ACL": lambda mode: None,
    "named user reads": lambda mode: acls.acl(mode, users=[(BOB, 4)], mask=7),
    "named user has nothing": lambda mode: acls.acl(mode, users=[(BOB, 0)], mask=7),
    "named group, masked": lambda mode: acls.acl(mode, groups=[(EXTRA, 6)], mask=4),
    "all masked": lambda mode: acls.acl(mode, users=[(BOB, 6)], groups=[(EXTRA, 6)], mask=0),
    "user and group": lambda mode: acls.acl(mode, users=[(BOB, 2), (CAROL, 6)],
                                            groups=[(EXTRA, 4)], mask=6)}


@pytest.fixture(scope="module")
def tmpfs():
    """A tmpfs of our own, with a sticky folder as names/ is."""
    folder = tempfile.mkdtemp(prefix="flowfs-oracle-", dir="/run")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755,noexec,nosuid,nodev", "oracle", folder],
                   check=True)
    names = os.path.join(folder, "names")
    os.mkdir(names)
    os.chmod(names, 0o1777)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    assert not is_mounted(folder)
    os.rmdir(folder)


class Pair:
    """The same object here and on tmpfs; `file` is `dial` here and a file there."""

    def __init__(self, daemon, tmpfs, name):
        self.here = daemon.path("names", name)
        self.there = os.path.join(tmpfs, "names", name)
        for folder in (self.here, self.there):
            os.mkdir(folder)
            os.chmod(folder, 0o755)
        with open(os.path.join(self.there, "dial"), "xb"):
            pass
        os.chmod(os.path.join(self.there, "dial"), 0o600)

    def both(self, file="dial"):
        return [os.path.join(folder, file) if file else folder for folder in (self.here, self.there)]

    def set(self, file, owner, group, mode, acl=None):
        for path in self.both(file):
            os.chown(path, owner, group)
            os.chmod(path, mode)
            if acl is not None:
                os.setxattr(path, acls.ATTRIBUTE, acl)

    def assert_alike(self, file="dial"):
        found = []
        for path in self.both(file):
            info = os.stat(path)
            found.append((oct(stat.S_IMODE(info.st_mode)), info.st_uid, info.st_gid, acls.get(path)))
        assert found[0] == found[1]


@pytest.fixture
def make_pair(daemon, tmpfs):
    made = []

    def make():
        made.append(Pair(daemon, tmpfs, f"pair{len(made)}"))
        return made[-1]
    yield make
    for pair in made:
        sh(f"rm -rf {pair.there}")


def open_and_close(path, flags):
    os.close(os.open(path, flags | os.O_NONBLOCK))
    return "opened"


FILE_ACTIONS = {
    "read": lambda path: open_and_close(path, os.O_RDONLY),
    "write": lambda path: open_and_close(path, os.O_WRONLY),
    "both": lambda path: open_and_close(path, os.O_RDWR),
    "append": lambda path: open_and_close(path, os.O_WRONLY | os.O_APPEND),
    "truncate": lambda path: open_and_close(path, os.O_WRONLY | os.O_TRUNC),
    "create": lambda path: open_and_close(path, os.O_RDWR | os.O_CREAT),
    "access": lambda path: [os.access(path, bits) for bits in (0, 1, 2, 4, 6, 7)],
    "stat": lambda path: stat.S_IMODE(os.stat(path).st_mode)}
FOLDER_ACTIONS = {
    "list": lambda path: bool(os.listdir(path)),
    "look up": lambda path: os.path.basename(os.stat(path + "/dial") and path + "/dial"),
    "miss": lambda path: os.stat(path + "/none"),
    "open below": lambda path: open_and_close(path + "/dial", os.O_RDWR),
    "access": lambda path: [os.access(path, bits) for bits in (0, 1, 2, 4, 6, 7)],
    "open": lambda path: open_and_close(path, os.O_RDONLY | os.O_DIRECTORY),
    "enter": os.chdir}


def try_all(actions, paths):
    """What each action gives for each path, for the identity that calls."""
    found = []
    for path in paths:
        for action, call in actions.items():
            found.append((action, outcome(call, path)))
    return found


def assert_same_for_everybody(actions, pairs, file):
    here = [pair.both(file)[0] for pair in pairs]
    there = [pair.both(file)[1] for pair in pairs]
    count = 0
    for subject, (uid, gid, groups) in SUBJECTS.items():
        got = as_user(uid, try_all, actions, here, gid=gid, groups=groups)
        expected = as_user(uid, try_all, actions, there, gid=gid, groups=groups)
        assert len(got) == len(expected)
        for i, (one, other) in enumerate(zip(got, expected)):
            assert one == other, f"{subject}, node {i // len(actions)}: {describe(pairs, i, actions, file)}"
            count += 1
    return count


def describe(pairs, i, actions, file):
    path = pairs[i // len(actions)].both(file)[1]
    return subprocess.run(["getfacl", "-np", path], capture_output=True, text=True, check=False).stdout


@pytest.mark.deadline(120)
@pytest.mark.parametrize("rule", ACLS)
def test_opens_give_the_same_as_on_tmpfs(make_pair, rule):
    pairs = []
    for mode in MODES:
        pair = make_pair()
        pair.set("dial", ALICE, STAFF, mode, ACLS[rule](mode))
        pair.assert_alike()
        pairs.append(pair)
    count = assert_same_for_everybody(FILE_ACTIONS, pairs, "dial")
    assert count == len(SUBJECTS) * len(MODES) * len(FILE_ACTIONS)


@pytest.mark.deadline(120)
@pytest.mark.parametrize("rule", ACLS)
def test_folders_give_the_same_as_on_tmpfs(make_pair, rule):
    pairs = []
    for mode in [bits ^ 0o111 for bits in MODES]:
        pair = make_pair()
        pair.set("dial", ALICE, STAFF, 0o666)
        pair.set("", ALICE, STAFF, mode, ACLS[rule](mode))
        pair.assert_alike("")
        pairs.append(pair)
    assert assert_same_for_everybody(FOLDER_ACTIONS, pairs, "") > 0


CHANGES = {
    "chmod": lambda path: os.chmod(path, 0o640),
    "chmod, set-group-ID": lambda path: os.chmod(path, 0o2750),
    "chown to himself": lambda path: os.chown(path, os.getuid(), -1),
    "chown to another": lambda path: os.chown(path, DAVE, -1),
    "chgrp to his own": lambda path: os.chown(path, -1, os.getgid()),
    "chgrp to a supplementary": lambda path: os.chown(path, -1, STAFF),
    "chgrp to a foreign": lambda path: os.chown(path, -1, 61999),
    "touch": lambda path: os.utime(path),
    "touch to a time": lambda path: os.utime(path, (1, 1)),
    "set an ACL": lambda path: os.setxattr(path, acls.ATTRIBUTE, acls.acl(0o640, users=[(DAVE, 6)], mask=6)),
    "take the ACL away": lambda path: os.removexattr(path, acls.ATTRIBUTE),
    "set a bad ACL": lambda path: os.setxattr(path, acls.ATTRIBUTE, b"\x02\0\0\0junk"),
    "set an ACL without a mask": lambda path: os.setxattr(path, acls.ATTRIBUTE,
                                                          acls.acl(0o640, users=[(DAVE, 6)]))}


@pytest.mark.parametrize("file", ["dial", ""], ids=["file", "folder"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_changes_give_the_same_as_on_tmpfs(make_pair, subject, change, file):
    pair = make_pair()
    pair.set(file, ALICE, STAFF, 0o664, acls.acl(0o664, users=[(BOB, 7)], mask=6))
    uid, gid, groups = SUBJECTS[subject]
    results = [as_user(uid, outcome, CHANGES[change], path, gid=gid, groups=groups)
               for path in pair.both(file)]
    assert results[0] == results[1]
    pair.assert_alike(file)


def random_step(random_, paths):
    """One change that root makes to both paths."""
    kind = random_.randrange(4)
    bits = [random_.randrange(8) for _ in range(8)]
    mode = bits[0] << 6 | bits[1] << 3 | bits[2]
    who = random_.choice([BOB, CAROL, EXTRA])
    for path in paths:
        if kind == 0:
            os.chmod(path, mode)
        elif kind == 1:
            os.chown(path, ALICE, STAFF if bits[3] & 1 else EXTRA)
        elif kind == 2:
            os.setxattr(path, acls.ATTRIBUTE,
                        acls.acl(mode, users=[(who, bits[3])], groups=[(EXTRA, bits[4])], mask=bits[5]))
        else:
            outcome(os.removexattr, path, acls.ATTRIBUTE)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("file", ["dial", "accept", "backlog", ""])
def test_random_changes_leave_the_same_as_on_tmpfs(make_pair, seed, file):
    pair = make_pair()
    target = pair.both(file)[1]
    if not os.path.exists(target):
        with open(target, "xb"):
            pass
    pair.set(file, ALICE, STAFF, 0o644)
    random_ = random.Random(seed)
    for _ in range(60):
        random_step(random_, pair.both(file))
        pair.assert_alike(file)


@pytest.mark.parametrize("who", [ALICE, BOB], ids=["owner", "other"])
def test_the_sticky_folder_behaves_as_on_tmpfs(daemon, tmpfs, who):
    results = []
    for folder in (daemon.path("names"), os.path.join(tmpfs, "names")):
        path = os.path.join(folder, "sticky")
        as_user(ALICE, os.mkdir, path)
        os.chmod(path, 0o777)
        results.append([as_user(who, outcome, os.rename, path, path + "2"),
                        as_user(who, outcome, os.rmdir, path + "2"),
                        as_user(who, outcome, os.rmdir, path)])
        for left in (path, path + "2"):
            outcome(os.rmdir, left)
    assert results[0] == results[1]


def test_default_acls_are_not_supported(name):
    with raises_errno(errno.EOPNOTSUPP):
        os.setxattr(name.path, acls.DEFAULT_ATTRIBUTE, acls.acl(0o755))
    assert sh(f"setfacl -d -m u:{BOB}:rw {name.path}", check=False).status != 0


# --- with the commands people use --------------------------------------------------------------

def test_setfacl_and_getfacl_agree(name):
    sh(f"setfacl -m u:{BOB}:rw,g:{EXTRA}:r {name.dial}")
    out = sh(f"getfacl -ncp {name.dial}").out.split()
    assert out == ["user::rw-", f"user:{BOB}:rw-", "group::---", f"group:{EXTRA}:r--", "mask::rw-",
                   "other::---"]
    assert stat.S_IMODE(os.stat(name.dial).st_mode) == 0o660
    assert "+" in sh(f"ls -l {name.dial}").out.split()[0]


def test_chmod_rewrites_the_mask(name):
    sh(f"setfacl -m u:{BOB}:rw {name.dial}; chmod g=r {name.dial}")
    assert "mask::r--" in sh(f"getfacl -ncp {name.dial}").out
    with raises_errno(errno.EACCES):
        as_user(BOB, os.open, name.dial, os.O_RDWR | os.O_NONBLOCK)
    assert as_user(BOB, open_and_close, name.dial, os.O_RDONLY)


def test_setfacl_b_takes_the_acl_away(name):
    sh(f"setfacl -m u:{BOB}:rw {name.dial}; setfacl -b {name.dial}")
    assert acls.get(name.dial) is None
    with raises_errno(errno.EACCES):
        as_user(BOB, os.open, name.dial, os.O_RDONLY | os.O_NONBLOCK)


def test_an_acl_survives_a_rename(daemon, name):
    sh(f"setfacl -m u:{BOB}:rw {name.dial}")
    before = acls.get(name.dial)
    os.rename(name.path, name.path + "x")
    assert acls.get(name.path + "x/dial") == before


def test_an_acl_lets_exactly_one_more_user_dial(name):
    sh(f"setfacl -m u:{BOB}:rw {name.dial}")
    assert as_user(BOB, open_and_close, name.dial, os.O_RDWR)
    for uid in (CAROL, DAVE):
        with raises_errno(errno.EACCES):
            as_user(uid, os.open, name.dial, os.O_RDWR | os.O_NONBLOCK)


def test_an_acl_lets_a_user_serve(daemon, name):
    sh(f"setfacl -m u:{BOB}:rw {name.accept}")
    server = Child(os.open, name.accept, os.O_RDWR, uid=BOB)
    daemon.wait_states(accept_pending=1)
    name.open_dial()
    server.result()


# --- chmod after open --------------------------------------------------------------------------

def test_open_descriptors_go_on_after_chmod(open_name):
    def dial_then(go, gone):
        fd = os.open(open_name.dial, os.O_RDWR)
        os.write(gone, b".")
        os.read(go, 1)
        os.write(fd, b"still")
        return outcome(os.open, open_name.dial, os.O_RDWR | os.O_NONBLOCK)
    go_read, go_write = os.pipe()
    gone_read, gone_write = os.pipe()
    child = Child(dial_then, go_read, gone_write, uid=BOB, keep=[go_read, gone_write])
    server = open_name.open_accept()
    assert os.read(gone_read, 1) == b"."
    os.chmod(open_name.dial, 0o600)
    os.write(go_write, b".")
    assert os.read(server, 10) == b"still"
    assert child.result() == "EACCES"
    for fd in (go_read, go_write, gone_read, gone_write):
        os.close(fd)


def test_new_opens_follow_the_new_mode_for_every_uid_at_once(name):
    """A resident process of each user tries at every change; none may see an old mode."""
    users = [BOB, CAROL]

    def answer(orders, answers):
        while os.read(orders, 1):
            os.write(answers, b"y" if outcome(open_and_close, name.dial, os.O_RDWR) == "opened" else b"n")
    pipes = []
    for uid in users:
        orders, answers = os.pipe(), os.pipe()
        Child(answer, orders[0], answers[1], uid=uid, keep=[orders[0], answers[1]])
        pipes.append((orders[1], answers[0]))
        os.close(orders[0]), os.close(answers[1])
    for i in range(200):
        os.chmod(name.dial, 0o666 if i % 2 else 0o600)
        for order, answer_ in pipes:
            os.write(order, b"?")
            assert os.read(answer_, 1) == (b"y" if i % 2 else b"n"), f"change {i}"
    for pair in pipes:
        for fd in pair:
            os.close(fd)


def test_a_waiting_open_is_not_affected_by_a_later_chmod(daemon, open_name):
    client = Child(os.open, open_name.dial, os.O_RDWR, uid=BOB)
    daemon.wait_states(alloc_pending=1)
    os.chmod(open_name.dial, 0)
    open_name.open_accept()
    client.result()


def test_a_closed_folder_closes_what_is_below_at_once(name):
    os.chmod(name.dial, 0o666)
    assert as_user(BOB, open_and_close, name.dial, os.O_RDWR)
    os.chmod(name.path, 0o700)
    with raises_errno(errno.EACCES):
        as_user(BOB, os.open, name.dial, os.O_RDWR | os.O_NONBLOCK)


def test_root_without_capabilities_is_an_ordinary_user(name):
    os.chmod(name.dial, 0)
    out = sh(f"setpriv --bounding-set=-all --inh-caps=-all --reuid={ALICE} --clear-groups "
             f"cat {name.dial}", check=False)
    assert out.status == 1 and re.search("Permission denied", out.err)


def test_everything_is_closed_again(daemon, name):
    ends = name.pair()
    close(*ends)
    wait_for(lambda: not daemon.flow_states(), "no flows")
