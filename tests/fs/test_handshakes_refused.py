# SPDX-License-Identifier: BSD-3-Clause
"""Trial 11 through the tree: certificates that the openssl command has made, each with one fault. Each
is refused with its errno and in the words of its reason, and the server that waits never hears of it."""

import errno
import os
import ssl
import statistics
import subprocess
import time

import lib
import pytest
from figures import record
from fixtures import long_run
from harness import Name, close
from lib import in_python
from procs import Child
from sysc import raises_errno
from test_storms import STORMERS, VICTIM, Storm, round_trips

NONBLOCK = os.O_RDWR | os.O_NONBLOCK

# Of each fault: how the certificate comes about, the errno, and the reason in the log.
GOOD = "sign ca URI:flowfs:$NAME $PURPOSE"
UNUSABLE = "what is configured for the name cannot be used"
FAULTS = {
    "untrusted": ("sign stranger URI:flowfs:$NAME $PURPOSE", errno.EKEYREJECTED,
                  "no authority that is trusted here has signed it"),
    "expired": (f"{GOOD} -startdate 20200101000000Z -enddate 20210101000000Z", errno.EKEYEXPIRED,
                "a certificate has expired"),
    "early": (f"{GOOD} -startdate 20900101000000Z -enddate 20910101000000Z", errno.EKEYREJECTED,
              "a certificate is not valid yet"),
    "revoked": (f"{GOOD}; by ca -revoke $DIR/crt.pem", errno.EKEYREVOKED,
                "a certificate has been revoked"),
    "unlisted": ("sign slow URI:flowfs:$NAME $PURPOSE", errno.EKEYREJECTED,
                 "the list of revoked certificates is not in force"),
    "misnamed": ("sign ca URI:flowfs:other $PURPOSE", errno.EKEYREJECTED,
                 "the certificate is for another name"),
    "wildcard": ("sign ca DNS:* $PURPOSE", errno.EKEYREJECTED,
                 "the certificate is for another name"),
    "common": ("sign ca '' $PURPOSE", errno.EKEYREJECTED,
               "the certificate has its name only as common name"),
    "misused": ("sign ca URI:flowfs:$NAME $OTHER_PURPOSE", errno.EKEYREJECTED,
                "the certificate is not for this purpose"),
    "by-leaf": ("sign leaf URI:flowfs:$NAME $PURPOSE; cat leaf.pem >>$DIR/crt.pem",
                errno.EKEYREJECTED, "a certificate in the chain may not sign others"),
    "altered": (GOOD, errno.EKEYREJECTED, "a signature in the chain does not fit"),
    "short": (f"openssl genrsa -out $DIR/key.pem 1024; request; {GOOD}", errno.EKEYREJECTED,
              UNUSABLE),
    "truncated": (f"{GOOD}; truncate -s -200 $DIR/crt.pem", errno.EKEYREJECTED, UNUSABLE),
    "half-key": (f"{GOOD}; truncate -s -20 $DIR/key.pem", errno.EKEYREJECTED, UNUSABLE),
    "other-key": (f"{GOOD}; new_key", errno.EKEYREJECTED, UNUSABLE),
    "locked-key": (f"{GOOD}; openssl pkey -in $DIR/key.pem -aes128 -passout pass:x -out locked; "
                   "cp locked $DIR/key.pem", errno.EKEYREJECTED, UNUSABLE),
}
# What the log says of the file, where the fault is found before anybody is asked.
OF_THE_FILE = {"short": "the key is of a kind or length that is not accepted",
               "truncated": "a certificate is malformed or cut short",
               "half-key": "the key is malformed or cut short",
               "other-key": "the key is not that of the (first) certificate",
               "locked-key": "the key is encrypted, and nobody is asked for its password"}
BAD_A_SECOND = 1_000
MAPPED_ROUND_TRIPS = 200_000 if long_run() else 10_000
PURPOSES = {"server": "PURPOSE=serverAuth; OTHER_PURPOSE=clientAuth",
            "client": "PURPOSE=clientAuth; OTHER_PURPOSE=serverAuth"}

FUNCTIONS = r"""
set -e; umask 077
authority() {
  openssl req -x509 -newkey ed25519 -nodes -keyout $1.key -out $1.pem -subj /CN=$1 -days 100 \
    -addext keyUsage=critical,keyCertSign,cRLSign
  register $1
}
register() {
  : >$1.index; echo 01 >$1.number
  cat >$1.cnf <<END
[ca]
default_ca = this
[this]
database = $1.index
crlnumber = $1.number
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = default
policy = names
[names]
commonName = supplied
END
}
by() { issuer=$1; shift; openssl ca -batch -notext -config $issuer.cnf -cert $issuer.pem -keyfile $issuer.key "$@"; }
sign() {  # ISSUER NAMES PURPOSE [dates]
  signer=$1
  printf "${2:+subjectAltName=$2\n}extendedKeyUsage=$3\n" >extensions
  shift 3
  [ $# -gt 0 ] || set -- -days 10
  by $signer -in request.csr -out $DIR/crt.pem -extfile extensions "$@"
}
new_key() { openssl genpkey -algorithm ED25519 -out $DIR/key.pem; }
request() { openssl req -new -key $DIR/key.pem -subj /CN=$NAME -out request.csr; }
fresh() { NAME=$2; DIR=$SECURITY/$1/$2; mkdir -p $DIR; new_key; request; }
"""


def script(folder):
    """Makes the folder, with a name for each fault of each side."""
    lines = [FUNCTIONS, f"SECURITY='{folder}'; mkdir -p $SECURITY/cacert $SECURITY/crl",
             "for one in ca stranger slow; do authority $one; done",
             "cp ca.pem slow.pem $SECURITY/cacert",
             PURPOSES["server"], f"fresh server leaf; {GOOD}",
             "cp $DIR/crt.pem leaf.pem; cp $DIR/key.pem leaf.key; register leaf"]
    for side, purpose in PURPOSES.items():
        for fault, (how, _, _) in FAULTS.items():
            name = f"{fault}-{side}"
            if side == "client":
                lines += [PURPOSES["server"], f"fresh server {name}; {GOOD}"]
            lines += [purpose, f"fresh {side} {name}; {how}"]
            policy = "mutual" if side == "client" else "server"
            lines += [f"echo 'authenticate = \"{policy}\"' >$SECURITY/server/{name}/enc.toml"]
    lines += ["by ca -gencrl -crldays 20 -out $SECURITY/crl/ca.pem",
              "by slow -gencrl -crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z "
              "-out $SECURITY/crl/slow.pem"]
    return "\n".join(lines)


def alter(certificate):
    """Flips a bit of the signature, which is what a certificate ends with."""
    der = bytearray(ssl.PEM_cert_to_DER_cert(certificate.read_text()))
    der[-1] ^= 1
    certificate.write_text(ssl.DER_cert_to_PEM_cert(bytes(der)))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    work = tmp_path_factory.mktemp("refused")
    folder = work / "security"
    made = subprocess.run(["bash", "-c", script(folder)], cwd=work, check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert made.returncode == 0, made.stdout
    for side in PURPOSES:
        alter(folder / side / f"altered-{side}" / "crt.pem")
    return f'[daemon]\nsecurity = "{folder}"\n'


@pytest.mark.parametrize("side", PURPOSES)
@pytest.mark.parametrize("fault", FAULTS)
def test_it_is_refused_with_its_errno_and_its_reason(daemon, fault, side):
    name = Name(daemon, f"{fault}-{side}")
    os.mkdir(name.path)
    _, number, words = FAULTS[fault]
    server = name.open_accept(NONBLOCK)
    with raises_errno(number):
        name.open_dial(NONBLOCK)
    assert list(daemon.flow_states().values()) == ["accept-pending"]
    close(server)
    log = daemon.log().splitlines()
    refused = [line for line in log if f"refused a dial name={name.name} " in line]
    assert len(refused) == 1 and words in refused[0], log
    if fault in OF_THE_FILE:
        assert any(f"/{side}/{name.name}/" in line and OF_THE_FILE[fault] in line for line in log)


def refused_dials(name, number, flags):
    due = time.monotonic()
    while True:
        with raises_errno(number):
            os.open(name.dial, flags)
        yield
        due += 1 / BAD_A_SECOND
        time.sleep(max(0, due - time.monotonic()))


def bad_requests(_daemon, name):
    """Dials that a whole handshake refuses, or the limit of their source."""
    return refused_dials(name, errno.EKEYREJECTED, NONBLOCK)


def plain_requests(_daemon, name):
    """As many that are refused at once, as nobody serves the name."""
    return refused_dials(name, errno.ECONNREFUSED, os.O_RDWR)


def mapped_round_trips(name):
    """Messages to a server and back through shared memory; round trips a second."""
    server = Child(lib.echo, name)
    with lib.flowfs.dial(name.name, name.daemon.mount, timeout=20) as flow:
        start = time.monotonic()
        for number in range(MAPPED_ROUND_TRIPS):
            flow.send(b"%d" % number, timeout=20)
            assert flow.recv(timeout=20) == b"%d" % number
        rate = MAPPED_ROUND_TRIPS / (time.monotonic() - start)
        assert flow.is_mapped
    server.result(60)
    return rate


@pytest.mark.deadline(120)
@pytest.mark.parametrize("trips", [
    pytest.param(round_trips, id="file"), pytest.param(mapped_round_trips, id="mapped", marks=in_python)])
def test_a_flow_goes_on_beside_a_thousand_bad_requests_a_second(request, daemon, trips):
    """That every message arrives is asserted; how fast is measured."""
    mine, bad, plain = Name(daemon, "mine"), Name(daemon, "untrusted-client"), Name(daemon, "plain")
    for name in (mine, bad, plain):
        if not os.path.exists(name.path):
            os.mkdir(name.path)
        os.chmod(name.path, 0o711)
        for file in (name.accept, name.dial):
            os.chmod(file, 0o666)
    plain.set("dial_timeout", 0)
    alone, beside, beside_plain, asked = [], [], [], []
    for _ in range(5):
        alone.append(Child(trips, mine, uid=VICTIM).result(60))
        for requests, name, rates in ((plain_requests, plain, beside_plain), (bad_requests, bad, beside)):
            storm = Storm(requests, STORMERS[:1], daemon, name)
            before, start = storm.counts()[0], time.monotonic()
            rates.append(Child(trips, mine, uid=VICTIM).result(60))
            storm.wait_for_more()
            asked.append((storm.counts()[0] - before) / (time.monotonic() - start))
            storm.children[0].assert_dies()

    def kept(of):
        return statistics.median(one / other for one, other in zip(beside, of))
    record(f"round trips/s of a {request.node.callspec.id} flow beside {BAD_A_SECOND} bad requests a second",
           alone=statistics.median(alone), beside_plain=statistics.median(beside_plain),
           beside=statistics.median(beside), kept=kept(alone), kept_of_plain=kept(beside_plain),
           bad_a_second=statistics.median(asked))
    assert all(rate > 0 for rate in asked)
