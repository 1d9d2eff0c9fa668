"""Imported released weights are scored as a run is, when they hold a whole network."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_3dpw
import torch
from published_files import random_state, save
from small_network import SMALL, small
from torch import Tensor

from trace_cli.main import run
from trace_data.builder.build import build_shards
from trace_data.errors import CheckpointError
from trace_data.frames.image import decode
from trace_data.schema.body import GENDERS
from trace_data.schema.clip import ClipRef
from trace_data.shards.reader import ShardReader
from trace_train.build import body_layers
from trace_train.config import load_config
from trace_train.evaluation.score import score
from trace_train.inference.letterbox import Letterbox, load_padded
from trace_train.inference.source import open_source
from trace_train.inference.stream import NetworkStream, use_chunk_statistics
from trace_train.network.flow import DisFlow, RaftFlow
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps
from trace_train.weights.folder import RELEASED, InferenceSwitches
from trace_train.weights.importing import import_weights
from trace_train.weights.published import PARTS


@pytest.mark.slow
def test_a_whole_network_is_built_as_its_weights_need_it(released: Path, imported: Path) -> None:
    source = open_source(imported)
    network = source.network
    assert not network.training and network.published_camera and not network.center_logits
    assert network.world_rotation == "additive" and network.world_motion_gain == 2
    assert isinstance(source.flow, RaftFlow) and source.folder == imported
    head, image = (torch.load(released / PARTS[part].file, weights_only=True) for part in ("head", "image"))
    for name, value in network.state_dict().items():
        assert torch.equal(value, image[f"module.{name}"] if name.startswith("backbone.") else head[name]), name
    assert len(source.sha256.split()) == 4


def test_parts_of_a_network_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_weights({"flow": save(random_state("flow"), tmp_path / "raft.pth")}, tmp_path / "flow")
    with pytest.raises(CheckpointError, match="no image and no head"):
        open_source(tmp_path / "flow")
    assert run(["evaluate", str(tmp_path / "flow"), "--shards", str(tmp_path), "--packs", str(tmp_path)]) == 3
    assert "holds no whole network" in capsys.readouterr().err


@pytest.fixture(scope="module")
def wide(packs: Path, tmp_path_factory: pytest.TempPathFactory) -> ShardReader:
    """Frames of 96 x 64 px; the test split has two sequences of 20."""
    folder = tmp_path_factory.mktemp("wide")
    tiny_3dpw.write(folder, {"train": 1, "val": 1, "test": 2}, frames=20)
    build_shards(["3dpw"], folder, folder / "shards", packs=packs)
    return ShardReader(folder / "shards")


def seen_maps(network: TraceNetwork) -> list[Tensor]:
    """Where the centre maps (frames, D, M, M) of all passes are collected."""
    passes: list[Tensor] = []

    def note(_module: object, _inputs: object, maps: Maps) -> None:
        passes.append(maps.center_3d.clone())

    network.register_forward_hook(note)
    return passes


@pytest.mark.parametrize("switches", [RELEASED, InferenceSwitches()])
def test_a_network_is_scored_as_it_predicts(wide: ShardReader, packs: Path, switches: InferenceSwitches) -> None:
    """The colour of the padding and the statistics of batch normalisation are those that the weights ask for."""
    network, layers = small(), body_layers(packs, GENDERS)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    settings = load_config("debug", [*SMALL, "network.flow=dis", "evaluation.threshold=0.9"])
    scored = seen_maps(network)
    report = score(network, layers, wide, settings, split="test", flow=DisFlow(), switches=switches)
    assert (report.settings["padding"], report.settings["bn"]) == (switches.padding, switches.bn)
    assert ("on white" in report.protocol) == ("statistics" in report.protocol) == (switches == RELEASED)
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert not any(module.training for module in network.modules())

    again = small()
    if switches.bn == "chunk":
        use_chunk_statistics(again)
    predicted = seen_maps(again)
    for row in [row for row, entry in enumerate(wide.index.sequences) if entry.split == "test"]:
        box = Letterbox(width=96, height=64, size=64, padding=switches.padding)
        video = NetworkStream(again, DisFlow(), layers["neutral"], box, threshold=0.9)
        images = wide.encoded(ClipRef(sequence=row, start=0, stride=1, length=20))
        pictures = [decode(image, "frame", rgb=True) for image in images]
        for at in (0, 8, 16):
            video.see(pictures[at : at + 8])
    ours, theirs = (torch.cat([maps.sum((1, 2, 3)) for maps in passes]) for passes in (scored, predicted))
    assert len(ours) == len(theirs) == 40
    assert torch.allclose(ours.sort().values, theirs.sort().values, rtol=1e-5)


def test_white_padding_shows_where_a_point_of_the_frame_is(wide: ShardReader) -> None:
    clip = load_padded(wide, ClipRef(sequence=0, start=0, stride=1, length=2), 48, "white")
    assert (clip.frames[:, :7] == 255).all() and (clip.frames[:, -7:] == 255).all()
    assert (clip.frames[:, 10:-10] < 255).any()
    corner = clip.crop_from_frame[0] @ [-0.5, -0.5, 1]  # of the picture, 96 px wide in 48
    assert corner[:2] == pytest.approx([-0.5, 7.5])
