"""Training data from S3 and HTTP: the same batches as from a folder, through servers that fail on the way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec.config
import pytest
import torch
from shard_server import Fault, ShardServer

from trace_cli.main import run as command
from trace_data.builder.build import build_shards
from trace_data.errors import ConfigError, ShardError
from trace_data.shards.index import check_index, load_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.remote import Patience
from trace_data.shards.storage.store import RemoteStore, open_store
from trace_train.config import Config, load_config
from trace_train.streaming.batch import Batch
from trace_train.streaming.stream import TrainStream, automatic_window
from trace_train.weights.checkpoint import open_checkpoint

pytest.importorskip("aiohttp", reason="fsspec speaks HTTP through aiohttp")

QUICK = Patience(attempts=5, first_delay=0.005, longest_delay=0.01, connecting=2.0, silence=5.0)
NETWORK = [
    "network.input_size=64", "network.width=4", "network.stem=4", "network.bottleneck=4", "network.head_channels=8",
    "network.deform_groups=4",
    "network.stage_modules=[1,1,1]", "network.stage_blocks=1", "network.bottleneck_blocks=1", "network.depth_levels=8",
    "network.bird_eye_hidden=16", "network.regressor_hidden=16",
]  # fmt: skip


@pytest.fixture(scope="module")
def many(sample: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample world in about a dozen shards. Read only."""
    folder = tmp_path_factory.mktemp("many") / "set"
    build_shards(["3dpw"], sample / "datasets", folder, packs=packs, shard_bytes=1)
    assert len(load_index(folder).shards) == 12
    return folder


@pytest.fixture
def http(many: Path) -> Iterator[ShardServer]:
    with ShardServer(many) as server:
        yield server


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """host:port of an S3 server."""
    pytest.importorskip("s3fs", reason="needs s3fs, extra [s3]")
    moto = pytest.importorskip("moto.server", reason="needs moto, extra [test]")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, many: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShardServer]:
    """A server that passes on to the S3 server, whose bucket `data` holds `many` under `hmr/set`."""
    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    direct = s3fs.S3FileSystem(endpoint_url=f"http://{s3}", skip_instance_cache=True)
    if not direct.exists("data"):
        direct.mkdir("data")
        direct.put(str(many), "data/hmr/set", recursive=True)
        direct.chmod("data/hmr/set/index.json", "public-read")
    with ShardServer(upstream=s3) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


def config_of(*more: str) -> Config:
    stages = "stages=[{share: 0.5, clips: 3, frames: 1}, {share: 0.5, clips: 2, frames: 3}]"
    return load_config("debug", ["steps=12", "network.input_size=64", "data.threads=3", stages, *more])


def same(a: Batch, b: Batch) -> bool:
    return a.refs == b.refs and torch.equal(a.images, b.images) and torch.equal(a.kp3d, b.kp3d)


def held(folder: Path) -> int:
    """Bytes of the files in a folder in which others come and go."""
    total = 0
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def remote(url: str, cache: Path, limit: int = 1 << 30) -> ShardReader:
    return ShardReader(open_store(url, cache=cache, cache_bytes=limit, patience=QUICK))


def test_batches_from_a_failing_s3_equal_those_from_a_folder(many: Path, bucket: ShardServer, tmp_path: Path) -> None:
    names = [entry.file for entry in load_index(many).shards if entry.split == "train"]
    for name in names:
        bucket.once[name].append(Fault(drop_after=5000))
    bucket.once["index.json"].append(Fault(status=503))
    bucket.once[names[0]].append(Fault(flip=3000))
    bucket.once[names[1]].extend([Fault(status=500), Fault(status=503)])
    reader = remote("s3://data/hmr/set", tmp_path)
    assert reader.index.sequences == load_index(many).sequences
    whole = TrainStream(ShardReader(many), config_of())
    parts = TrainStream(reader, config_of("data.shuffle_window=0"))
    for a, b in zip(whole.batches(0, 12), parts.batches(0, 12), strict=True):
        assert same(a, b)
    assert check_index(reader.store).shards == load_index(many).shards
    assert set(bucket.requests) > {f"GET {name}" for name in names} and not any(bucket.once.values())


def test_a_spoilt_shard_on_s3_stops_with_its_name(many: Path, bucket: ShardServer, tmp_path: Path) -> None:
    import s3fs

    entry = next(entry for entry in load_index(many).shards if entry.split == "train")
    spoilt = bytearray((many / entry.file).read_bytes())
    spoilt[3000] ^= 1
    direct = s3fs.S3FileSystem(endpoint_url=bucket.url, skip_instance_cache=True)
    direct.copy("data/hmr/set", "data/spoilt", recursive=True)
    direct.pipe(f"data/spoilt/{entry.file}", bytes(spoilt))
    stream = TrainStream(remote("s3://data/spoilt", tmp_path), config_of())
    with pytest.raises(ShardError, match="arrived damaged twice") as caught:
        list(stream.batches(0, 12))
    assert caught.value.where == f"s3://data/spoilt/{entry.file}"
    assert hashlib.sha256(spoilt).hexdigest() in str(caught.value) and entry.sha256 in str(caught.value)


def test_s3_says_what_is_the_matter(bucket: ShardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("s3://data/nothing/here", "s3://no-such-bucket/set"):
        with pytest.raises(ShardError, match=rf"{url}/index\.json: not found"):
            remote(url, tmp_path)
    bucket.once["index.json"].append(Fault(status=403))
    with pytest.raises(ShardError, match=r"access is refused"):
        remote("s3://data/hmr/set", tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ShardError, match=r"s3://data/hmr/set/index\.json: the server cannot be reached"):
        remote("s3://data/hmr/set", tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ShardError, match="there are no credentials") as caught:
        remote("s3://data/hmr/set", tmp_path)
    assert "AWS_PROFILE" in str(caught.value.hint)
    # what the variable FSSPEC_S3_ANON does, which fsspec reads when it is imported
    monkeypatch.setitem(fsspec.config.conf, "s3", {"anon": "true"})
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
    assert remote("s3://data/hmr/set", tmp_path).index.shards


def test_an_answer_of_s3_that_never_ends_or_hardly_begins_is_given_up(
    many: Path, bucket: ShardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trace_data.shards.storage.store.LARGEST_INDEX", 1 << 20)
    bucket.always["index.json"] = Fault(endless=True)
    with pytest.raises(ShardError, match=r"index\.json"):
        remote("s3://data/hmr/set", tmp_path)
    assert bucket.sent["index.json"] < 16 << 20, "what the sockets hold and a few attempts"
    del bucket.always["index.json"]
    reader = remote("s3://data/hmr/set", tmp_path)
    entry = next(entry for entry in reader.index.shards if entry.split == "train")
    bucket.always[entry.file] = Fault(endless=True)
    with pytest.raises(ShardError) as caught:
        reader.store.open(entry)
    assert caught.value.where == f"s3://data/hmr/set/{entry.file}"
    assert bucket.sent[entry.file] < 12 * entry.bytes + (64 << 20)
    assert held(tmp_path / "shards") < 2 * entry.bytes
    bucket.always[entry.file] = Fault(pause=0.05, piece=1)
    slow = Patience(attempts=2, first_delay=0.005, longest_delay=0.01, connecting=2.0, silence=0.5)
    with pytest.raises(ShardError, match="bytes a second") as caught:
        open_store("s3://data/hmr/set", cache=tmp_path / "slow", cache_bytes=1 << 30, patience=slow).open(entry)
    assert caught.value.where == f"s3://data/hmr/set/{entry.file}"


def test_a_window_trains_from_a_cache_that_is_smaller_than_the_set(
    many: Path, http: ShardServer, tmp_path: Path
) -> None:
    shards = [entry for entry in load_index(many).shards if entry.split == "train"]
    largest, total = max(entry.bytes for entry in shards), sum(entry.bytes for entry in shards)
    limit = 5 * largest
    assert limit < 0.8 * total
    reader = remote(http.url, tmp_path, limit)
    config = config_of("steps=60")
    assert automatic_window(config, reader) == 2 and automatic_window(config, ShardReader(many)) == 0
    stream = TrainStream(reader, config)
    local = TrainStream(ShardReader(many), config_of("steps=60", "data.shuffle_window=2"))
    most = 0
    for a, b in zip(local.batches(0, 60), stream.batches(0, 60), strict=True):
        assert same(a, b)
        most = max(most, held(tmp_path / "shards"))
    assert most <= limit
    names = {entry.file for entry in shards}
    assert {name for name in http.sent if name.endswith(".h5")} == names, "no validation shard is fetched to train"
    turns = sum(stage.clips * 30 / len(s) for stage, s in zip(config.stages, stream.samplers))
    assert http.sent.total() < (turns + 1.5) * total, "a shard comes about once a turn"


def test_indexes_are_judged_as_in_a_folder(many: Path, tmp_path: Path) -> None:
    shutil.copytree(many, tmp_path / "set")
    index = tmp_path / "set" / "index.json"
    text = index.read_text()
    with ShardServer(tmp_path / "set") as server:
        for content, words in (
            (text.replace('"format_version":', '"format_version":7', 1), "shard format 7"),
            (text[:-40], "cannot be read"),
            (text.replace('"sha256":', '"sha":', 1), "malformed index"),
        ):
            index.write_text(content)
            with pytest.raises(ShardError, match=words) as caught:
                remote(server.url, tmp_path / "cache")
            assert caught.value.where == f"{server.url}/index.json"
        index.unlink()
        with pytest.raises(ShardError, match="not found"):
            remote(server.url, tmp_path / "cache")
        index.write_text(text)
        reader = remote(server.url, tmp_path / "cache")
        lost = reader.index.shards[3].file
        (tmp_path / "set" / lost).unlink()
        with pytest.raises(ShardError, match=rf"{lost}: not found"):
            check_index(reader.store)
        (tmp_path / "set" / lost).write_bytes(b"short")
        with pytest.raises(ShardError, match=rf"{lost}: the shard has 5 bytes"):
            check_index(reader.store, hashes=True)
    with pytest.raises(ConfigError, match="--cache"):
        ShardReader(server.url)


@pytest.mark.slow
def test_the_commands_take_urls(
    many: Path, http: ShardServer, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRACE_PACKS", str(packs))
    url = f"http://somebody:hunter2@{http.address}/set?sig=s3cr3t"
    largest = max(entry.bytes for entry in load_index(many).shards)
    sets = [word for key in ("steps=4", "checkpoint_every=2", *NETWORK) for word in ("--set", key)]
    runs = tmp_path / "remote", tmp_path / "local"
    words = ["train", "--config", "debug", *sets, "--out", str(runs[0]), "--shards", url]
    assert command([*words, "--cache-size", str(6 * largest)]) == 0
    config = load_config(runs[0] / "config.yaml")
    assert config.data.shuffle_window == 3
    assert open_checkpoint(runs[0]).facts["data"]["shards"] == f"http://{http.address}/set"
    # from the folder, in the window's order: the same weights
    words = ["train", "--config", "debug", *sets, "--out", str(runs[1]), "--shards", str(many)]
    assert command([*words, "--set", "data.shuffle_window=3"]) == 0
    a, b = (open_checkpoint(run).weights() for run in runs)
    assert all(torch.equal(a[name], b[name]) for name in b)
    # the window stays the run's own when it goes on with another cache
    assert command(["train", "--resume", str(runs[0]), "--set", "steps=6", "--shards", url]) == 0
    capsys.readouterr()
    monkeypatch.setenv("TRACE_SHARDS", url)
    reports = []
    for where in ([], ["--shards", str(many)]):
        assert command(["evaluate", str(runs[0]), "--one-in", "2", "--json", *where]) == 0
        reports.append(json.loads(capsys.readouterr().out))
    assert reports[0] == reports[1] and reports[0]["frames"] > 0
    assert command(["build-shards", "--root", str(tmp_path)]) == 2, "shards are built into a folder"
    assert command(["config"]) == 0
    assert command(["evaluate", str(runs[0]), "--cache-size", "plenty"]) == 2
    http.always["index.json"] = Fault(status=403)
    assert command(["--debug", "evaluate", str(runs[0])]) == 3
    told = capsys.readouterr()
    assert "'plenty' is no size" in told.err and "access is refused (403)" in told.err and http.address in told.out
    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    for secret in ("hunter2", "s3cr3t"):
        assert secret not in told.out + told.err
        assert not [1 for content in written if secret.encode() in content]


def test_stores_know_what_they_are(many: Path, http: ShardServer, tmp_path: Path) -> None:
    store = remote(http.url, tmp_path).store
    assert isinstance(store, RemoteStore) and store.remote and not ShardReader(many).store.remote
