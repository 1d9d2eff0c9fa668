"""`--set` reaches every key under the name that docs/configuration.md has for it, those of stages too."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import tiny

from trace_data.errors import ConfigError
from trace_train.config import changed, load_config
from trace_train.training.stage_checks import processes_able, stage_errors


def test_a_stage_is_reached_by_its_number() -> None:
    config = tiny("stages.0.clips=8", "stages.1.loss.joints2d=3", "stages.1.name=last")
    assert [stage.clips for stage in config.stages] == [8, 2] and config.stages[0].frames == 1
    assert config.stages[1].loss == {"joints2d": 3.0} and config.stages[1].name == "last"
    assert changed(config, ["stages.1.frames=3"]).stages[1].frames == 3


def test_a_list_that_is_not_written_down_begins_as_its_default(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("steps: 5\n")
    config = load_config(tmp_path / "own.yaml", ["stages.0.clips=4", "optim.betas.1=0.5"])
    assert config.stages[0].clips == 4 and config.stages[0].frames == 10
    assert config.optim.betas == (0.9, 0.5)


@pytest.mark.parametrize("text", ["stages.2.clips=1", "stages.first.clips=1", "stages.-1.clips=1", "steps.0=1"])
def test_what_is_not_there_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=text.split(".")[0]):
        tiny(text)


def test_a_number_of_processes_that_does_not_fit_is_answered_with_those_that_do() -> None:
    config = tiny("stages=[{clips: 12, frames: 1, share: 0.5}, {clips: 8, frames: 1, share: 0.5}]")
    assert processes_able(config) == [1, 2, 4] and not list(stage_errors(config, 4))
    (error,) = stage_errors(config, 3)
    assert "1 or 2 or 4 processes" in (error.hint or "")
    in_parts = tiny("stages=[{clips: 12, frames: 1}]", "optim.accumulate=3")
    assert processes_able(in_parts) == [1, 2, 4]
    assert all("1 or 2 or 4 processes" in (error.hint or "") for error in stage_errors(in_parts, 6))
