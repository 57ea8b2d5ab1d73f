# SPDX-License-Identifier: BSD-3-Clause
"""Trial 7: who takes all that he can of a resource is refused at his limit, and others keep theirs.

Eight who collude leave a ninth his tenth of each total; a dozen leave the next something still.
"""

import errno
import fcntl
import os
import select
import threading

import pools
import pytest
import wire
from fixtures import need_mapping
from mapped import MappedEnd
from procs import Child, as_user, wait_for

VICTIM = 61210
COLLUDERS = list(range(61220, 61232))
BLOCK = 65536
TOTAL = {"names": 200, "flows": 800, "bytes": 1280 * BLOCK, "descriptors": 1000, "held": 200}
LIMIT = {resource: total // 10 for resource, total in TOTAL.items()}
NONBLOCK = os.O_RDWR | os.O_NONBLOCK
# Together more than a user may have.
CLASSES = " ".join(f"{4096 << i}:{256 >> i}" for i in range(9))


@pytest.fixture(scope="module")
def config():
    return (f"[pools]\npersonal = '{CLASSES}'\n" +
            "[limits]\n" + "".join(f"{key} = {value}\n" for key, value in LIMIT.items()) +
            "[limits.total]\n" + "".join(f"{key} = {value}\n" for key, value in TOTAL.items()))


# --- taking all of something: (how much, the errno of the refusal) -------------------------------

def until_refused(take):
    """Calls `take` until it fails."""
    amount = 0
    while True:
        try:
            amount += take(amount)
        except OSError as error:
            return amount, error.errno


def own_name(daemon):
    made = daemon.name(f"own{os.getuid()}")
    if not os.path.isdir(made.path):
        os.mkdir(made.path)
    return made


def take_names(daemon, _shared):
    def take(number):
        path = daemon.path("names", f"{os.getuid()}-{number}")
        os.symlink("x", path) if number % 2 else os.mkdir(path)
        return 1
    return until_refused(take)


def take_flows(_daemon, shared):
    return until_refused(lambda _: bool(os.open(shared.dial, NONBLOCK)))


def take_bytes(daemon, _shared):
    client, _ = own_name(daemon).set("depth", 2 * TOTAL["bytes"]).pair(nonblock=True)
    return until_refused(lambda _: os.write(client, b"x" * BLOCK))


def take_descriptors(daemon, _shared):
    files = [(daemon.path("events"), os.O_RDONLY | os.O_NONBLOCK), (daemon.path("version"), os.O_RDONLY)]
    return until_refused(lambda number: bool(os.open(*files[number % 2])))


def take_segments(daemon, _shared):
    """Mapped segments: paid for in bytes and in descriptors."""
    name = own_name(daemon)
    pairs = []

    def take(number):
        if number % 2 == 0:
            pairs.append(name.pair())
        path = daemon.path("flows", str(wire.flow_id(pairs[-1][number % 2])), "tx")
        return bool(os.open(path, os.O_RDWR))
    return until_refused(take)


def take_mapped_ends(daemon, _shared):
    """Mapped ends, each with its own segment and that of its peer."""
    name, pairs = own_name(daemon), []

    def take(number):
        if number % 2 == 0:
            pairs.append(name.pair())
        return bool(MappedEnd(daemon, pairs[-1][number % 2]))
    return until_refused(take)


def take_blocks(daemon, _shared):
    """The blocks of one's own pool, a size after the other."""
    member = pools.Member(daemon, os.getuid())

    def take(index):
        pools.want_class(member.fd, index)
        return 1
    return until_refused(take)


def take_held(_daemon, shared):
    """Opens that wait, each in a thread of its own: those over the limit fail, the others stay."""
    refused = []
    extra, most = 3, LIMIT["held"]

    def wait():
        try:
            os.open(shared.dial, os.O_RDWR)
        except OSError as error:
            refused.append(error.errno)
    for _ in range(most + extra):
        threading.Thread(target=wait, daemon=True).start()
    wait_for(lambda: len(refused) >= extra, "as many refused as are too many")
    return most + extra - len(refused), refused[0]


TAKERS = {"names": take_names, "flows": take_flows, "bytes": take_bytes,
          "descriptors": take_descriptors, "held": take_held}


class Hoarder:
    """A child of a uid that took all it could and keeps it."""

    def __init__(self, uid, take, *args):
        readable, writable = os.pipe()

        def hoard():
            amount, refusal = take(*args)
            os.write(writable, b"%d %d" % (amount, refusal))
            select.select([], [], [])
        self.child = Child(hoard, uid=uid, keep=[writable])
        os.close(writable)
        text = os.read(readable, 100)
        os.close(readable)
        if not text:
            self.child.result()  # raises what it died of
        self.amount, self.refusal = map(int, text.split())


@pytest.fixture
def shared(open_name):
    """A name that everybody may dial and nobody serves."""
    return open_name.set("backlog", "max").set("dial_timeout", "max")


@pytest.fixture(autouse=True)
def back_to_zero(daemon, nothing_left):  # pylint: disable=unused-argument
    """Runs before the names are removed: what hoarders made is theirs, and goes with them."""
    yield
    import harness  # pylint: disable=import-outside-toplevel
    import procs  # pylint: disable=import-outside-toplevel
    procs.end_children()
    harness.close_tracked()
    wait_for(lambda: not daemon.flow_states(), "no flows")
    for name in os.listdir(daemon.path("names")):
        path = daemon.path("names", name)
        (os.unlink if os.path.islink(path) else os.rmdir)(path)
    for uid in [VICTIM, *COLLUDERS]:
        if os.path.isdir(daemon.path("users", str(uid))):
            wait_for(lambda uid=uid: set(daemon.usage(uid).values()) == {"0"}, f"{uid} at zero")


# --- each resource with a total ------------------------------------------------------------------

@pytest.mark.parametrize("colluders", [1, 8])
@pytest.mark.parametrize("resource", TAKERS)
def test_others_keep_theirs(daemon, shared, resource, colluders):
    take = TAKERS[resource]
    hoards = [Hoarder(uid, take, daemon, shared) for uid in COLLUDERS[:colluders]]
    for hoard in hoards:
        assert (hoard.amount, hoard.refusal) == (LIMIT[resource], errno.EDQUOT)
    mine = Hoarder(VICTIM, take, daemon, shared)
    assert mine.refusal == errno.EDQUOT  # his own limit, not that of the daemon
    assert mine.amount >= 0.95 * LIMIT[resource]
    assert mine.amount >= 0.1 * TOTAL[resource]
    assert int(daemon.usage(VICTIM)[resource]) == mine.amount


@pytest.mark.parametrize("resource", [key for key in TAKERS if key != "held"])
def test_a_dozen_leave_something_to_the_next_and_to_root(daemon, shared, resource):
    """Nine have nine tenths; the last twentieth is shared out among all who come."""
    take = TAKERS[resource]
    hoards = [Hoarder(uid, take, daemon, shared) for uid in COLLUDERS]
    assert [hoard.refusal for hoard in hoards[:9]] == [errno.EDQUOT] * 9
    assert [hoard.refusal for hoard in hoards[9:]] == [errno.ENFILE] * 3
    for uid in (VICTIM, 0):
        assert Hoarder(uid, take, daemon, shared).amount >= 1


@pytest.mark.parametrize("colluders", [1, 8])
@pytest.mark.parametrize("take", [take_segments, take_mapped_ends, take_blocks])
def test_others_keep_their_memory(daemon, shared, take, colluders):
    """As much as when nobody else is there, which is what his own tenth pays for."""
    need_mapping(daemon)
    alone = as_user(VICTIM, take, daemon, shared)
    assert alone[0] > 0 and alone[1] == errno.EDQUOT
    wait_for(lambda: daemon.usage(VICTIM)["bytes"] == "0", "all given back")
    for uid in COLLUDERS[:colluders]:
        hoard = Hoarder(uid, take, daemon, shared)
        assert (hoard.amount, hoard.refusal) == alone
    mine = Hoarder(VICTIM, take, daemon, shared)
    assert (mine.amount, mine.refusal) == alone


# --- what belongs to one and is used by many -----------------------------------------------------

@pytest.fixture
def backlog(daemon):
    """A name of the victim with a backlog of 50, which everybody may dial."""
    made = daemon.name("victims")
    as_user(VICTIM, os.mkdir, made.path)
    os.chmod(made.path, 0o755)
    os.chmod(made.dial, 0o666)
    return made.set("backlog", 50).set("dial_timeout", "max")


@pytest.mark.parametrize("colluders", [1, 8, 12])
def test_the_owner_keeps_places_in_a_backlog(daemon, backlog, colluders):
    hoards = [Hoarder(uid, take_flows, daemon, backlog) for uid in COLLUDERS[:colluders]]
    assert all(hoard.refusal == errno.EAGAIN for hoard in hoards)
    owner = Hoarder(VICTIM, take_flows, daemon, backlog)
    assert owner.refusal == errno.EAGAIN
    assert owner.amount == 50 - sum(hoard.amount for hoard in hoards) >= 5


def test_who_waits_beyond_the_backlog_does_not_keep_the_owner_out(daemon, backlog):
    """Blocking dials of one uid have half of the places and line up for them; the owner is third."""
    backlog.set("backlog", 4)
    Hoarder(COLLUDERS[0], take_held, daemon, backlog)
    owner = Child(os.open, backlog.dial, os.O_RDWR, uid=VICTIM)
    wait_for(lambda: daemon.usage(VICTIM)["held"] == "1", "the owner's dial waiting")
    for _ in range(3):
        backlog.open_accept(NONBLOCK)
    owner.result()
    daemon.wait_states(alloc_pending=LIMIT["held"] - 2)


def test_locks_of_one_file_are_used_up_for_nobody_elses(daemon, shared):
    """However many locks a stranger has on files that he may read, another file has its own."""
    def take_locks(daemon, shared):
        def take(_):
            fd = os.open(shared.file("mtu"), os.O_RDONLY)
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return 1
        return until_refused(take)
    hoard = Hoarder(COLLUDERS[0], take_locks, daemon, shared)
    assert hoard.refusal in (errno.ENOLCK, errno.EDQUOT) and hoard.amount > 0

    def lock_own():
        name = own_name(daemon)
        fd = os.open(name.file("mtu"), os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return name.get("mtu")
    assert as_user(VICTIM, lock_own) == "917504"


def test_events_that_a_stranger_does_not_read_reach_those_who_do(daemon, shared):
    """Streams left to fill: each reader has its own place, and none holds up another."""
    Hoarder(COLLUDERS[0], take_descriptors, daemon, shared)

    def watch_and_work():
        events = os.open(daemon.path("events"), os.O_RDONLY | os.O_NONBLOCK)
        told = b""
        for number in range(300):
            path = daemon.path("names", f"work{number}")
            os.mkdir(path)
            os.rmdir(path)
            told += os.read(events, 65536)
        return [line.split()[2] for line in told.splitlines() if b" name-removed " in line]
    assert as_user(VICTIM, watch_and_work) == [b"names/work%d" % n for n in range(300)]
