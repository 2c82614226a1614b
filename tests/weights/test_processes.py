"""What only whole processes show: death in the middle, two at once, a full disk, a network that never
answers.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fetching.manifest import ROOT, load_manifest
from fetching.pget import pget as fetch_by_pget
from fetching.retry import Stopped
from tests.weights.conftest import BIG, SMALL, Project, content
from tests.weights.server import LARGE, Fault, Server

WEIGHTS = [sys.executable, str(ROOT / "weights.py")]
PATIENT = {"stall_seconds": 30.0}  # a held connection is not given up before the test says so
PATIENCE = 300.0  # of waits that end by events


def start(project: Project, command: str = "fetch", **options) -> subprocess.Popen:
    return subprocess.Popen(
        [*WEIGHTS, command, *project.options], stderr=subprocess.PIPE, text=True, **options
    )


def finish(process: subprocess.Popen) -> str:
    """Wait for success; returns the log."""
    log = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, log
    return log


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def wait_until_sent(hub: Server, count: float, process: subprocess.Popen) -> None:
    """Until more than `count` bytes of the big file have left, or the process has ended."""
    wait_for(lambda: hub.bytes_sent[BIG] > count or process.poll() is not None)


def saved_bytes(project: Project) -> int:
    """How much of the big file an interrupted process has noted as fetched."""
    return sum(
        end - start
        for path in project.directory.glob(f".{BIG}.*.state")
        for start, end in json.loads(path.read_text())["done"]
    )


# --- death ------------------------------------------------------------------------------------


def test_killed_in_the_middle_and_resumed(hub, project, files):
    project.files([SMALL, BIG], **PATIENT)
    hold = threading.Event()
    hub.faults[BIG] = [Fault()] * 5 + [Fault(cut=50_000, hold=hold) for _ in range(50)]
    process = start(project)
    wait_for(lambda: saved_bytes(project) > 300_000)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    hold.set()
    saved = saved_bytes(project)
    assert not (project.directory / BIG).exists() and 300_000 < saved < len(files[BIG])
    hub.faults[BIG].clear()
    hub.bytes_sent.clear()
    assert f"{BIG}: continuing after {saved} bytes" in finish(start(project))
    assert hub.bytes_sent[BIG] == len(files[BIG]) - saved
    assert project.present() == sorted(files)
    assert (project.directory / BIG).read_bytes() == files[BIG]


def test_killed_again_and_again(hub, project, files):
    files[BIG] = hub.hub_files[BIG] = content(12_000_000)
    for share in (0.1, 0.5, 0.8):
        hub.bytes_sent.clear()
        process = start(project)
        wait_until_sent(hub, share * len(files[BIG]), process)
        process.kill()
        process.communicate()
    finish(start(project))
    assert project.present() == sorted(files)
    assert (project.directory / BIG).read_bytes() == files[BIG]


def test_leftover_of_another_version_is_not_continued(hub, project, files):
    project.files([SMALL, BIG], **PATIENT)
    hold = threading.Event()
    hub.faults[BIG] = [Fault()] * 5 + [Fault(cut=50_000, hold=hold) for _ in range(50)]
    process = start(project)
    wait_for(lambda: saved_bytes(project) > 300_000)
    process.kill()
    process.communicate()
    hold.set()
    hub.faults[BIG].clear()
    files[BIG] = hub.hub_files[BIG] = content(1_000_003, seed=5)
    assert "continuing" not in finish(start(project))
    assert project.present() == sorted(files)
    assert (project.directory / BIG).read_bytes() == files[BIG]


# --- two at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("first_dies", [False, True])
def test_two_at_once_fetch_every_byte_once(hub, project, files, first_dies):
    project.files([SMALL, BIG], **PATIENT)
    hold = threading.Event()
    hub.faults[BIG] = [Fault()] * 4 + [Fault(cut=30_000, hold=hold)]
    first = start(project)
    assert hub.reached.wait(PATIENCE)
    second = start(project)
    line = second.stderr.readline()
    assert "another process is preparing" in line
    if first_dies:
        first.kill()
        first.communicate()
        hold.set()
    else:
        hold.set()
        finish(first)
    finish(second)
    assert project.present() == sorted(files)
    assert (project.directory / BIG).read_bytes() == files[BIG]
    if not first_dies:
        assert hub.bytes_sent == {name: len(data) for name, data in files.items()}


# --- the disk ---------------------------------------------------------------------------------


def test_file_size_limit_leaves_nothing_behind(hub, project, files):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    process = start(project, preexec_fn=limit)
    log = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 1 and f"no room for {project.directory / BIG}: expected 1000003 bytes" in log
    assert project.present() in ([], [SMALL])


def in_namespace(script: str, *, network: bool = False) -> subprocess.CompletedProcess:
    """Run a shell script with mounts (and, with `network`, a network) of its own; skip where that is not
    allowed.
    """
    command = ["unshare", "--mount", *(["--net"] if network else []), "sh", "-ec"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "mount -t tmpfs none /mnt"], capture_output=True).returncode
    ):
        pytest.skip("mount namespaces are not allowed here")
    return subprocess.run([*command, script], capture_output=True, text=True, timeout=PATIENCE)


def test_full_disk_leaves_nothing_behind(mirror, project, files, monkeypatch):
    """A mirror that does not tell sizes beforehand: the disk fills up while the file comes. The small one is
    there.
    """
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    project.files([SMALL])
    small = project.manifest.rename(project.manifest.with_name("small.yaml"))
    project.files([SMALL, BIG])
    mirror.bucket_files[BIG] = content(3_000_000)
    mirror.head_faults[BIG] = [Fault(status=405) for _ in range(9)]
    project.directory.mkdir()
    done = in_namespace(f"""mount -t tmpfs -o size=1500k none {project.directory}
                            {" ".join(WEIGHTS)} fetch {" ".join(project.options)} --manifest {small}
                            {" ".join(WEIGHTS)} fetch {" ".join(project.options)} || echo status $?
                            find {project.directory} -type f ! -name .lock ! -name .verified.json""")
    assert f"no room for {project.directory / BIG}" in done.stderr
    assert done.stdout.splitlines() == ["status 1", str(project.directory / SMALL)]


def test_small_disk_is_refused_before_the_first_byte(hub, project):
    project.directory.mkdir()
    done = in_namespace(f"""mount -t tmpfs -o size=1500k none {project.directory}
                            {" ".join(WEIGHTS)} fetch {" ".join(project.options)} || echo status $?""")
    assert "not enough disk space" in done.stderr and done.stdout == "status 1\n"
    assert hub.bytes_sent == {}


@pytest.mark.parametrize("complete", [True, False])
def test_read_only_directory_is_used_as_it_is(hub, project, files, complete):
    project.directory.mkdir()
    for name in list(files)[: None if complete else 1]:
        (project.directory / name).write_bytes(files[name])
    call = (
        f"import weights; weights.ensure('toy', directory='{project.directory}', manifest=weights.Path("
        f"'{project.manifest}'), lock=weights.Path('{project.lock}'))"
    )
    done = in_namespace(f"""mount --bind {project.directory} {project.directory}
                            mount -o remount,bind,ro {project.directory}
                            cd {ROOT}; {sys.executable} -c "{call}" """)
    assert (done.returncode == 0) == complete, done.stderr
    assert (
        "read-only" in done.stderr if complete else f"cannot write {project.directory / SMALL}" in done.stderr
    )
    assert hub.bytes_sent == {} or not complete


# --- the network ------------------------------------------------------------------------------

SILENT_NAMESERVER = """
import signal, socket
name = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
name.bind(("127.0.0.1", 53))
signal.pause()
"""


@pytest.mark.parametrize("network", ["none", "nameserver that never answers"])
def test_no_network_says_what_is_missing_and_what_to_do(project, network, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://huggingface.co")
    monkeypatch.setenv("INDEXTTS_WEIGHTS_URL", "https://weights.example.com/model")
    project.files([SMALL, BIG], probe_seconds=0.5)
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (tmp_path / "nameserver.py").write_text(SILENT_NAMESERVER)
    call = f"""
import weights
try:
    weights.ensure("toy", directory="{project.directory}", manifest=weights.Path("{project.manifest}"),
                   lock=weights.Path("{project.lock}"))
except weights.WeightsError as e:
    print(e)
"""
    silent = (
        ""
        if network == "none"
        else f"""
        ip link set lo up
        mount --bind {tmp_path}/resolv.conf /etc/resolv.conf
        {sys.executable} {tmp_path}/nameserver.py & trap "kill $!" EXIT"""
    )
    done = in_namespace(f"{silent}\ncd {ROOT}\n{sys.executable} - <<'END'{call}END", network=True)
    assert done.stdout, done.stderr
    message = done.stdout
    assert f"missing {SMALL}, {BIG}" in message
    assert "no answer from huggingface.co within 0.5 s" in message or "name resolution" in message
    for part in (
        str(project.directory),
        "https://huggingface.co",
        "https://weights.example.com/model",
        "INDEXTTS_WEIGHTS_URL",
        "INDEXTTS_WEIGHTS_DIR",
        "weights.py fetch",
    ):
        assert part in message


# --- the token --------------------------------------------------------------------------------


def test_token_is_never_sent_in_the_clear(server, project, files, monkeypatch):
    """A hub by plain http under another name, reached through a proxy: it is asked, but without the token."""
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    monkeypatch.setenv("http_proxy", server.hub_url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.hub_files = {name: data[: LARGE - 1] for name, data in files.items()}  # nothing at a second origin
    assert "without the token, which is sent over https:// only" in finish(start(project))
    assert project.present() == sorted(files)
    assert server.requests and all(request.authorization is None for request in server.requests)


# --- pget -------------------------------------------------------------------------------------

# A stand-in with pget's documented `multifile -` mode; the real program is not a Python package.
PGET = f"""#!{sys.executable}
import os, sys, time, urllib.request
assert sys.argv[1:] == ["--force", "multifile", "-"], sys.argv
for line in sys.stdin:
    url, path = line.split()
    data = urllib.request.urlopen(url).read()
    open(path, "wb").write(data)
    open("{{log}}", "a").write(path + "\\n")
    open("{{log}}.environment", "w").write("\\n".join(os.environ))
    time.sleep({{seconds}})
sys.exit({{status}})
"""


@pytest.fixture
def pget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    def install(status: int = 0, seconds: float = 0) -> Path:
        program, log = tmp_path / "bin" / "pget", tmp_path / "pget.log"
        program.parent.mkdir()
        program.write_text(PGET.format(log=log, status=status, seconds=seconds))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        return log

    return install


def test_pget_fetches_the_large_files_of_a_mirror(mirror, project, files, pget):
    log = pget()
    finish(start(project))
    assert [line.split(".")[1:3] for line in log.read_text().splitlines()] == [BIG.split(".")]
    assert project.present() == sorted(files)
    assert (project.directory / BIG).read_bytes() == files[BIG]


def test_what_pget_fetched_is_verified(mirror, project, files, pget):
    pget()
    project.pin(files)
    mirror.faults[BIG] = [Fault(body=files[BIG][:-1] + b"?")]
    assert "wrong content" in finish(start(project))
    assert (project.directory / BIG).read_bytes() == files[BIG]


def test_pget_that_fails_is_replaced(mirror, project, files, pget):
    pget(status=3)
    assert "pget failed" in finish(start(project))
    assert project.present() == sorted(files)
    assert (project.directory / BIG).read_bytes() == files[BIG]


def test_pget_gets_no_secret(mirror, project, pget, monkeypatch):
    log = pget()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # without it there is no way out of some networks
    finish(start(project))
    names = set(Path(f"{log}.environment").read_text().splitlines())
    assert {"PATH", "HTTPS_PROXY"} <= names
    assert not {name for name in names if name.startswith(("HF_", "INDEXTTS_"))}


def test_pget_that_does_not_end_is_replaced(mirror, project, files, pget):
    pget(seconds=10 * PATIENCE)
    project.files([SMALL, BIG], pget_minimum_rate=10**9)
    assert "pget failed" in (log := finish(start(project))) and "not done within 1 s" in log
    assert project.present() == sorted(files)
    assert (project.directory / BIG).read_bytes() == files[BIG]


def test_pget_obeys_the_stop(mirror, project, files, pget, tmp_path):
    log, stop, target = pget(seconds=10 * PATIENCE), threading.Event(), tmp_path / "into.part"
    project.files([SMALL, BIG])
    transfer = load_manifest(project.manifest).transfer

    def stop_in_the_middle() -> None:
        wait_for(log.exists)
        stop.set()

    stopper = threading.Thread(target=stop_in_the_middle)
    stopper.start()
    with pytest.raises(Stopped):
        fetch_by_pget(f"{mirror.mirror_url}/{BIG}", target, len(files[BIG]), transfer, stop)
    stopper.join()
    assert log.read_text().split() == [target.name] and not target.exists()
    assert not running(str(tmp_path / "bin" / "pget"))


def running(program: str) -> list[str]:
    """Processes whose command line holds `program`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [path.parent.name] * (program in arguments)
    return found
