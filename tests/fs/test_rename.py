# SPDX-License-Identifier: BSD-3-Clause
"""names/: rename, exchange, aliases, and who may chmod and chown."""

import errno
import os
import stat

import pytest
from harness import is_mounted
from procs import Child, as_user, sh
from sysc import RENAME_EXCHANGE, RENAME_NOREPLACE, raises_errno, rename2

ALICE, BOB = 61001, 61002
FILES = {"accept": 0o600, "dial": 0o600, "backlog": 0o644, "dial_timeout": 0o644,
         "balance": 0o644, "mtu": 0o644, "depth": 0o644, "direct": 0o644, "qos": 0o644,
         "stats": 0o444, "security": 0o700}


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def modes_below(path):
    return {name: mode_of(os.path.join(path, name)) for name in os.listdir(path)}


# --- rename ------------------------------------------------------------------------------------

def test_mv_renames(daemon, name):
    to = daemon.name("renamed")
    inode = os.stat(name.path).st_ino
    sh(f"mv {name.path} {to.path}")
    assert os.stat(to.path).st_ino == inode
    assert modes_below(to.path) == FILES
    with raises_errno(errno.ENOENT):
        os.stat(name.path)


def test_rename_keeps_settings_and_modes(daemon, name):
    name.set("backlog", 7)
    os.chmod(name.dial, 0o666)
    to = daemon.name("renamed")
    os.rename(name.path, to.path)
    assert to.get("backlog") == "7"
    assert mode_of(to.dial) == 0o666


def test_a_flow_survives_the_renaming_of_its_name(daemon, name):
    client, server = name.pair()
    os.rename(name.path, daemon.path("names", "renamed"))
    os.write(client, b"still")
    assert os.read(server, 100) == b"still"


def test_those_who_wait_follow_the_renamed_name(daemon, name):
    server = Child(os.open, name.accept, os.O_RDWR)
    daemon.wait_states(accept_pending=1)
    to = daemon.name("renamed")
    os.rename(name.path, to.path)
    to.open_dial()
    server.result()


@pytest.mark.parametrize("flags", [0, RENAME_NOREPLACE])
def test_rename_over_an_existing_name_fails(daemon, name, flags):
    other = daemon.path("names", "other")
    os.mkdir(other)
    inodes = os.stat(name.path).st_ino, os.stat(other).st_ino
    with raises_errno(errno.EEXIST):
        rename2(name.path, other, flags)
    assert inodes == (os.stat(name.path).st_ino, os.stat(other).st_ino)


def test_rename_noreplace_to_a_new_name_works(daemon, name):
    rename2(name.path, daemon.path("names", "fresh"), RENAME_NOREPLACE)
    assert os.listdir(daemon.path("names")) == ["fresh"]


def test_rename_onto_itself_does_nothing(name):
    os.rename(name.path, name.path)
    assert modes_below(name.path) == FILES


def test_exchange_swaps_two_names(daemon, name):
    other = daemon.name("other")
    os.mkdir(other.path)
    other.set("backlog", 3)
    rename2(name.path, other.path, RENAME_EXCHANGE)
    assert (name.get("backlog"), other.get("backlog")) == ("3", "128")


def test_exchange_swaps_a_service_for_waiting_servers(daemon, name):
    other = daemon.name("other")
    os.mkdir(other.path)
    old = Child(os.open, name.accept, os.O_RDWR)
    daemon.wait_states(accept_pending=1)
    new = Child(os.open, other.accept, os.O_RDWR)
    daemon.wait_states(accept_pending=2)
    rename2(name.path, other.path, RENAME_EXCHANGE)
    name.open_dial()
    new.result()
    assert not old.finished(0.05)


def test_exchange_needs_both(daemon, name):
    with raises_errno(errno.ENOENT):
        rename2(name.path, daemon.path("names", "none"), RENAME_EXCHANGE)


def test_rename_out_of_names_is_refused_and_not_as_another_device(daemon, name):
    for target in ("moved", "flows/moved", "users/moved"):
        with raises_errno(errno.EPERM):
            os.rename(name.path, daemon.path(target))
    other = daemon.path("names", "other")
    os.mkdir(other)
    with raises_errno(errno.EPERM):
        os.rename(name.path, os.path.join(other, "moved"))


def test_the_files_of_a_name_cannot_be_renamed(daemon, name):
    with raises_errno(errno.EPERM):
        os.rename(name.dial, name.file("dial2"))
    with raises_errno(errno.EPERM):
        os.rename(name.dial, name.accept)
    with raises_errno(errno.EPERM):
        os.rename(name.dial, daemon.path("names", "dial"))


@pytest.mark.parametrize("bad", [".hidden", "two words", "a+b"])
def test_rename_to_an_invalid_name_is_refused(daemon, name, bad):
    with raises_errno(errno.EINVAL):
        os.rename(name.path, daemon.path("names", bad))
    assert os.listdir(daemon.path("names")) == [name.name]


def test_somebody_else_may_not_rename(daemon):
    path = daemon.path("names", "alices")
    as_user(ALICE, os.mkdir, path, 0o777)
    with raises_errno(errno.EPERM):
        as_user(BOB, os.rename, path, daemon.path("names", "bobs"))
    as_user(ALICE, os.rename, path, daemon.path("names", "still-alices"))


# --- aliases -----------------------------------------------------------------------------------

def test_an_alias_leads_to_the_name(daemon, name):
    alias = daemon.path("names", "alias")
    sh(f"ln -s {name.name} {alias}")
    assert os.readlink(alias) == name.name
    server = Child(os.open, os.path.join(alias, "accept"), os.O_RDWR)
    daemon.wait_states(accept_pending=1)
    name.open_dial()
    server.result()


def test_an_alias_is_listed_as_a_link(daemon, name):
    os.symlink(name.name, daemon.path("names", "alias"))
    kinds = {entry.name: entry.is_symlink() for entry in os.scandir(daemon.path("names"))}
    assert kinds == {name.name: False, "alias": True}
    assert os.lstat(daemon.path("names", "alias")).st_size == len(name.name)


def test_rm_takes_an_alias_and_leaves_the_name(daemon, name):
    alias = daemon.path("names", "alias")
    os.symlink(name.name, alias)
    with raises_errno(errno.ENOTDIR):
        os.rmdir(alias)
    sh(f"rm {alias}")
    assert os.listdir(daemon.path("names")) == [name.name]


def test_a_dangling_alias_gives_enoent(daemon):
    os.symlink("nobody", daemon.path("names", "alias"))
    with raises_errno(errno.ENOENT):
        os.open(daemon.path("names", "alias", "dial"), os.O_RDWR)


def test_an_alias_over_a_name_is_refused(daemon, name):
    with raises_errno(errno.EEXIST):
        os.symlink("x", name.path)
    os.symlink("x", daemon.path("names", "alias"))
    with raises_errno(errno.EISDIR):  # the kernel's answer, for any file over any directory
        os.rename(daemon.path("names", "alias"), name.path)


def test_ln_sfn_points_an_alias_elsewhere(daemon, name):
    alias = daemon.path("names", "alias")
    sh(f"ln -s old {alias} && ln -sfn {name.name} {alias}")
    assert os.readlink(alias) == name.name


def test_aliases_are_made_in_names_only(daemon, name):
    for place in (daemon.mount, name.path, daemon.path("flows"), daemon.path("users")):
        with raises_errno(errno.EPERM, errno.EACCES):
            os.symlink("x", os.path.join(place, "alias"))


def test_an_alias_has_the_characters_of_a_name(daemon):
    with raises_errno(errno.EINVAL):
        os.symlink("x", daemon.path("names", "two words"))


def test_somebody_else_may_not_remove_an_alias(daemon):
    path = daemon.path("names", "alias")
    as_user(ALICE, os.symlink, "x", path)
    assert os.lstat(path).st_uid == ALICE
    with raises_errno(errno.EPERM):
        as_user(BOB, os.unlink, path)
    as_user(ALICE, os.unlink, path)


# --- chmod, chown ------------------------------------------------------------------------------

@pytest.mark.parametrize("file", ["", *FILES])
def test_chmod_and_chown_hold(name, file):
    path = name.file(file)
    os.chmod(path, 0o511)
    os.chown(path, ALICE, BOB)
    found = os.stat(path)
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o511, ALICE, BOB)


def test_chmod_of_one_file_leaves_the_others(name):
    os.chmod(name.dial, 0o666)
    assert modes_below(name.path) == {**FILES, "dial": 0o666}


def test_chmod_by_a_stranger_is_refused(name):
    with raises_errno(errno.EPERM):
        as_user(ALICE, os.chmod, name.path, 0o777)
    with raises_errno(errno.EPERM):
        as_user(ALICE, os.chown, name.path, ALICE, ALICE)


def test_an_owner_gives_the_group_away_to_groups_of_his_only(daemon):
    path = daemon.path("names", "alices")
    as_user(ALICE, os.mkdir, path)
    as_user(ALICE, os.chown, path, -1, BOB, groups=[BOB])
    assert os.stat(path).st_gid == BOB
    with raises_errno(errno.EPERM):
        as_user(ALICE, os.chown, path, -1, 61999, groups=[BOB])


def test_set_id_and_sticky_bits_do_no_harm(name):
    os.chmod(name.dial, 0o6777)
    assert mode_of(name.dial) & 0o777 == 0o777


def test_times_can_be_touched(name):
    sh(f"touch {name.path}")


def test_user_attributes_are_not_supported(name):
    with raises_errno(errno.EOPNOTSUPP):
        os.setxattr(name.path, "user.note", b"x")


def test_the_mount_is_still_there_after_all_this(daemon):
    assert is_mounted(daemon.mount)
