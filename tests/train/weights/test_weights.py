"""Released weights in and out: every tensor in its place, nothing lost, and every wrong file called by its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from published_files import random_state, save
from safetensors.torch import save_file
from torch import Tensor

from trace_cli.main import run
from trace_data.errors import CheckpointError, ConfigError, OutputError, TraceError, UnsafePickleError
from trace_data.files import sha256_of
from trace_train.build import build_network
from trace_train.config import Config, InitConfig, NetworkConfig
from trace_train.network.raft import Raft
from trace_train.weights.checkpoint import FORMAT_VERSION
from trace_train.weights.exporting import export_weights
from trace_train.weights.folder import RELEASED, Switches, open_weights
from trace_train.weights.importing import import_weights
from trace_train.weights.published import PARTS, fate, known, needed, ours, table
from trace_train.weights.sources import open_start

State = OrderedDict[str, Tensor]


@pytest.fixture(scope="module")
def states() -> dict[str, State]:
    """Read only."""
    return {part: random_state(part) for part in PARTS}


@pytest.fixture(scope="module")
def files(released: Path) -> dict[str, Path]:
    """What `states` are read from. Read only."""
    return {part: released / published.file for part, published in PARTS.items()}


def started_from(weights: Path) -> Config:
    """The published sizes, from these weights."""
    return Config(init=InitConfig(weights=weights))


def test_every_name_of_the_table_has_a_fate() -> None:
    assert {name: len(table(PARTS[name].branch)) for name in PARTS} == {"image": 1871, "head": 404, "flow": 179}
    assert sum(fate(PARTS["image"], name) == "mapped" for name in known(PARTS["image"])) == 1752
    assert sum(fate(PARTS["flow"], name) == "mapped" for name in known(PARTS["flow"])) == 169
    for part in PARTS.values():
        assert ours(part) <= known(part).keys()  # our network has no name that is not published
        assert not [name for name in known(part) if fate(part, name) == "unexpected"]
        assert {fate(part, name) for name in needed(part)} == {"mapped"}
    # of the head nothing but bodies and the loss is without a place
    head = PARTS["head"]
    assert {fate(head, name) for name in table(head.branch)} == {"mapped"}
    assert {fate(head, name) for name in known(head)} == {"mapped", "body model", "loss"}


def test_each_tensor_comes_to_its_place(states: dict[str, State], imported: Path) -> None:
    raft, network = open_weights(imported).raft(iterations=7), build_network(NetworkConfig())
    start = open_start(started_from(imported))
    assert start is not None
    rows = start.fill(network, NetworkConfig())
    assert raft.iterations == 7 and not raft.training
    assert not [p for p in raft.parameters() if p.requires_grad]
    assert len(raft.state_dict()) == 169 and len(network.backbone.state_dict()) == 1752
    for name, value in raft.state_dict().items():
        assert torch.equal(value, states["flow"]["module." + name]), name
    for name, value in network.state_dict().items():
        published = states["image"]["module." + name] if name.startswith("backbone.") else states["head"][name]
        assert torch.equal(value, published), name
    assert all(len(row.names) == row.of for row in rows)


def test_export_undoes_import(states: dict[str, State], imported: Path, tmp_path: Path) -> None:
    written = export_weights(imported, tmp_path)
    assert {item.file.name for item in written} == {"trace_image_backbone.pkl", "trace_head.pkl", "raft-things.pth"}
    for item in written:
        found = torch.load(item.file, weights_only=True)
        expected = states[item.part]
        assert list(found) == list(expected)
        assert all(found[k].dtype == expected[k].dtype and torch.equal(found[k], expected[k]) for k in expected)
    import_weights({item.part: item.file for item in written}, tmp_path / "again")
    for part in PARTS:
        one, two = ((folder / f"{part}.safetensors").read_bytes() for folder in (imported, tmp_path / "again"))
        assert one == two


def test_what_is_known_of_them_is_written_beside(files: dict[str, Path], imported: Path) -> None:
    facts = json.loads((imported / "weights.json").read_text())
    assert facts["parts"]["flow"]["source"] == "raft-things.pth"
    assert facts["parts"]["flow"]["source_bytes"] == files["flow"].stat().st_size
    assert facts["parts"]["image"]["prefixed"] and not facts["parts"]["head"]["prefixed"]
    switches = open_weights(imported).switches
    assert switches == Switches() and facts["switches"] == asdict(Switches())
    assert open_weights(imported).inference == RELEASED and RELEASED.padding == "white" and RELEASED.bn == "chunk"
    assert facts["switches"].keys() <= NetworkConfig.model_fields.keys()  # they are keys of the configuration
    NetworkConfig.model_validate(facts["switches"])


def test_a_part_alone_a_wrapper_and_no_prefix(states: dict[str, State], tmp_path: Path) -> None:
    bare = OrderedDict((name.removeprefix("module."), value) for name, value in states["flow"].items())
    file = save({"model_state_dict": bare, "epoch": 3}, tmp_path / "raft.pth")
    report = import_weights({"flow": file}, tmp_path / "out").parts[0]
    assert (report.wrapper, report.prefixed, report.tensors) == ("model_state_dict", False, 179)
    weights = open_weights(tmp_path / "out")
    assert weights.parts == ("flow",) and weights.switches is None
    with pytest.raises(CheckpointError, match="holds no head weights, only flow"):
        weights.state("head")
    found = torch.load(export_weights(tmp_path / "out", tmp_path / "published")[0].file, weights_only=True)
    assert list(found) == list(states["flow"])  # the published layout has the prefix


def test_doubles_that_differ_are_told_and_one_holds(states: dict[str, State], tmp_path: Path) -> None:
    report = import_weights({"flow": save(states["flow"], tmp_path / "f.pth")}, tmp_path / "out").parts[0]
    assert "10 tensors differ from their double" in report.notes[0]
    honest = states["flow"].copy()
    for name in honest:
        if ".norm3." in name:
            honest[name] = honest[name.replace(".norm3.", ".downsample.1.")]
    assert import_weights({"flow": save(honest, tmp_path / "g.pth")}, tmp_path / "two").parts[0].notes == ()


def test_what_is_not_needed_may_be_missing_and_is_named(states: dict[str, State], tmp_path: Path) -> None:
    less = OrderedDict(
        (name, value)
        for name, value in states["head"].items()
        if not name.endswith("num_batches_tracked") and name != "coordmap_3d" and not name.startswith("_")
    )
    report = import_weights({"head": save(less, tmp_path / "h.pkl")}, tmp_path / "out").parts[0]
    assert "coordmap_3d" in report.missing and report.tensors + len(report.missing) == 404
    assert [len(item.missing) for item in export_weights(tmp_path / "out", tmp_path / "p")] == [len(report.missing)]


def test_other_element_types_are_widened_and_told(states: dict[str, State], tmp_path: Path) -> None:
    half = OrderedDict((n, v.half() if v.is_floating_point() else v.int()) for n, v in states["flow"].items())
    report = import_weights({"flow": save(half, tmp_path / "f.pth")}, tmp_path / "out").parts[0]
    found = open_weights(tmp_path / "out").state("flow")
    assert report.converted == 179 and "179 tensors had another element type" in report.notes[-1]
    assert torch.equal(found["fnet.conv1.weight"], half["module.fnet.conv1.weight"].float())
    assert found["cnet.norm1.num_batches_tracked"].dtype == torch.int64


def without(state: State, name: str) -> State:
    return OrderedDict((key, value) for key, value in state.items() if key != name)


def widened(state: State) -> State:
    """As HRNet-W48 has it, where one width says enough."""
    name = "module.backbone.stage4.0.branches.0.0.conv1.weight"
    return OrderedDict(state, **{name: torch.zeros(48, 48, 3, 3)})


def half_prefixed(state: State) -> State:
    names = list(state)
    return OrderedDict((n if i % 2 else n.removeprefix("module."), state[n]) for i, n in enumerate(names))


class Callback:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def negative_variance(state: State) -> State:
    name = next(name for name in state if name.endswith("running_var"))
    return state | {name: -state[name] - 1}


WRONG = [
    ("head", lambda s: s["image"], "is TRACE's image model and was given as --head", "--image"),
    ("image", lambda s: s["head"], "is TRACE's temporal head and was given as --image", "--head"),
    ("image", lambda s: s["flow"], "is RAFT and was given as --image", "--flow"),
    ("flow", lambda s: s["head"], "is TRACE's temporal head and was given as --flow", "--head"),
    ("flow", lambda s: dict.fromkeys(table("raft_torchvision"), torch.zeros(1)), "torchvision's names", "--flow"),
    ("head", lambda s: {"fc.weight": torch.zeros(2, 2)}, "no checkpoint of this network", "docs weights"),
    ("head", lambda s: dict.fromkeys(list(s["head"])[:40], torch.zeros(1)), "nearest is --head", "trace docs weights"),
    ("head", lambda s: s["head"] | {"cam_rot_head.3.weight": torch.zeros(6, 128, 1, 1)}, "three blocks", "one block"),
    ("image", lambda s: widened(s["image"]), "is HRNet-W48, expected W32", "trace_image_backbone.pkl"),
    ("image", lambda s: half_prefixed(s["image"]), "half of a DataParallel prefix", "model.module"),
    ("head", lambda s: without(s["head"], "det_head.1.bias"), "lacks 1 of the", "det_head.1.bias"),
    ("head", lambda s: s["head"] | {"extra.weight": torch.zeros(2)}, "holds 1 tensor that trace", "--allow-unexpected"),
    ("head", lambda s: s["head"] | {"det_head.1.bias": torch.zeros(8)}, "(8,), expected (7,)", "trace_head.pkl"),
    ("head", lambda s: s["head"] | {"det_head.1.bias": torch.full((7,), torch.nan)}, "not finite", "again"),
    ("image", lambda s: negative_variance(s["image"]), "below zero", "again"),
    ("head", lambda s: negative_variance(s["head"]), "below zero", "again"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "make", "finding", "way_out"), WRONG, ids=[w[2][:30] for w in WRONG])
def test_a_wrong_file_is_named_and_nothing_is_written(
    states: dict[str, State], tmp_path: Path, part: str, make: Any, finding: str, way_out: str
) -> None:
    file = save(make(states), tmp_path / "file.pth")
    with pytest.raises(CheckpointError) as caught:
        import_weights({part: file}, tmp_path / "out")
    assert finding in caught.value.message and way_out in str(caught.value) and str(file) in str(caught.value)
    assert not list(tmp_path.glob("out*"))


def test_an_image_model_is_what_from_bev_takes(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is TRACE's temporal head and was given as --from-bev"):
        import_weights({}, tmp_path / "out", from_bev=files["head"])


def test_one_bad_file_keeps_the_good_ones_from_being_written(files: dict[str, Path], tmp_path: Path) -> None:
    data = files["head"].read_bytes()
    cut = tmp_path / "cut.pkl"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(TraceError):
        import_weights({"flow": files["flow"], "head": cut}, tmp_path / "out")
    evil = save({"det_head.1.bias": torch.zeros(7), "x": Callback()}, tmp_path / "evil.pkl")
    with pytest.raises(UnsafePickleError, match="system at byte"):
        import_weights({"flow": files["flow"], "head": evil}, tmp_path / "out")
    with pytest.raises(CheckpointError, match="cannot be read"):
        import_weights({"flow": files["flow"], "head": tmp_path / "nowhere.pkl"}, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_unknown_names_are_kept_when_asked(states: dict[str, State], tmp_path: Path) -> None:
    file = save(states["flow"] | {"module.more": torch.ones(2)}, tmp_path / "f.pth")
    report = import_weights({"flow": file}, tmp_path / "out", allow_unexpected=True).parts[0]
    assert report.unexpected == ("more",)
    assert torch.equal(open_weights(tmp_path / "out").state("flow")["more"], torch.ones(2))
    export_weights(tmp_path / "out", tmp_path / "p")
    assert list(torch.load(tmp_path / "p" / "raft-things.pth", weights_only=True))[-1] == "module.more"
    with pytest.raises(CheckpointError, match="do not fit"):
        open_weights(tmp_path / "out").raft()


def test_a_start_from_bev_takes_what_fits_and_counts_the_rest(files: dict[str, Path], tmp_path: Path) -> None:
    report = import_weights({}, tmp_path / "out", from_bev=files["image"])
    weights = open_weights(tmp_path / "out")
    assert weights.parts == ("image", "start") and weights.switches is None
    start, image = weights.state("start"), weights.state("image")
    assert {"det_head.0.0.conv1.weight", "bv_pre_layers.0.weight", "cam_map_refiner.0.conv1.weight"} <= start.keys()
    assert "det_head.1.weight" not in start  # four channels there, seven here
    assert all(torch.equal(start[name], image[name]) for name in start)
    assert report.parts[1].tensors == len(start) and "begin from nothing" in report.parts[1].notes[0]
    assert [item.part for item in export_weights(tmp_path / "out", tmp_path / "p")] == ["image"]
    with pytest.raises(ConfigError, match="exclude"):
        import_weights({"head": files["head"]}, tmp_path / "x", from_bev=files["image"])


def test_the_folder_is_replaced_only_when_asked_and_never_half(files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    import_weights({"flow": files["flow"]}, out)
    with pytest.raises(OutputError, match="holds imported weights already"):
        import_weights({"flow": files["flow"]}, out)
    import_weights({"flow": files["flow"]}, out, force=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        import_weights({"flow": files["flow"]}, tmp_path / "mine", force=True)
    damaged = out / "flow.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        open_weights(out)
    damaged.unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        open_weights(out)
    with pytest.raises(CheckpointError, match="no imported weights"):
        open_weights(tmp_path)


def checkpoint(folder: Path, state: dict[str, Tensor], **network: Any) -> Path:
    """A checkpoint of a run of the published size, with these keys of `network`."""
    folder.mkdir()
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "weights.safetensors")
    (folder / "training.pth").write_bytes(b"")  # every checkpoint has one; exporting reads the weights alone
    hashes = {name: sha256_of(folder / name) for name in ("weights.safetensors", "training.pth")}
    config = Config.model_validate({"network": network}).model_dump(mode="json")
    text = {"format_version": FORMAT_VERSION, "step": 5, "config": config, "sha256": hashes}
    (folder / "checkpoint.json").write_text(json.dumps(text))
    return folder


def test_a_full_disk_leaves_nothing_behind(files: dict[str, Path], tmp_path: Path) -> None:
    # files may grow to 8 MB and the weights have 21; Python gets the error instead of the signal
    script = (
        "import resource, signal, sys; from trace_cli.main import run; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, 8 << 20)); sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "import-weights", "--flow", str(files["flow"]), "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3 and "the weights were not written" in done.stderr and "--out" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_runs_are_exported_when_the_published_code_can_read_them(states: dict[str, State], tmp_path: Path) -> None:
    names = [name for name in states["head"] if not name.startswith("_")]
    trained = {name: states["head"][name] for name in names}
    trained |= {f"backbone.{n}": v for n, v in build_network(NetworkConfig()).backbone.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"network\.center_maps is 'logits', not 'raw'"):
        export_weights(checkpoint(tmp_path / "scratch", trained), tmp_path / "p")
    image, head = export_weights(checkpoint(tmp_path / "tuned", trained, **asdict(Switches())), tmp_path / "p")
    assert list(torch.load(head.file, weights_only=True)) == names
    found = torch.load(image.file, weights_only=True)
    assert len(found) == 1752 and all(name.startswith("module.backbone.") for name in found)
    small = {name: value for name, value in trained.items() if not name.startswith("temp_model")}
    small["det_head.1.bias"] = torch.zeros(3)
    with pytest.raises(
        CheckpointError, match=r"lacks 12 tensors of TRACE's temporal head: temp_model.*det_head.1.bias"
    ):
        export_weights(checkpoint(tmp_path / "small", small), tmp_path / "q")
    assert not (tmp_path / "q").exists()


def test_the_commands(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    assert run(["import-weights"]) == 2
    assert "none of trace_image_backbone.pkl, trace_head.pkl, raft-things.pth" in capsys.readouterr().err
    assert run(["import-weights", "--head", str(files["head"]), "--flow", str(files["flow"])]) == 0
    shown = capsys.readouterr().out
    assert "raft-things.pth" in shown and "kept, the same under another name" in shown
    assert run(["export-weights", "--out", str(tmp_path / "p"), "--json"]) == 0
    assert [item["part"] for item in json.loads(capsys.readouterr().out)["files"]] == ["head", "flow"]
    assert run(["export-weights", "--out", str(tmp_path / "p")]) == 3
    assert "--force" in capsys.readouterr().err
    sources = tmp_path / "home" / "sources"
    sources.mkdir()
    (sources / "trace_motion_backbone.pth").symlink_to(files["flow"])
    assert run(["import-weights", "--force", "--json"]) == 0
    assert [part["part"] for part in json.loads(capsys.readouterr().out)["parts"]] == ["flow"]


def test_published_flow_computes(states: dict[str, State], imported: Path) -> None:
    raft = open_weights(imported).raft(iterations=2)
    assert isinstance(raft, Raft)
    with torch.no_grad():
        flow = raft(torch.zeros(1, 2, 64, 64, 3), upsample=True)
    assert flow.shape == (1, 1, 2, 64, 64)


def test_element_types_are_told(states: dict[str, State], tmp_path: Path) -> None:
    half = {name: value.bfloat16() if value.is_floating_point() else value for name, value in states["flow"].items()}
    report = import_weights({"flow": save(half, tmp_path / "f.pth")}, tmp_path / "out").parts[0]
    assert any("bfloat16" in note for note in report.notes)
    double = {name: value.double() if value.is_floating_point() else value for name, value in states["flow"].items()}
    report = import_weights({"flow": save(double, tmp_path / "f.pth")}, tmp_path / "again").parts[0]
    assert any("element type" in note for note in report.notes) and not any("bfloat16" in n for n in report.notes)


def test_a_pickled_module_is_told_to_save_its_state_dict(tmp_path: Path) -> None:
    with pytest.raises(UnsafePickleError) as caught:
        import_weights({"head": save(torch.nn.Linear(2, 2), tmp_path / "f.pth")}, tmp_path / "out")
    assert "state_dict()" in str(caught.value.hint)
