"""The device SDK over a bad network and against bad services, through `latchkey device`."""
import base64
import json
import os
import signal
import subprocess
import time
import zlib

import pytest

from lib.middle import Middle, answer
from lib.process import wait_until
from lib.service import BUILD, program
from lib.tpmdevice import TpmDevice

DATA, UNAVAILABLE, TEMPORARY, PROTOCOL, REFUSED = 65, 69, 75, 76, 77


@pytest.fixture
def middle(module_service):
    """Starts servers in front of the service: middle(judge)."""
    started = []

    def make(judge):
        server = Middle(os.path.join(module_service.data, "tls"), judge, module_service.address,
                        module_service.ca_file)
        started.append(server)
        return server

    yield make
    for server in started:
        server.close()


@pytest.fixture
def device(module_service, make_swtpm, request):
    """Enrolled, under a name of its own."""
    name = f"sdk-{zlib.crc32(request.node.name.encode()):08x}"
    device = TpmDevice(module_service, make_swtpm("tpm", tcp=True), name)
    module_service.cli("enrollment", "add", "--registration-id", name, "--ek",
                       device.show()["endorsementKey"]["public"])
    return device


def argv(device, url, *more):
    return [program("latchkey"), "device", "register", "--tcti", device.tpm.tcti, "--url", url,
            "--scope", device.service.scope, "--ca-file", device.service.ca_file, "--json",
            *device.id_options, *more]


def register(device, url, *more):
    return subprocess.run(argv(device, url, *more), capture_output=True, text=True, timeout=90)


def tidy(device):
    """Nothing is left inside the TPM."""
    handles = device.handles()
    assert not handles["transient"] and not handles["loaded-session"], handles
    assert not handles["saved-session"], handles


# ---- the program in examples/


def test_example_program(network, make_service, tmp_path):
    """What an application is: from the TPM that tctildr finds by itself (here port 2321) to a token
    that the hub takes, with the shared library alone."""
    state = tmp_path / "tpm"
    state.mkdir()
    log = tmp_path / "swtpm.log"
    tpm = network.start(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--server",
                         "type=tcp,port=2321,disconnect", "--ctrl", "type=tcp,port=2322",
                         "--flags", "not-need-init,startup-clear"], log, log)
    try:
        service = make_service(network=network)
        manifest = tmp_path / "manifest.csv"
        shown = wait_until(lambda: network.run(
            [program("latchkey"), "device", "show", "--manifest", "csv", "--header", "--tcti",
             "swtpm:port=2321"]).stdout, "the TPM answers")
        manifest.write_text(shown)
        service.cli("enrollment", "import", manifest)
        example = os.path.join(BUILD, "examples/example-register")
        run = network.run([example, service.url, service.scope, service.ca_file])
        assert run.returncode == 0, run.stderr
        hub, token = run.stdout.splitlines()
        assert hub.startswith(f"hub {service.hub}, device ")
        assert service.accepts(token)
    finally:
        tpm.close()


# ---- a network and a service in trouble


def overloaded(_request, _forward):
    return answer(429, b'{"errorCode":429001}', "Retry-After: 1")


def broken(_request, _forward):
    return answer(503)


def cut_before(_request, _forward):
    return None


def cut_after(_request, forward):
    forward()
    return None


@pytest.mark.parametrize("fault", [overloaded, broken, cut_before, cut_after])
def test_trouble_at_every_step(device, middle, fault):
    """The first try of each step goes wrong in one way: the device ends up assigned all the same,
    with a key that its hub takes."""
    troubled = set()

    def judge(request, forward):
        if request.step in troubled:
            return forward()
        troubled.add(request.step)
        return fault(request, forward)

    server = middle(judge)
    run = register(device, server.url)
    assert run.returncode == 0, run.stderr
    assert {"challenge", "authorize"} <= troubled
    assert "retry" in run.stderr
    assert device.service.accepts(device.token(json.loads(run.stdout)))
    tidy(device)


def test_half_an_answer(device, middle):
    """An answer that ends too early is none: asked again."""
    halves = []

    def judge(request, forward):
        data = forward()
        if request.step in halves:
            return data
        halves.append(request.step)
        head, _, body = data.partition(b"\r\n\r\n")
        return head + b"\r\nConnection: close\r\n\r\n" + body[:len(body) // 2]

    run = register(device, middle(judge).url)
    assert run.returncode == 0, run.stderr
    assert device.service.accepts(device.token(json.loads(run.stdout)))


def test_one_connection(device, middle):
    """A registration without trouble asks each thing once, but for polls, and in order."""
    server = middle(lambda request, forward: forward())
    assert register(device, server.url).returncode == 0
    steps = server.steps()
    assert steps[:2] == ["challenge", "authorize"] and set(steps[2:]) <= {"poll"}


def test_deadline(device, middle):
    """A service that stays broken: the deadline ends it, not the number of tries."""
    started = time.monotonic()
    run = register(device, middle(broken).url, "--deadline", "3")
    assert run.returncode == TEMPORARY and "deadline" in run.stderr
    assert time.monotonic() - started < 6
    tidy(device)


def test_service_that_never_answers(device, middle):
    started = time.monotonic()

    def judge(_request, _forward):
        time.sleep(20)

    run = register(device, middle(judge).url, "--deadline", "2")
    assert run.returncode == TEMPORARY
    assert time.monotonic() - started < 6


def test_long_retry_after_is_bounded_by_the_deadline(device, middle):
    """What nothing can follow is not waited for."""
    started = time.monotonic()
    run = register(device, middle(lambda *_: answer(429, b"", "Retry-After: 200")).url,
                   "--deadline", "30")
    assert run.returncode == TEMPORARY and time.monotonic() - started < 10


def test_interrupt(device, middle):
    """Control-C ends a wait at once and leaves the TPM tidy."""
    server = middle(broken)
    process = subprocess.Popen(argv(device, server.url), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(server.requests) > 1, "it tries again")
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == TEMPORARY and "cancelled" in errors
    assert time.monotonic() - started < 2
    tidy(device)


# ---- services that are none


def test_wrong_certificate(device, middle, tmp_path):
    """Another CA, or another name: not tried again, nothing is sent."""
    server = middle(broken)
    other = tmp_path / "other"
    subprocess.run([program("latchkey"), "init", "--data-dir", other], check=True,
                   capture_output=True, timeout=60)
    words = argv(device, server.url)
    words[words.index("--ca-file") + 1] = str(other / "tls/ca.pem")
    for attempt in (words, argv(device, server.url.replace("localhost", "127.0.0.1"))):
        run = subprocess.run(attempt, capture_output=True, text=True, timeout=60)
        assert run.returncode == PROTOCOL and "certificate" in run.stderr
        assert "--ca-file" in run.stderr and "clock" in run.stderr
    assert server.requests == []


@pytest.mark.parametrize("url", ["http://localhost:1", "ftp://x", "https://", "https://a/path",
                                 "https://user@host", "", "https://a b"])
def test_url_that_is_none(device, url):
    run = register(device, url)
    assert run.returncode == 64 and "https://HOST[:PORT]" in run.stderr


def test_ca_file_that_is_none(device, tmp_path):
    """The file is named, before anything is asked of the TPM."""
    words = argv(device, "https://localhost:1")
    words[words.index("--ca-file") + 1] = str(tmp_path / "none.pem")
    run = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert run.returncode == 74
    assert f"cannot read {tmp_path}/none.pem: No such file" in run.stderr


def test_nobody_there(device):
    run = register(device, "https://localhost:1", "--deadline", "2")
    assert run.returncode == TEMPORARY


def test_redirection_is_not_followed(device, middle):
    target = middle(lambda request, forward: forward())
    server = middle(lambda *_: answer(307, b"", f"Location: {target.url}/"))
    assert register(device, server.url).returncode == PROTOCOL
    assert target.requests == []


@pytest.mark.parametrize("status,code", [(401, REFUSED), (403, REFUSED), (400, PROTOCOL),
                                         (404, PROTOCOL), (200, PROTOCOL)])
def test_refusals(device, middle, status, code):
    """Told with the service's words, which no terminal obeys, and not tried again."""
    body = json.dumps({"errorCode": status * 1000 + 2, "message": "\x1b[2Jno\u202e"}).encode()
    server = middle(lambda *_: answer(status, body, "Content-Type: application/json"))
    run = register(device, server.url)
    assert run.returncode == code, run.stderr
    assert len(server.requests) == 1
    assert run.stderr.replace("\n", "").isprintable()
    assert str(status * 1000 + 2) in run.stderr


def challenge(blob):
    return answer(401, json.dumps({"authenticationKey": base64.b64encode(blob).decode(),
                                   "keyName": "registration"}).encode())


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"x" * 100, b'{"authenticationKey":1}', b'{"authenticationKey":"!"}',
    b'{"authenticationKey":"AA==","authenticationKey":"AA=="}', b"[" * 1000],
    ids=["empty", "open", "array", "text", "number", "base64", "twice", "deep"])
def test_answers_that_are_none(device, middle, body):
    run = register(device, middle(lambda *_: answer(401, body)).url)
    assert run.returncode in (PROTOCOL, REFUSED), (run.returncode, run.stderr)


def test_answer_without_end(device, middle):
    """More than the protocol allows is cut off."""
    run = register(device, middle(lambda *_: answer(401, b"x" * 3_000_000)).url)
    assert run.returncode == DATA, run.stderr


def test_challenge_of_another_device(device, middle, module_service, make_swtpm, request):
    """A blob that is not for this TPM is refused by the TPM; one that is none is malformed."""
    blob = bytes(range(256))
    run = register(device, middle(lambda *_: challenge(blob)).url)
    assert run.returncode == DATA, run.stderr
    tidy(device)
    caught = []

    def catch(request, forward):
        data = forward()
        if request.step == "challenge":
            caught.append(data)
        return data

    other = TpmDevice(module_service, make_swtpm("other", tcp=True), device.id_options[1] + "-o")
    module_service.cli("enrollment", "add", "--registration-id", other.id_options[1], "--ek",
                       other.show()["endorsementKey"]["public"])
    assert register(other, middle(catch).url).returncode == 0
    run = register(device, middle(lambda *_: caught[0]).url)
    assert run.returncode == REFUSED, run.stderr
    tidy(device)


def test_refusal_half_way_leaves_the_old_key(device, middle):
    """A registration that fails after its challenge leaves the device on its hub."""
    result = json.loads(register(device, middle(lambda _, forward: forward()).url).stdout)
    before = device.handles()

    def judge(request, forward):
        return forward() if request.step == "challenge" else answer(401, b'{"errorCode":401002}')

    assert register(device, middle(judge).url).returncode == REFUSED
    assert device.service.accepts(device.token(result))
    assert device.handles() == before


def test_service_that_only_challenges(device, middle):
    """A service that answers each token with the next challenge is given up on."""
    def judge(request, forward):
        if request.step == "challenge":
            return forward()
        body = request.raw.partition(b"\r\n\r\n")[2]
        again = json.loads(body)
        return challenge(base64.b64decode(again["tpm"]["endorsementKey"]))

    server = middle(judge)
    run = register(device, server.url)
    assert run.returncode == REFUSED, run.stderr
    assert len(server.requests) <= 10
    tidy(device)
