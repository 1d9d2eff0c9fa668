"""Imported released weights are scored as a run is, when they hold a whole network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from published_files import random_state, save

from trace_cli.main import run
from trace_data.errors import CheckpointError
from trace_train.inference.source import open_source
from trace_train.network.flow import RaftFlow
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
