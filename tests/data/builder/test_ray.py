"""The same build on a Ray cluster of two processes: same bytes, same progress, same errors, same resumption."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import clips_of_videos
import pytest
import tiny_3dpw

from trace_data.builder.build import build_shards
from trace_data.errors import AnnotationError, ConfigError, OutputError
from trace_data.progress import SILENT, Progress

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra [ray]")


def hashes(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir()) if file.is_file()
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets")
    tiny_3dpw.write(folder, {"train": 3, "val": 1, "test": 1}, frames=8)
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of two processes that outlives the builds which join it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    yield cluster.address
    cluster.shutdown()


class Told(Progress):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.done = self.skipped = self.bytes = 0
        self.lines: list[str] = []

    def advance(self, amount: int = 1, detail: str = "") -> None:
        self.done += amount

    def skip(self, amount: int) -> None:
        self.skipped += amount

    def wrote(self, amount: int) -> None:
        self.bytes += amount

    def log(self, line: str) -> None:
        self.lines.append(line)


def engine(address: str | None) -> Any:
    from trace_data.builder.engines import RayEngine

    return RayEngine(address=address, jobs=2)


def test_the_same_bytes_progress_and_resumption(root: Path, address: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"shard_bytes": 1}
    local = build_shards(["3dpw"], root, tmp_path / "local", **options)
    told = Told()
    report = build_shards(["3dpw"], root, tmp_path / "ray", engine=engine(address), progress=told, **options)
    assert hashes(tmp_path / "ray") == hashes(tmp_path / "local") and report.built == local.built == 5
    assert told.done == 40 and told.bytes > 0
    assert "2 Ray workers on 1 machine" in told.lines[0]
    (tmp_path / "ray" / "3dpw-train-00001.h5").write_bytes(b"cut")
    again = build_shards(["3dpw"], root, tmp_path / "ray", engine=engine(address), **options)
    assert (again.kept, again.built) == (4, 1)
    assert hashes(tmp_path / "ray") == hashes(tmp_path / "local")
    assert not list((tmp_path / "ray" / ".build").glob("seen-*"))


def test_workers_import_a_dataset_of_ones_own(address: str, tmp_path: Path) -> None:
    from trace_data.adapters import _registered, register_adapter

    (tmp_path / "own").mkdir()
    module = tmp_path / "own" / "ray_clips.py"
    module.write_text(Path(clips_of_videos.__file__).read_text())
    clips_of_videos.write(tmp_path / "clips", "xy")
    name = register_adapter(str(module))
    try:
        report = build_shards([name], tmp_path, tmp_path / "ray", shard_bytes=1, engine=engine(address))
        build_shards([name], tmp_path, tmp_path / "local", shard_bytes=1)
    finally:
        _registered.clear()
    assert report.built == 4 and hashes(tmp_path / "ray") == hashes(tmp_path / "local")


def fail(number: int, progress: Progress) -> int:
    if number == 1:
        raise AnnotationError("broken", where="file", hint="copy it again")
    return number


def end(number: int, progress: Progress) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    return number


def test_errors_of_workers_arrive_as_they_are(address: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="broken") as caught:
        list(engine(address).run(fail, [0, 1], SILENT, shared=tmp_path, read=[]))
    assert (caught.value.where, caught.value.hint) == ("file", "copy it again")
    with pytest.raises(OutputError, match="a worker process died"):
        list(engine(address).run(end, [0, 1], SILENT, shared=tmp_path, read=[]))
    with pytest.raises(OutputError, match=r"a Ray worker on .* does not see it") as unseen:
        list(engine(address).run(fail, [0], SILENT, shared=tmp_path, read=[tmp_path / "elsewhere"]))
    assert unseen.value.where == str(tmp_path / "elsewhere") and "mount" in str(unseen.value.hint)
    assert not list(tmp_path.iterdir())


def test_a_worker_must_have_the_same_versions(tmp_path: Path) -> None:
    from trace_data.builder.engines import Marker
    from trace_data.builder.folder import versions

    marker = Marker(file=tmp_path, folders=(), versions=versions())
    marker.check()
    with pytest.raises(OutputError, match=r"has opencv .*, this machine opencv 3"):
        replace(marker, versions=versions() | {"encoder": "opencv 3"}).check()


@pytest.mark.slow
def test_the_command_on_a_cluster_of_its_own(root: Path, tmp_path: Path) -> None:
    words = ["build-shards", "3dpw", "--root", root, "--out", tmp_path / "out", "--engine", "ray", "--jobs", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "trace_cli", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "TRACE_HOME": str(tmp_path / "home")},
    )
    assert done.returncode == 0, done.stderr
    build_shards(["3dpw"], root, tmp_path / "local")
    assert hashes(tmp_path / "out") == hashes(tmp_path / "local")
    assert len(done.stderr.splitlines()) == 3, f"nothing of Ray's own: {done.stderr}"


@pytest.mark.slow
def test_nobody_at_the_address() -> None:
    with pytest.raises(ConfigError, match="no Ray cluster"):
        engine("127.0.0.1:1")
