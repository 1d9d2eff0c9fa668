"""A build that is killed, starved or doubled: whatever happens, the same command goes on to the same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_3dpw

from trace_data.builder.build import build_shards
from trace_data.errors import ShardError
from trace_data.shards.index import check_index

COUNTS = {"train": 5, "val": 1, "test": 1}
SMALL = 110_000  # bytes a shard: two of the tiny sequences
FRAMES = 12
# Every frame takes a while, so that a kill falls into the middle of a shard, or waits until the file HOLD is gone;
# then each process leaves a mark beside it. KILL: `before` or `after` a file is renamed. Spawned workers run this too.
SCRIPT = f"""
import os, signal, sys, time
from pathlib import Path
import trace_data.shards.writer as writer

plain, rename = writer.scaled, Path.replace
moment, _, name = os.environ.get("KILL", "").partition(" ")

def slow(*given):
    time.sleep(float(os.environ["PAUSE"]))
    while Path(os.environ["HOLD"]).exists():
        Path(os.environ["HOLD"] + str(os.getpid())).touch()
        time.sleep(0.005)
    return plain(*given)

def replace(file, target):
    if (moment, name) == ("before", Path(target).name):
        os.killpg(0, signal.SIGKILL)
    rename(file, target)
    if (moment, name) == ("after", Path(target).name):
        os.killpg(0, signal.SIGKILL)

writer.scaled, Path.replace = slow, replace

if __name__ == "__main__":
    from trace_data.builder.build import build_shards
    from trace_data.builder.plan import BuildPart
    root, out, jobs, part = sys.argv[1:]
    part = BuildPart(number=int(part[0]), of=int(part[2])) if part else None
    try:
        build_shards(["3dpw"], Path(root), Path(out), shard_bytes={SMALL}, jobs=int(jobs), part=part)
    except Exception as error:
        sys.exit(f"{{type(error).__name__}}: {{error}}")
"""


def hashes(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir()) if file.is_file()
    }


def build(root: Path, out: Path, **options: object):  # type: ignore[no-untyped-def]
    return build_shards(["3dpw"], root, out, **{"shard_bytes": SMALL, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets")
    tiny_3dpw.write(folder, COUNTS, frames=FRAMES)
    return folder


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of an undisturbed build."""
    out = tmp_path_factory.mktemp("built") / "shards"
    assert len(build(root, out).index.shards) == 5
    return hashes(out)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("script") / "build.py"
    file.write_text(SCRIPT)
    return file


def start(
    script: Path, root: Path, out: Path, *, jobs: int, kill: str = "", pause: float = 0.004, part: str = ""
) -> subprocess.Popen[str]:
    command = [sys.executable, str(script), str(root), str(out), str(jobs), part]
    environment = {**os.environ, "KILL": kill, "PAUSE": str(pause), "HOLD": f"{out}.hold"}
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)
    STARTED.append(process)
    return process


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _close_pipes() -> Iterator[None]:
    """Killed or not, the processes that a test started leave no open pipe."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.wait(60)
        assert process.stderr is not None
        process.stderr.close()


def wait_for(what: str, folder: Path, process: subprocess.Popen[str]) -> None:
    while not list(folder.glob(what)) and process.poll() is None:
        time.sleep(0.002)


def finish(root: Path, out: Path, whole: dict[str, str]) -> None:
    """What a kill left is either whole or known to be unfinished, and the same build ends in the same bytes."""
    if (out / "index.json").exists():
        check_index(out, hashes=True)
    else:
        with pytest.raises(ShardError, match="no finished shards"):
            check_index(out)
    build(root, out)
    assert hashes(out) == whole


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("jobs", "name"),
    [
        *[(1, name) for name in ("settings.json", "3dpw-train-00001.h5", "3dpw-train-00001.json", "index.json")],
        *[(2, name) for name in ("3dpw-train-00001.h5", "3dpw-train-00001.json")],
    ],
)
def test_killed_at_a_rename(
    script: Path, root: Path, whole: dict[str, str], tmp_path: Path, when: str, name: str, jobs: int
) -> None:
    process = start(script, root, tmp_path / "out", jobs=jobs, kill=f"{when} {name}", pause=0)
    assert process.wait(60) == -signal.SIGKILL, process.communicate()[1]
    finish(root, tmp_path / "out", whole)


@pytest.mark.slow
def test_killed_at_twenty_random_moments(script: Path, root: Path, whole: dict[str, str], tmp_path: Path) -> None:
    unfinished = 0
    for jobs in (1, 2):
        process = start(script, root, tmp_path / f"whole-{jobs}", jobs=jobs)
        wait_for(".build/settings.json", tmp_path / f"whole-{jobs}", process)
        began = time.monotonic()
        assert process.wait(60) == 0
        took = time.monotonic() - began
        for number in range(10):
            out = tmp_path / f"{jobs}-{number}"
            process = start(script, root, out, jobs=jobs)
            wait_for(".build/settings.json", out, process)
            time.sleep(random.Random(10 * jobs + number).uniform(0, took))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)
            unfinished += not (out / "index.json").exists()
            finish(root, out, whole)
    assert unfinished >= 8, "most moments lie before the end"


def test_a_second_build_into_the_same_folder_is_refused(
    script: Path, root: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    out, hold = tmp_path / "out", tmp_path / "out.hold"
    hold.touch()
    first = start(script, root, out, jobs=1)
    wait_for(".build/settings.json", out, first)
    for second in [start(script, root, out, jobs=1, part=part) for part in ("", "1/2")]:
        said = second.communicate(timeout=60)[1]
        assert said.startswith(f"OutputError: {out}: another build is writing here"), said
    hold.unlink()
    assert first.wait(60) == 0, "the first is not disturbed"
    assert hashes(out) == whole


def test_parts_may_run_at_the_same_time_each_once(
    script: Path, root: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    out, hold = tmp_path / "out", tmp_path / "out.hold"
    hold.touch()
    parts = [start(script, root, out, jobs=1, part=part) for part in ("1/3", "2/3", "3/3")]
    while len(list(tmp_path.glob("out.hold?*"))) < 3:
        assert [part.communicate()[1] for part in parts if part.poll() is not None] == []
        time.sleep(0.01)
    # one part twice, and a part of another division, which meets shards of the others
    again = [start(script, root, out, jobs=1, part=part) for part in ("1/3", "1/2")]
    assert all("another build is writing here" in process.communicate(timeout=60)[1] for process in again)
    hold.unlink()
    assert [process.wait(60) for process in parts] == [0, 0, 0]
    assert not (out / "index.json").exists()
    build(root, out, finish=True)
    assert hashes(out) == whole


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_worker_that_dies_is_named_and_the_same_command_goes_on(
    script: Path, root: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    out, hold = tmp_path / "out", tmp_path / "out.hold"
    process = start(script, root, out, jobs=2, pause=0.03)
    wait_for(".build/3dpw-train-*.json", out, process)
    hold.touch()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "OutputError: a worker process died" in said
    assert "run the command again" in said
    report = build(root, out)
    assert report.kept >= 1 and hashes(out) == whole


FULL = """
import shutil, sys
from pathlib import Path
from trace_data.builder.build import build_shards
from trace_data.errors import OutputError
import trace_data.builder.shard as build_shard

root, out, left = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
filler, plain = out.parent / "filler", build_shard.write_json

def fill(file, content):  # somebody else fills the disk once the first shard is there
    plain(file, content)
    filler.write_bytes(bytes(shutil.disk_usage(out).free - left))

build_shard.write_json = fill
try:
    build_shards(["3dpw"], root, out, shard_bytes=110_000)
except OutputError as error:
    print(error)
print(sorted(file.name for file in out.glob("*.*")))
filler.unlink()
build_shard.write_json = plain
print("kept", build_shards(["3dpw"], root, out, shard_bytes=110_000).kept)
shutil.copytree(out, sys.argv[4])
"""


@pytest.mark.parametrize("left", [20_000, 160_000])  # bytes: too few for the frames, and for the shard made of them
def test_a_disk_that_fills_up(root: Path, whole: dict[str, str], tmp_path: Path, left: int) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=2m tmpfs {disk}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    (tmp_path / "full.py").write_text(FULL)
    words = [sys.executable, str(tmp_path / "full.py"), str(root), str(disk / "out"), str(left), str(tmp_path / "copy")]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    error, *_, there, kept = [line.strip() for line in done.stdout.splitlines()]
    assert error == f"{disk}/out/3dpw-train-00001.h5: cannot be written: No space left on device"
    assert "the same command continues" in done.stdout
    assert there == "['.build', '3dpw-train-00000.h5']" and kept == "kept 1"
    assert hashes(tmp_path / "copy") == whole
