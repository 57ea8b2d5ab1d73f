# SPDX-License-Identifier: BSD-3-Clause
"""pools/: who may have which, joining, what the memory is charged to, and what members leave behind."""

import errno
import gc
import mmap
import os
import random
import resource
import select
import signal
import stat
import struct
import time

import pools
import procs
import pytest
import wire
from fixtures import need_mapping
from harness import close, is_sanitized, read_text, set_nonblock, track, write_text
from mapped import MappedEnd, protect
from pools import FREE, HELD, IN_FLIGHT, Member
from procs import Child, as_user, wait_for
from sysc import raises_errno
from test_facts import settle, switches

ALICE, BOB, MEMBER = 61001, 61002, 61003
GROUP = 61900
SIZES = ((256, 64), (4096, 32), (65536, 16))
NAMED = " ".join(f"{size}:{count}" for size, count in SIZES)


@pytest.fixture(scope="module")
def config():
    return f"[daemon]\ngroup = '{GROUP}'\n[pools]\nshared = '{NAMED}'\npersonal = '{NAMED}'\n"


@pytest.fixture(autouse=True)
def through_the_mount(daemon):
    need_mapping(daemon)


def pool_path(daemon, name):
    return daemon.path("pools", str(name))


def blocks(daemon, pool, state, size=None):
    """How many blocks of a pool are in a state, as `metrics` tells."""
    found = 0
    for (name, labels), value in daemon.metrics().items():
        labels = dict(labels)
        if name == "flowfs_pool_blocks" and labels["pool"] == str(pool) and labels["state"] == state:
            found += int(value) if size in (None, int(labels["bytes"])) else 0
    return found


@pytest.fixture
def unused(daemon):
    """No pool has memory when the test begins, so that all is new in those it makes."""
    gc.collect()  # an error that a test has looked at keeps its members, in a circle
    wait_for(lambda: not any(name == "flowfs_pool_blocks" for name, _ in daemon.metrics()),
             "pools of the test before gone")


def wait_all_free(daemon, pool):
    total = sum(count for _, count in SIZES)
    wait_for(lambda: blocks(daemon, pool, "free") == total, f"all blocks of {pool} free")


# --- the tree ------------------------------------------------------------------------------------

def test_the_shared_pool_is_of_root_and_the_group(daemon):
    found = os.stat(pool_path(daemon, "shared"))
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o660, 0, GROUP)
    assert found.st_size > sum(size * count for size, count in SIZES)
    assert stat.S_IMODE(os.stat(daemon.path("pools")).st_mode) == 0o555
    assert "shared" in os.listdir(daemon.path("pools"))


def test_without_its_group_the_shared_pool_is_roots_alone(fresh_daemon):
    server = fresh_daemon("[daemon]\ngroup = 'no-such-group'\n").start()
    found = os.stat(pool_path(server, "shared"))
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o600, 0, 0)
    assert server.log().count("no-such-group") == 1


def test_a_personal_pool_appears_when_its_user_or_root_looks(daemon):
    with raises_errno(errno.ENOENT):
        as_user(BOB, os.stat, pool_path(daemon, ALICE))
    assert str(ALICE) not in os.listdir(daemon.path("pools"))
    found = as_user(ALICE, os.stat, pool_path(daemon, ALICE))
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, ALICE)
    assert str(ALICE) in os.listdir(daemon.path("pools"))
    assert os.stat(pool_path(daemon, BOB)).st_uid == BOB


@pytest.mark.parametrize("name", ["007", "-1", "4294967295", "shared2", "all", "+5", "5 "])
def test_other_names_are_nobodys(daemon, name):
    with raises_errno(errno.ENOENT):
        os.stat(pool_path(daemon, name))


def test_a_pool_goes_when_nobody_uses_it(daemon):
    def use():
        Member(daemon, ALICE).allocate(1)
        return os.stat(pool_path(daemon, ALICE)).st_ino
    first = as_user(ALICE, use)
    wait_for(lambda: str(ALICE) not in os.listdir(daemon.path("pools")), "the pool gone")
    assert daemon.usage(ALICE)["bytes"] == "0"
    assert as_user(ALICE, use) != first, "another pool is another file"


def test_a_pool_stays_while_it_is_open(daemon):
    member = Member(daemon, BOB)
    assert Member(daemon, BOB).serial == member.serial
    inode = os.stat(pool_path(daemon, BOB)).st_ino
    holders = [as_user(ALICE, lambda: Member(daemon, ALICE).serial) for _ in range(3)]
    assert all(holders)
    wait_for(lambda: str(ALICE) not in os.listdir(daemon.path("pools")), "the other pool gone")
    assert os.stat(pool_path(daemon, BOB)).st_ino == inode


def test_pools_cannot_be_changed_as_files(daemon):
    path = pool_path(daemon, "shared")
    for change in (lambda: os.unlink(path), lambda: os.rename(path, path + "2"),
                   lambda: os.truncate(path, 0), lambda: os.mkdir(daemon.path("pools", "mine"))):
        with raises_errno(errno.EPERM):
            change()
    fd = track(os.open(path, os.O_RDWR))
    for change in (lambda: os.read(fd, 10), lambda: os.write(fd, b"x")):
        with raises_errno(errno.EINVAL):
            change()


# --- who may -------------------------------------------------------------------------------------

OPENS = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_NONBLOCK, os.O_RDWR | os.O_APPEND]


def try_all_opens(path):
    """The flags with which an open succeeds; none may shorten a pool."""
    done = []
    for flags in [*OPENS, os.O_RDWR | os.O_TRUNC]:
        try:
            os.close(os.open(path, flags))
            done.append(flags)
        except PermissionError:
            pass
    return done


def test_the_group_and_root_share_the_shared_pool(daemon):
    path = pool_path(daemon, "shared")
    assert try_all_opens(path) == OPENS
    assert as_user(MEMBER, try_all_opens, path, groups=[GROUP]) == OPENS
    assert as_user(MEMBER, try_all_opens, path, gid=GROUP) == OPENS


def test_nobody_else_can_open_the_shared_pool(daemon):
    assert not as_user(ALICE, try_all_opens, pool_path(daemon, "shared"))


def test_nobody_can_open_anothers_pool_but_root(daemon):
    held = Child(lambda: [Member(daemon, ALICE), select.select([], [], [])], uid=ALICE)
    path = pool_path(daemon, ALICE)
    wait_for(lambda: str(ALICE) in os.listdir(daemon.path("pools")), "a pool of ALICE")
    assert not as_user(BOB, try_all_opens, path, groups=[GROUP])
    assert try_all_opens(path) == OPENS
    held.kill()


def reopen_and_map(fd):
    """What somebody who was handed a read-only descriptor can make of it."""
    again = f"/proc/self/fd/{fd}"
    mapped = [protect(fd, mmap.MAP_SHARED, prot)
              for prot in (mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ)]
    return try_all_opens(again), mapped


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_PATH])
def test_a_descriptor_that_was_handed_on_gives_no_more_than_it_is(daemon, flags):
    fd = track(os.open(pool_path(daemon, "shared"), flags))
    opens, mapped = Child(reopen_and_map, fd, uid=ALICE, keep=[fd]).result()
    assert not opens
    denied = errno.EBADF if flags == os.O_PATH else errno.EACCES
    second = ("mmap", denied) if flags == os.O_PATH else ("mprotect", denied)
    assert mapped == [("mmap", denied), second]


def test_chmod_decides_for_later_opens_and_outlives_the_pool(fresh_daemon):
    server = fresh_daemon(f"[daemon]\ngroup = '{GROUP}'\n").start()
    path = pool_path(server, "shared")
    os.chmod(path, 0o600)
    assert not as_user(MEMBER, try_all_opens, path, groups=[GROUP])
    inode = os.stat(path).st_ino
    wait_for(lambda: os.listdir(server.path("pools")) and os.stat(path).st_ino == inode, "still there")
    with open(path, "rb"):
        pass
    os.chmod(path, 0o660)
    assert as_user(MEMBER, try_all_opens, path, groups=[GROUP]) == OPENS


# --- joining -------------------------------------------------------------------------------------

def test_joining_tells_the_geometry(daemon, unused):
    member = Member(daemon, "shared")
    assert [(size, count) for _, size, count in member.classes] == list(SIZES)
    assert member.memory[:8] == struct.pack("=Q", wire.numbers()["POOL_MAGIC"])
    assert member.answer["populated"] == 0
    assert member.answer["blocks"] == sum(count for _, count in SIZES)
    assert all(member.word(block) == (FREE, 0, 0) for block in range(member.answer["blocks"]))
    other = Member(daemon, "shared")
    assert (other.serial, other.holder != member.holder) == (member.serial, True)


def test_an_open_file_joins_once(daemon):
    member = Member(daemon, "shared")
    with raises_errno(errno.EBUSY):
        pools.join(member.fd)


def test_who_only_reads_cannot_join(daemon):
    fd = track(os.open(pool_path(daemon, "shared"), os.O_RDONLY))
    with raises_errno(errno.EBADF):
        pools.join(fd)


def test_nothing_is_to_be_had_before_joining(daemon, name):
    fd = track(os.open(pool_path(daemon, "shared"), os.O_RDWR))
    end = MappedEnd(daemon, name.pair()[0])
    with raises_errno(errno.ENOTCONN):
        pools.want_class(fd, 0)
    with raises_errno(errno.ENOTCONN):
        pools.join_end(fd, end.at["flow"])


def test_only_mapped_ends_of_the_caller_join(daemon, open_name):
    flow = open_name.pair()
    member = Member(daemon, "shared")
    with raises_errno(errno.ENOENT):
        pools.join_end(member.fd, wire.flow_id(flow[0]))
    with raises_errno(errno.ENOENT):
        pools.join_end(member.fd, 1 << 40)
    end = MappedEnd(daemon, flow[0])
    with raises_errno(errno.ENOENT):
        as_user(MEMBER, lambda: Member(daemon, "shared").join_end(end), groups=[GROUP])
    member.join_end(end)
    with raises_errno(errno.EBUSY):
        member.join_end(end)


@pytest.fixture
def flow(name):
    return name.pair()


@pytest.fixture
def ends(daemon, flow):
    return [MappedEnd(daemon, fd) for fd in flow]


def test_both_slots_tell_the_pool_that_both_ends_have_joined(daemon, ends):
    members = [Member(daemon, "shared") for _ in ends]
    assert members[0].join_end(ends[0]) != members[0].holder
    assert [end.shared_pool() for end in ends] == [0, 0]
    members[1].join_end(ends[1])
    assert [end.shared_pool() for end in ends] == [members[0].serial] * 2


def test_ends_in_different_pools_share_none(daemon, ends):
    members = [Member(daemon, pool) for pool in ("shared", 0)]
    for member, end in zip(members, ends):
        member.join_end(end)
    assert [end.shared_pool() for end in ends] == [0, 0]


def leave_by_detaching(_flow, end, _member):
    end.close()


def leave_by_closing_the_pool(_flow, _end, member):
    member.close()


def leave_by_ctl(flow, end, _member):
    write_text(os.path.join(end.folder, "ctl"), "close")
    assert flow


@pytest.mark.parametrize("leave", [leave_by_detaching, leave_by_closing_the_pool, leave_by_ctl])
def test_the_slots_tell_it_until_one_leaves(daemon, flow, ends, leave):
    members = [Member(daemon, "shared") for _ in ends]
    for member, end in zip(members, ends):
        member.join_end(end)
    leave(flow, ends[1], members[1])
    wait_for(lambda: ends[0].shared_pool() == 0, "no shared pool")


def test_an_end_can_join_again_after_it_has_left(daemon, ends):
    first, second = Member(daemon, "shared"), Member(daemon, "shared")
    first.join_end(ends[0])
    second.join_end(ends[1])
    first.close()
    wait_for(lambda: ends[1].shared_pool() == 0, "left")
    again = Member(daemon, "shared")
    again.join_end(ends[0])
    assert ends[1].shared_pool() == second.serial == again.serial


def test_an_end_that_joined_anew_stays_when_its_first_pool_file_is_closed(daemon, flow, ends):
    members = [Member(daemon, "shared") for _ in range(3)]
    for member, end in zip(members, ends):
        member.join_end(end)
    ends[0].close()
    wait_for(lambda: ends[1].shared_pool() == 0, "left")
    ends[1].follow()
    again = MappedEnd(daemon, flow[0])
    members[2].join_end(again)
    assert again.shared_pool() == members[1].serial
    members[0].close()  # the FLUSH of its owner, which close(2) waits for
    assert again.shared_pool() == members[1].serial


# --- what it costs whom --------------------------------------------------------------------------

def bytes_used(daemon, uid):
    return int(daemon.usage(uid)["bytes"])


def test_blocks_are_charged_when_their_class_is_wanted(daemon):
    def use():
        member = Member(daemon, ALICE)
        base = bytes_used(daemon, ALICE)
        pools.want_class(member.fd, 1)
        pools.want_class(member.fd, 1)
        one = bytes_used(daemon, ALICE) - base
        pools.want_class(member.fd, 2)
        return base, one, bytes_used(daemon, ALICE) - base - one
    base, one, two = as_user(ALICE, use)
    assert base >= 4096
    assert (one, two) == tuple(size * count for size, count in SIZES[1:])
    wait_for(lambda: bytes_used(daemon, ALICE) == 0, "all given back")


LARGE = 1 << 20, 64


@pytest.fixture
def large(fresh_daemon):
    """A daemon whose pools have a class that is not made on its loop."""
    return fresh_daemon(f"[pools]\npersonal = '256:64 {LARGE[0]}:{LARGE[1]}'\n").start()


def test_members_who_want_a_large_class_at_once_all_get_it(large):
    def use():
        member = Member(large, ALICE)
        return member.allocate(1, b"mine") in member.blocks_of(1)
    ready, told = os.pipe()

    def keep():
        member = Member(large, ALICE)
        os.write(told, b"!")
        signal.pause()
        member.close()
    keeper = Child(keep, uid=ALICE, keep=(told,))
    os.close(told)
    assert os.read(ready, 1) == b"!"
    os.close(ready)
    base = bytes_used(large, ALICE)
    for child in [Child(use, uid=ALICE) for _ in range(4)]:
        assert child.result()
    assert bytes_used(large, ALICE) == base + LARGE[0] * LARGE[1]
    keeper.kill()
    keeper.reap()
    wait_for(lambda: bytes_used(large, ALICE) == 0, "all given back")
    large.stop()


def test_who_is_killed_while_a_large_class_is_made_leaves_nothing(large):
    before = large.descriptors()
    for delay in (0, 1, 3, 10):
        def want():
            member = Member(large, ALICE)
            os.write(told, b"!")
            pools.want_class(member.fd, 1)
        ready, told = os.pipe()
        child = Child(want, uid=ALICE, keep=(told,))
        os.close(told)
        assert os.read(ready, 1) == b"!"
        os.close(ready)
        select.select([], [], [], delay / 1000)
        child.assert_dies()
        wait_for(lambda: set(large.usage(ALICE).values()) == {"0"}, "nothing charged to ALICE")
    large.wait_descriptors(before)
    large.stop()


def test_a_large_class_above_the_limit_is_not_to_be_had(large):
    def use():
        member = Member(large, ALICE)
        with raises_errno(errno.EDQUOT):
            pools.want_class(member.fd, 1)
        pools.want_class(member.fd, 0)
    as_user(ALICE, lambda: Member(large, ALICE).close())
    write_text(large.path("users", str(ALICE), "limits"), f"bytes {LARGE[0] * LARGE[1]}")
    as_user(ALICE, use)
    wait_for(lambda: bytes_used(large, ALICE) == 0, "all given back")
    large.stop()


def test_a_daemon_that_ends_while_a_large_class_is_made_answers(large):
    def want():
        member = Member(large, ALICE)
        os.write(told, b"!")
        try:
            pools.want_class(member.fd, 1)
        except OSError as error:
            return error.errno
        return 0
    ready, told = os.pipe()
    child = Child(want, uid=ALICE, keep=(told,))
    os.close(told)
    assert os.read(ready, 1) == b"!"
    os.close(ready)
    large.stop()
    assert child.result() in (0, errno.ECONNABORTED, errno.ENOTCONN, errno.EBADF)


def test_the_shared_pool_is_charged_to_root(daemon):
    staying = Member(daemon, "shared")
    pools.want_class(staying.fd, 1)
    before = bytes_used(daemon, 0)
    as_user(MEMBER, lambda: Member(daemon, "shared").allocate(2), groups=[GROUP])
    wait_for(lambda: bytes_used(daemon, 0) >= before + SIZES[2][0] * SIZES[2][1], "charged")


def test_blocks_above_the_limit_are_not_to_be_had(daemon):
    def use():
        member = Member(daemon, BOB)
        pools.want_class(member.fd, 0)
        with raises_errno(errno.EDQUOT):
            pools.want_class(member.fd, 2)
        with raises_errno(errno.EINVAL):
            pools.want_class(member.fd, len(SIZES))
        pools.want_class(member.fd, 1)
    as_user(BOB, lambda: Member(daemon, BOB).close())
    write_text(daemon.path("users", str(BOB), "limits"), "bytes 500000")
    as_user(BOB, use)
    write_text(daemon.path("users", str(BOB), "limits"), "bytes 1000")
    wait_for(lambda: bytes_used(daemon, BOB) == 0, "all given back")
    with raises_errno(errno.EDQUOT):
        as_user(BOB, os.open, pool_path(daemon, BOB), os.O_RDWR)
    write_text(daemon.path("users", str(BOB), "limits"), "bytes max")


def test_all_of_it_can_be_there_from_the_start(fresh_daemon):
    server = fresh_daemon(f"[pools]\nshared = '{NAMED}'\nprefault = true\n").start()
    wait_for(lambda: blocks(server, "shared", "free") == sum(count for _, count in SIZES), "a pool")
    assert bytes_used(server, 0) > sum(size * count for size, count in SIZES)
    assert Member(server, "shared").answer["populated"] == 0b111


def test_a_reload_changes_later_pools(fresh_daemon):
    server = fresh_daemon("[pools]\nshared = '64:1'\n").start()
    member = Member(server, "shared")
    write_text(server.config_path, "[pools]\nshared = '128:2 256:4'\n#")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reloaded" in server.log(), "a reload")
    assert Member(server, "shared").serial == member.serial, "in use, it stays"
    from harness import close_tracked  # pylint: disable=import-outside-toplevel
    member.memory.close()
    close_tracked()
    wait_for(lambda: blocks(server, "shared", "free") == 0, "it has gone")
    assert [(size, count) for _, size, count in Member(server, "shared").classes] == [(128, 2), (256, 4)]


# --- blocks in the lane --------------------------------------------------------------------------

def joined(daemon, ends, pool="shared"):
    """A member whose ends all are; the lane of the first."""
    member = Member(daemon, pool)
    return member, [member.join_end(end) for end in ends][0]


def test_what_a_mapped_peer_left_unread_is_read_as_a_file(daemon, flow, ends):
    member, lane = joined(daemon, ends)
    sent = [member.send(ends[0], lane, text) for text in (b"one", b"t" * 4096)]
    ends[0].send(b"inline")
    assert all(member.word(block)[0] == IN_FLIGHT for block in sent)
    ends[1].close()
    assert [os.read(flow[1], 5000) for _ in range(3)] == [b"one", b"t" * 4096, b"inline"]
    assert [member.word(block)[0] for block in sent] == [FREE, FREE]


def test_what_was_taken_back_is_skipped(daemon, flow, ends):
    member, lane = joined(daemon, ends)
    block = member.send(ends[0], lane, b"late")
    member.set_word(block, HELD, member.holder, member.word(block)[2])
    ends[0].send(b"late, copied")
    ends[1].close()
    assert os.read(flow[1], 100) == b"late, copied"


def test_blocks_of_another_pool_are_not_copied_out(daemon, flow, ends):
    """A sender names a block of a pool that it has not joined."""
    member, lane = joined(daemon, ends)
    stranger = Member(daemon, ALICE)
    block = stranger.allocate(1, b"secret")
    ends[0].send_block(stranger.serial, block, stranger.hand_over(block, lane), 0, 6)
    ends[0].send(b"after")
    ends[1].close()
    assert os.read(flow[1], 100) == b"after"
    assert member.serial != stranger.serial
    assert stranger.word(block)[0] == IN_FLIGHT


@pytest.mark.parametrize("block, offset, length", [
    (1 << 31, 0, 1), (0xFFFFFFFF, 0, 1), (64, 4095, 2), (64, 0xFFFFFFFF, 1), (64, 1, 4096)])
def test_impossible_blocks_are_skipped(daemon, flow, ends, block, offset, length):
    member, lane = joined(daemon, ends)
    generation = member.hand_over(member.allocate(1), lane)
    ends[0].send_block(member.serial, block, generation, offset, length)
    ends[0].send(b"after")
    ends[1].close()
    assert os.read(flow[1], 100) == b"after"


def test_the_stats_of_an_end_have_what_its_programs_count(daemon, flow):
    end = MappedEnd(daemon, flow[0])
    struct.pack_into("=QQQQ", end.tx, 512, 3, 5, 7, 0)
    path = daemon.path("flows", str(wire.flow_id(flow[0])), "stats")
    stats = dict(line.split() for line in read_text(path).splitlines())
    assert (stats["copies"], stats["waits"], stats["wake_ups"]) == ("3", "5", "7")


# --- what members leave behind -------------------------------------------------------------------

def hold_and_wait(daemon, pool, ready):
    member = Member(daemon, pool)
    for index in (0, 1, 1, 2):
        member.allocate(index)
    os.write(ready, b".")
    select.select([], [], [])


def start_holder(daemon, pool, **identity):
    done, ready = os.pipe()
    child = Child(hold_and_wait, daemon, pool, ready, keep=[ready], **identity)
    os.close(ready)
    assert os.read(done, 1) == b"."
    os.close(done)
    return child


@pytest.mark.parametrize("pool, identity", [("shared", {"uid": MEMBER, "groups": [GROUP]}),
                                            (ALICE, {"uid": ALICE})])
def test_what_a_killed_member_held_is_free_again(daemon, unused, pool, identity):
    staying = Member(daemon, pool)
    child = start_holder(daemon, pool, **identity)
    assert blocks(daemon, pool, "held") == 4
    assert blocks(daemon, pool, "held", 4096) == 2
    child.kill()
    child.reap()
    wait_all_free(daemon, pool)
    generations = [staying.word(block)[2] for block in range(staying.answer["blocks"])]
    assert sorted(generations)[-5:] == [0, 1, 1, 1, 1], "each freed once"


def test_a_child_that_keeps_the_file_open_keeps_no_blocks(daemon, unused):
    staying = Member(daemon, "shared")

    def hold_and_fork():
        member = Member(daemon, "shared")
        member.allocate(1)
        child = os.fork()
        if child == 0:
            procs.close_all_but({member.fd})
            select.select([], [], [])
        return child
    heir = as_user(0, hold_and_fork)
    try:
        wait_all_free(daemon, "shared")
        assert os.path.exists(f"/proc/{heir}/fd")
    finally:
        os.kill(heir, signal.SIGKILL)
    assert staying.holder


def test_what_is_held_by_the_living_stays(daemon, unused):
    member = Member(daemon, "shared")
    block = member.allocate(1)
    start_holder(daemon, "shared").kill()
    wait_for(lambda: blocks(daemon, "shared", "held") == 1, "one block held")
    assert member.word(block) == (HELD, member.holder, 0)


def test_blocks_under_way_wait_for_a_receiver_that_lives(daemon, name, ends):
    """The sender is gone: what its records name stays, what none names goes."""
    receiving = Member(daemon, "shared")
    receiving.join_end(ends[1])
    sending, lane = joined(daemon, ends[:1])
    named = sending.send(ends[0], lane, b"kept")
    lost = sending.allocate(1)
    sending.hand_over(lost, lane)
    generation = receiving.word(named)[2]
    ends[0].close()
    sending.close()
    wait_for(lambda: receiving.word(lost)[0] == FREE, "what no record names")
    assert receiving.word(named) == (IN_FLIGHT, lane, generation)
    ends[1].close()  # nobody will read it but the daemon
    wait_for(lambda: receiving.word(named)[0] == FREE, "copied out")
    assert name.name


def test_blocks_to_a_receiver_that_is_gone_are_freed(daemon, flow, ends):
    member, lane = joined(daemon, ends)
    sent = [member.send(ends[0], lane, b"x" * 100) for _ in range(3)]
    ends[1].tx.close(), ends[1].rx.close()
    close(flow[1])
    for fd in (ends[1].tx_fd, ends[1].rx_fd):
        os.close(fd)
    wait_for(lambda: [member.word(block)[0] for block in sent] == [FREE] * 3, "all three free")


def test_both_ends_gone_leave_nothing(daemon, unused, name):
    staying = Member(daemon, "shared")

    def talk():
        flow = name.pair()
        ends = [MappedEnd(daemon, fd) for fd in flow]
        member, lane = joined(daemon, ends)
        for _ in range(5):
            member.send(ends[0], lane, b"unread")
        member.allocate(0)
        os.kill(os.getpid(), signal.SIGKILL)
    child = Child(talk)
    child.reap()
    wait_all_free(daemon, "shared")
    assert staying.holder


# --- members that lie ----------------------------------------------------------------------------

def scribble(daemon, pool, seed):
    """Random bytes over all of a pool but the data."""
    member = Member(daemon, pool)
    chance = random.Random(seed)
    end = member.classes[0][0]
    for _ in range(50):
        member.memory[:end] = chance.randbytes(end)
        pools.want_class(member.fd, 0, exhausted=True)


@pytest.mark.parametrize("pool, identity, others", [
    (ALICE, {"uid": ALICE}, "shared"), ("shared", {"uid": MEMBER, "groups": [GROUP]}, BOB)])
def test_random_bytes_over_a_pool_spoil_that_pool_alone(daemon, name, pool, identity, others):
    other = Member(daemon, others)
    block = other.allocate(1, b"fine")
    word = other.word(block)
    for seed in range(3):
        as_user(identity["uid"], scribble, daemon, pool, seed, groups=identity.get("groups"))
        assert other.word(block) == word
        client, server = name.pair()
        os.write(client, b"hello")
        assert os.read(server, 9) == b"hello"
        close(client, server)
    wait_for(lambda: blocks(daemon, pool, "free") == 0, "the spoilt pool gone")
    assert Member(daemon, pool).word(0) == (FREE, 0, 0)


def test_messages_in_a_spoilt_pool_are_lost_and_nothing_else(daemon, flow, ends):
    member, lane = joined(daemon, ends)
    sent = [member.send(ends[0], lane, b"%d" % i * 100, index=0) for i in range(20)]
    chance = random.Random(1)
    for block in sent[5:]:
        member.set_word(block, chance.randrange(256), chance.randrange(1 << 24), chance.randrange(1 << 32))
    ends[0].send(b"not in the pool")
    ends[1].close()
    assert [os.read(flow[1], 1000)[:1] for _ in sent[:5]] == [b"0", b"1", b"2", b"3", b"4"]
    assert os.read(flow[1], 100) == b"not in the pool"


def test_a_word_that_makes_no_sense_is_freed_when_blocks_run_out(daemon):
    member = Member(daemon, "shared")
    pools.want_class(member.fd, 1)
    block = member.blocks_of(1)[3]
    before = daemon.metrics()[("flowfs_pool_exhausted_total", frozenset())]
    for state, number in ((77, 5), (HELD, 0xFFFFFF), (IN_FLIGHT, member.holder), (HELD, 0)):
        generation = member.word(block)[2]
        member.set_word(block, state, number, generation)
        pools.want_class(member.fd, 1, exhausted=True)
        assert member.word(block) == (FREE, 0, generation + 1)
    assert daemon.metrics()[("flowfs_pool_exhausted_total", frozenset())] == before + 4


# --- rest ----------------------------------------------------------------------------------------

def test_a_daemon_with_pools_and_nothing_to_do_makes_no_wake_ups(daemon, ends):
    member, lane = joined(daemon, ends)
    member.send(ends[0], lane, b"under way")
    member.allocate(0)
    wait_for(lambda: os.listdir(daemon.path("pools")) == ["shared"], "no other pool lingers")
    before = settle(daemon.process.pid)
    time.sleep(1)
    assert switches(daemon.process.pid) == before


def test_descriptors_are_given_back(daemon, name):
    def use(count):
        for _ in range(count):
            flow = name.pair()
            ends = [MappedEnd(daemon, fd) for fd in flow]
            member, lane = joined(daemon, ends, 0)
            member.send(ends[0], lane, b"x")
            member.close()
            for end, fd in zip(ends, flow):
                end.close()
                close(fd)
        wait_for(lambda: "0" not in os.listdir(daemon.path("pools")), "the pool gone")
    use(2)
    before = daemon.descriptors()
    use(50)
    daemon.wait_descriptors(before)


# --- without the direct way ----------------------------------------------------------------------

def test_everything_can_be_made_to_go_through_the_daemon(fresh_daemon):
    server = fresh_daemon("[daemon]\ndirect = false\n[[name]]\nname = 'log'\n").start()
    flow = server.name("log").pair()
    with raises_errno(errno.EOPNOTSUPP):
        MappedEnd(server, flow[0])
    os.write(flow[0], b"through the daemon")
    assert os.read(flow[1], 100) == b"through the daemon"


def test_so_can_what_goes_to_one_name(fresh_daemon):
    server = fresh_daemon("[[name]]\nname = 'log'\ndirect = false\n[[name]]\nname = 'fast'\n").start()
    with raises_errno(errno.EOPNOTSUPP):
        MappedEnd(server, server.name("log").pair()[0])
    flow = server.name("fast").pair()
    MappedEnd(server, flow[0]).send(b"mapped")
    set_nonblock(flow[1], False)
    assert os.read(flow[1], 100) == b"mapped"


def test_a_name_asks_for_it_and_its_later_flows_do(daemon, name):
    before = name.pair()
    name.set("direct", 0)
    flow = name.pair()
    with raises_errno(errno.EOPNOTSUPP):
        MappedEnd(daemon, flow[0])
    os.write(flow[0], b"through the daemon")
    assert os.read(flow[1], 100) == b"through the daemon"
    name.set("direct", 1)
    for pair in (before, name.pair()):
        MappedEnd(daemon, pair[0]).send(b"mapped")
        assert os.read(pair[1], 100) == b"mapped"


# --- locked --------------------------------------------------------------------------------------

def locked_bytes(daemon):
    """Of the daemon's memory; nothing else of it is locked."""
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmLck:"))


@pytest.mark.parametrize("limit, lock, is_locked", [
    (4 << 20, "true", True), (4096, "true", False), (4 << 20, "false", False)],
    ids=["allowed", "not allowed", "not wanted"])
def test_pools_are_kept_out_of_swap_where_that_is_allowed(fresh_daemon, limit, lock, is_locked):
    if is_sanitized():
        pytest.skip("sanitizers make mlock do nothing")
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if resource.RLIM_INFINITY != most < limit:
        pytest.skip(f"no more than {most} bytes may be locked here")
    server = fresh_daemon(f"[pools]\nshared = '{NAMED}'\nlock = {lock}\n", limits=lambda: resource.setrlimit(
        resource.RLIMIT_MEMLOCK, (limit, limit))).start()
    member, so_far = Member(server, "shared"), 0
    for index, (size, count) in enumerate(SIZES):
        member.allocate(index, b"there, locked or not")
        so_far += size * count
        assert locked_bytes(server) >= so_far if is_locked else locked_bytes(server) == 0
    refused = limit == 4096
    assert server.log().count("pools may be swapped out") == refused, "told once, and it goes on"
