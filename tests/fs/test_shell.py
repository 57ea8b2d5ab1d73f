# SPDX-License-Identifier: BSD-3-Clause
"""What people type: echo, cat, exec, dd, tee, read, timeout, in bash."""

import os

import pytest
from harness import write_text
from procs import sh


@pytest.fixture
def run(daemon, name):
    """Runs a script with $D and $A, the two files of a new name, and $F, the folder flows."""
    def go(script, **kwargs):
        # wait_up COUNT STATE: until that many flows are in the state. Polls as a script would.
        prelude = """set -u
        wait_up() { local n; for n in $(seq 2000); do
            [ "$(cat $F/*/state 2>/dev/null | grep -c "^$2$")" = "$1" ] && return; sleep 0.005; done
            echo "never $1 $2" >&2; exit 99; }
        """
        return sh(prelude + script, D=name.dial, A=name.accept, F=daemon.path("flows"),
                  N=name.path, **kwargs)
    return go


def test_echo_to_a_waiting_cat(run):
    assert run("cat $A & wait_up 1 accept-pending; echo hi > $D; wait").out == "hi\n"


def test_echo_before_cat(run):
    assert run("echo hi > $D & wait_up 1 alloc-pending; cat $A; wait").out == "hi\n"


def test_a_server_reads_after_the_client_has_gone(run):
    out = run("""{ wait_up 1 dealloc-pending; cat; } < $A &
                 wait_up 1 accept-pending; echo hi > $D; wait""").out
    assert out == "hi\n"


def test_a_server_in_a_loop_serves_many(run):
    out = run("""for i in 1 2 3 4 5; do cat $A; done &
                 for i in 1 2 3 4 5; do echo line $i > $D; done; wait""").out
    assert sorted(out.splitlines()) == [f"line {i}" for i in range(1, 6)]


def test_exec_gives_both_directions(run):
    out = run("""{ read -r question <&4; echo "answer to $question" >&4; } 4<>$A &
                 exec 3<>$D; echo question >&3; head -n 1 <&3; exec 3>&-; wait""").out
    assert out == "answer to question\n"


def test_a_reader_and_a_writer_at_once_on_one_shell_descriptor(run):
    """The hang that FOPEN_STREAM avoids: cat <&3 waits while echo >&3 writes."""
    out = run("""{ read -r line <&4; echo "got $line" >&4; } 4<>$A &
                 exec 3<>$D
                 cat <&3 &
                 reader=$!
                 until grep -q request_wait_answer /proc/$reader/wchan; do sleep 0.005; done
                 echo hello >&3
                 exec 3>&-
                 wait""").out
    assert out == "got hello\n"


def test_a_chat_of_many_lines_both_ways(run):
    out = run("""{ while read -r line; do echo "re: $line"; done; } <>$A >&0 &
                 exec 3<>$D
                 for i in $(seq 30); do echo "$i" >&3; read -r reply <&3; echo "$reply"; done
                 exec 3>&-; wait""").out
    assert out.splitlines() == [f"re: {i}" for i in range(1, 31)]


def test_appending_redirection(run):
    assert run("cat $A & wait_up 1 accept-pending; echo hi >> $D; wait").out == "hi\n"


def test_a_group_of_commands_sends_a_message_each(run):
    assert run("cat $A & { echo one; echo two; printf three; } > $D; wait").out == "one\ntwo\nthree"


def test_dd_sends_its_blocks_and_receives_them(run):
    out = run("""dd if=$A bs=4096 2>/dev/null | sha256sum &
                 head -c 1000000 /dev/zero | tr '\\0' x > /tmp/dd.$$; sha256sum < /tmp/dd.$$
                 dd if=/tmp/dd.$$ of=$D bs=4096 conv=notrunc 2>/dev/null; rm /tmp/dd.$$; wait""").out
    first, second = out.splitlines()
    assert first == second


def test_dd_without_notrunc_works_too(run):
    out = run("cat $A & printf abc | dd of=$D bs=3 status=none; wait").out
    assert out == "abc"


def test_dd_keeps_boundaries_with_count(run):
    out = run("""{ dd bs=100 count=2 status=none; } < $A &
                 { echo one; echo two; echo three; } > $D 2>/dev/null; wait""", check=False).out
    assert out == "one\ntwo\n"


def test_tee_a(run):
    out = run("""cat $A > /tmp/tee.$$ & wait_up 1 accept-pending
                 echo both | tee -a $D; wait; cat /tmp/tee.$$; rm /tmp/tee.$$""").out
    assert out == "both\nboth\n"


def test_read_takes_a_line_byte_by_byte_and_leaves_the_rest(run):
    out = run("""{ read -r one; read -r two; echo "$one,$two"; cat; } < $A &
                 printf 'one\\ntwo\\nrest\\n' > $D; wait""").out
    assert out == "one,two\nrest\n"


def test_mapfile_reads_to_the_end(run):
    out = run("""{ mapfile -t lines; echo ${#lines[@]}; } < $A &
                 seq 20 > $D; wait""").out
    assert out == "20\n"


def test_timeout_ends_a_cat_that_waits(run):
    assert run("timeout 0.2 cat $A", check=False).status == 124


def test_timeout_ends_a_dial_that_waits(run):
    assert run("timeout 0.2 bash -c 'echo hi > $D'", check=False).status == 124


def test_timeout_ends_a_cat_of_a_silent_flow(run):
    done = run("""{ wait_up 1 dealloc-pending; } <>$A &
                  exec 3<>$D; timeout 0.2 cat <&3; echo $?; exec 3>&-; wait""")
    assert done.out == "124\n"


def test_kill_of_a_background_cat(run):
    run("cat $A & pid=$!; wait_up 1 accept-pending; kill $pid; wait $pid; [ $? = 143 ]; "
        "wait_up 0 accept-pending")


def test_a_pipeline_over_a_flow(run):
    out = run("sort -n $A & shuf -i 1-500 > $D; wait").out
    assert out.splitlines() == [str(i) for i in range(1, 501)]


def test_a_large_file_through_cat(run):
    out = run("""head -c 20000000 /dev/urandom > /tmp/big.$$
                 sha256sum < $A & sha256sum < /tmp/big.$$; cat /tmp/big.$$ > $D; rm /tmp/big.$$; wait
              """, timeout_s=30).out
    first, second = out.splitlines()
    assert first == second


def test_cp_sends_a_file(run):
    out = run("cat $A & echo copied > /tmp/cp.$$; cp /tmp/cp.$$ $D; rm /tmp/cp.$$; wait").out
    assert out == "copied\n"


def test_head_that_leaves_breaks_the_senders_pipe(run):
    out = run("""head -n 1 $A & { trap '' PIPE; while echo y; do :; done; } > $D 2>/dev/null; wait""")
    assert out.out == "y\n"


def test_a_sender_without_a_receiver_gets_an_error_and_no_sigpipe(run):
    """The kernel signals for pipes and sockets only; here `yes` ends by what write tells it."""
    done = run("head -c 1 $A > /dev/null & yes > $D; echo $?; wait")
    assert done.out == "1\n" and "Broken pipe" in done.err


def test_noclobber_refuses(run):
    done = run("set -C; echo hi > $D", check=False)
    assert done.status != 0 and "cannot overwrite" in done.err


def test_a_refused_dial_shows_in_the_shell(run, name):
    name.set("dial_timeout", 0)
    done = run("echo hi > $D", check=False)
    assert done.status == 1 and "Connection refused" in done.err


def test_a_missing_name_shows_in_the_shell(run):
    done = run("echo hi > ${D/names/names/none}", check=False)
    assert done.status == 1 and "No such file" in done.err


def test_mkdir_and_rmdir_from_the_shell(run):
    run("mkdir ${N}x && [ -f ${N}x/dial ] && rmdir ${N}x && [ ! -e ${N}x ]")


def test_read_t_waits_for_the_message_all_the_same(run):
    """bash takes the file for a regular one and ignores `read -t`: documented in flowfs(7)."""
    out = run("""{ read -r -t 0.05 line; echo "$? $line"; } < $A &
                 exec 3>$D; sleep 0.3; echo late >&3; exec 3>&-; wait""").out
    assert out == "0 late\n"


def test_tail_wants_a_cat_in_front(run):
    assert run("cat $A | tail -n 1 & seq 5 > $D; wait").out == "5\n"


def test_tail_f_like_log_reader(run, name):
    write_text(name.file("backlog"), "max")
    out = run("""for i in $(seq 20); do echo "message $i" > $D & done
                 wait_up 20 alloc-pending
                 for i in $(seq 20); do cat $A; done; wait""").out
    assert sorted(out.splitlines()) == sorted(f"message {i}" for i in range(1, 21))


def test_xargs_and_while_read(run):
    out = run("while read -r w; do echo \"<$w>\"; done < $A & printf 'a\\nb\\nc\\n' > $D; wait").out
    assert out == "<a>\n<b>\n<c>\n"


def test_grep_and_awk_read_a_flow(run):
    out = run("awk '{ sum += $1 } END { print sum }' $A & seq 100 > $D; wait").out
    assert out == "5050\n"


def test_a_shell_server_answers_through_one_descriptor(run):
    out = run("""for i in 1 2 3; do
                   ( exec 5<>$A; read -r a b <&5; echo $((a + b)) >&5 )
                 done &
                 for i in 1 2 3; do ( exec 6<>$D; echo "$i 10" >&6; cat <&6 ); done; wait""").out
    assert out == "11\n12\n13\n"


def test_python_open_reads_lines(run):
    out = run("""python3 -c "
import sys
with open(sys.argv[1]) as f:
    for line in f: print(line.upper(), end='')" $A &
                 printf 'a\\nb\\n' > $D; wait""").out
    assert out == "A\nB\n"


def test_python_open_for_writing_sends(run):
    out = run("""cat $A & python3 -c "
import sys
with open(sys.argv[1], 'w') as f: print('from python', file=f)" $D; wait""").out
    assert out == "from python\n"


def test_perl_and_socat_can_carry_a_flow(run):
    out = run("cat $A & echo carried | perl -e 'open(F, \">\", $ENV{D}) or die; print F <STDIN>'; wait")
    assert out.out == "carried\n"


def test_nothing_of_the_scripts_is_left(daemon):
    assert not os.listdir(daemon.path("flows"))
