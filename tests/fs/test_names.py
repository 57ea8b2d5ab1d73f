# SPDX-License-Identifier: BSD-3-Clause
"""The tree and names/: what mkdir makes, what rmdir takes, and what cannot be made."""

import errno
import os
import socket
import stat

import pytest
from harness import close
from procs import Child, as_user, sh
from sysc import raises_errno

ALICE, BOB = 61001, 61002
FILES = {"accept": 0o600, "dial": 0o600, "backlog": 0o644, "dial_timeout": 0o644,
         "balance": 0o644, "mtu": 0o644, "depth": 0o644, "qos": 0o644, "direct": 0o644,
         "stats": 0o444, "security": 0o700}


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def modes_below(path):
    return {name: mode_of(os.path.join(path, name)) for name in os.listdir(path)}


# --- the tree ----------------------------------------------------------------------------------

def test_the_root_holds_what_the_contract_lists_and_nothing_of_later_steps(daemon):
    found = set(os.listdir(daemon.mount))
    assert {"README", "version", "metrics", "events", "names", "flows", "users", "pools",
            "buses"} == found


@pytest.mark.parametrize("node, kind, mode", [
    ("README", stat.S_IFREG, 0o444), ("version", stat.S_IFREG, 0o444),
    ("metrics", stat.S_IFREG, 0o444), ("events", stat.S_IFREG, 0o444),
    ("names", stat.S_IFDIR, 0o1777), ("flows", stat.S_IFDIR, 0o555),
    ("users", stat.S_IFDIR, 0o555), ("pools", stat.S_IFDIR, 0o555), (".", stat.S_IFDIR, 0o755)])
def test_a_root_node_has_its_kind_and_mode(daemon, node, kind, mode):
    found = os.stat(daemon.path(node))
    assert stat.S_IFMT(found.st_mode) == kind
    if node in ("names", "flows", "users", "pools", "README", "version"):
        assert stat.S_IMODE(found.st_mode) == mode
    assert (found.st_uid, found.st_gid) == (0, 0)


def test_the_mount_has_the_options_that_keep_it_harmless(daemon):
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        line, = [line for line in file if line.split()[4] == daemon.mount]
    options = set(line.split()[5].split(",")) | set(line.split()[-1].split(","))
    assert {"nosuid", "nodev", "noexec", "default_permissions", "allow_other"} <= options


def test_readme_fits_a_screen(daemon):
    with open(daemon.path("README"), encoding="ascii") as file:
        lines = file.read().splitlines()
    assert 5 <= len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_version_names_the_three_versions(daemon):
    with open(daemon.path("version"), encoding="ascii") as file:
        text = file.read()
    assert text.startswith("flowfs ")
    assert len(text.splitlines()) >= 3


def test_statfs_answers(daemon):
    assert os.statvfs(daemon.mount).f_namemax == 255


# --- mkdir -------------------------------------------------------------------------------------

def test_mkdir_makes_the_name_with_all_its_files(daemon, name):
    assert modes_below(name.path) == FILES
    folders = {file for file in FILES if stat.S_ISDIR(os.stat(name.file(file)).st_mode)}
    assert folders == {"security"}
    assert all(stat.S_ISREG(os.stat(name.file(file)).st_mode) for file in FILES.keys() - folders)


def test_a_name_belongs_to_whoever_made_it(daemon):
    path = daemon.path("names", "alices")
    as_user(ALICE, os.mkdir, path, gid=BOB)
    nodes = [path, *(os.path.join(path, file) for file in FILES)]
    assert {(os.stat(node).st_uid, os.stat(node).st_gid) for node in nodes} == {(ALICE, BOB)}


@pytest.mark.parametrize("umask, directory, dial", [
    (0o022, 0o755, 0o600), (0o077, 0o700, 0o600), (0o002, 0o775, 0o660),
    (0o000, 0o777, 0o666), (0o020, 0o757, 0o606)])
def test_modes_follow_the_umask(daemon, umask, directory, dial):
    path = daemon.path("names", "masked")
    as_user(ALICE, os.mkdir, path, umask=umask)
    assert mode_of(path) == directory
    assert modes_below(path) == {**FILES, "dial": dial}


@pytest.mark.parametrize("asked, dial", [(0o700, 0o600), (0o720, 0o660), (0o702, 0o606), (0o750, 0o600)])
def test_modes_follow_the_mode_that_mkdir_asked_for(daemon, asked, dial):
    path = daemon.path("names", "asked")
    as_user(ALICE, os.mkdir, path, asked, umask=0)
    assert mode_of(path) == asked
    assert mode_of(os.path.join(path, "dial")) == dial


def test_the_modes_are_computed_once(daemon, name):
    os.chmod(name.path, 0o777)
    assert modes_below(name.path) == FILES


def test_mkdir_of_an_existing_name_fails(name):
    with raises_errno(errno.EEXIST):
        os.mkdir(name.path)


@pytest.mark.parametrize("good", ["a", "A9", "log.d", "x_y", "host:80", "me@here", "-dash", "_", "9",
                                  "a..b", "x" * 255])
def test_a_valid_name_is_taken(daemon, good):
    os.mkdir(daemon.path("names", good))
    assert good in os.listdir(daemon.path("names"))


@pytest.mark.parametrize("bad", [".hidden", "..x", "two words", "plus+", "star*", "semi;", "new\nline",
                                 "tab\t", "\x7f", "\x01", "übel", "a\\b", "quote'", "a=b", "a,b", "~a"])
def test_an_invalid_name_is_refused(daemon, bad):
    with raises_errno(errno.EINVAL):
        os.mkdir(daemon.path("names", bad))
    assert not os.listdir(daemon.path("names"))


def test_bytes_that_are_no_utf8_are_refused(daemon):
    with raises_errno(errno.EINVAL):
        os.mkdir(os.fsencode(daemon.path("names")) + b"/\xff\xfe")


def test_256_characters_are_too_long(daemon):
    with raises_errno(errno.ENAMETOOLONG):
        os.mkdir(daemon.path("names", "x" * 256))


def test_looking_up_what_is_not_there_gives_enoent(daemon, name):
    for path in ("names/none", "names/.hidden", "names/two words", f"names/{name.name}/none",
                 f"names/{name.name}/security/none", "flows/1", "flows/x", "flows/0", "users/4711", "none"):
        with raises_errno(errno.ENOENT):
            os.stat(daemon.path(path))


@pytest.mark.parametrize("place", [".", "flows", "users", "names/{}"])
def test_directories_are_made_in_names_only(daemon, name, place):
    with raises_errno(errno.EPERM, errno.EACCES):
        os.mkdir(daemon.path(place.format(name.name), "sub"))


def test_an_inode_number_is_not_used_twice(daemon):
    path, seen = daemon.path("names", "again"), set()
    for _ in range(50):
        os.mkdir(path)
        numbers = {os.stat(path).st_ino} | {os.stat(os.path.join(path, f)).st_ino for f in FILES}
        assert len(numbers) == 1 + len(FILES)
        assert not numbers & seen
        seen |= numbers
        os.rmdir(path)


def test_the_inode_number_of_a_message_file_is_constant(name):
    assert len({os.stat(name.dial).st_ino for _ in range(10)}) == 1


def test_listing_shows_each_of_500_names_once(daemon):
    names = {f"n{i}" for i in range(500)}
    for made in names:
        os.mkdir(daemon.path("names", made))
    listed = os.listdir(daemon.path("names"))
    assert len(listed) == 500 and set(listed) == names


def test_listing_while_names_come_and_go_keeps_those_that_stay(daemon):
    stay = {f"stay{i:03}" for i in range(300)}
    for made in stay:
        os.mkdir(daemon.path("names", made))
    with os.scandir(daemon.path("names")) as entries:
        first = [next(entries).name for _ in range(10)]
        for i in range(50):
            os.mkdir(daemon.path("names", f"come{i}"))
        os.rmdir(daemon.path("names", first[0]))
        listed = first + [entry.name for entry in entries]
    assert len(listed) == len(set(listed))
    assert stay <= set(listed)


def test_ls_shows_types_and_modes(daemon, name):
    lines = sh(f"ls -l {name.path}").out.splitlines()[1:]
    assert {line.split()[-1]: line.split()[0] for line in lines}["backlog"] == "-rw-r--r--"


def test_find_walks_the_tree_without_a_complaint(daemon, name):
    found = sh(f"find {daemon.mount} -printf '%P\\n'")
    assert found.err == ""
    assert f"names/{name.name}/dial" in found.out.splitlines()


# --- rmdir, unlink and other ways to make or lose nodes ----------------------------------------

def test_rmdir_takes_the_name_with_its_files(name):
    os.rmdir(name.path)
    with raises_errno(errno.ENOENT):
        os.stat(name.path)
    with raises_errno(errno.ENOENT):
        os.open(name.dial, os.O_RDWR)


def test_rmdir_is_refused_while_a_server_waits(daemon, name):
    server = Child(os.open, name.accept, os.O_RDWR)
    daemon.wait_states(accept_pending=1)
    with raises_errno(errno.EBUSY):
        os.rmdir(name.path)
    server.kill()
    server.reap()
    daemon.wait_states(accept_pending=0)
    os.rmdir(name.path)


def test_rmdir_after_the_last_user_has_been_waited_for(daemon):
    """However many it had open: the closes come to the daemon before what follows them."""
    name = daemon.name("busy")

    def open_many():
        for _ in range(300):
            name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    for _ in range(5):
        os.mkdir(name.path)
        Child(open_many).result()
        os.rmdir(name.path)


@pytest.mark.parametrize("survivor", [0, 1])
def test_rmdir_is_refused_while_an_end_is_alive(daemon, name, survivor):
    ends = name.pair()
    with raises_errno(errno.EBUSY):
        os.rmdir(name.path)
    close(ends[1 - survivor])
    with raises_errno(errno.EBUSY):
        os.rmdir(name.path)
    close(ends[survivor])
    os.rmdir(name.path)


def test_rmdir_ends_a_waiting_dial_with_enoent(daemon, name):
    client = Child(os.open, name.dial, os.O_RDWR)
    daemon.wait_states(alloc_pending=1)
    os.rmdir(name.path)
    with raises_errno(errno.ENOENT):
        client.result()


def test_rmdir_of_what_is_not_there_fails(daemon):
    with raises_errno(errno.ENOENT):
        os.rmdir(daemon.path("names", "none"))


@pytest.mark.parametrize("place", ["names", "flows", "users"])
def test_the_folders_of_the_root_stay(daemon, place):
    with raises_errno(errno.EPERM, errno.EBUSY, errno.EACCES):
        os.rmdir(daemon.path(place))
    assert os.path.isdir(daemon.path(place))


def test_somebody_else_may_not_remove_a_name(daemon):
    path = daemon.path("names", "alices")
    as_user(ALICE, os.mkdir, path, 0o777)
    with raises_errno(errno.EPERM):
        as_user(BOB, os.rmdir, path)
    as_user(ALICE, os.rmdir, path)


def test_root_may_remove_any_name(daemon):
    path = daemon.path("names", "alices")
    as_user(ALICE, os.mkdir, path)
    os.rmdir(path)


def test_unlink_of_a_file_of_a_name_is_refused(name):
    for file in FILES:
        with raises_errno(errno.EISDIR if file == "security" else errno.EPERM):
            os.unlink(name.file(file))
    with raises_errno(errno.EPERM):
        os.rmdir(name.file("security"))
    assert modes_below(name.path) == FILES


def test_unlink_of_a_name_is_refused(name):
    with raises_errno(errno.EISDIR):
        os.unlink(name.path)


def test_rm_r_fails_and_takes_nothing(name):
    assert sh(f"rm -r {name.path}", check=False).status != 0
    assert modes_below(name.path) == FILES


def test_unlink_at_the_root_is_refused(daemon):
    for file in ("README", "version", "metrics", "events"):
        with raises_errno(errno.EPERM):
            os.unlink(daemon.path(file))


@pytest.mark.parametrize("place", [".", "names", "names/{}", "flows", "users"])
def test_creating_an_unknown_file_is_refused(daemon, name, place):
    path = daemon.path(place.format(name.name), "unknown")
    with raises_errno(errno.EACCES):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    assert "Permission denied" in sh(f"touch {path}", check=False).err


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFREG])
def test_mknod_is_refused(daemon, name, kind):
    for folder in (daemon.path("names"), name.path):
        with raises_errno(errno.EPERM):
            os.mknod(os.path.join(folder, "node"), kind | 0o600, os.makedev(1, 3))


def test_binding_a_socket_is_refused(daemon):
    with socket.socket(socket.AF_UNIX) as sock, raises_errno(errno.EPERM):
        sock.bind(daemon.path("names", "socket"))


def test_hard_links_are_refused(daemon, name):
    for source in (name.dial, name.file("mtu"), daemon.path("README")):
        with raises_errno(errno.EPERM):
            os.link(source, daemon.path("names", "link"))
        assert sh(f"ln {source} {daemon.path('names', 'link')}", check=False).status == 1
