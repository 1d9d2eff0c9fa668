"""Configuration: presets, assignments, and errors that name everything at once."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from repository import ROOT

from trace_data.errors import ConfigError
from trace_train.config import Config, LossConfig, NetworkConfig, load_config, presets
from trace_train.config.part import ConfigPart


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads_and_round_trips(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    assert config.preset == name
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load_config(file) == config


def test_preset_trace_is_the_published_size() -> None:
    assert load_config("trace").network == NetworkConfig()
    stage = load_config("trace").stages[0]
    assert (stage.clips, stage.frames) == (6, 10)


def test_a_file_changes_the_preset_it_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("preset: debug\noptim: {lr: 0.5}\n")
    config, debug = load_config(file), load_config("debug")
    assert config.optim.lr == 0.5 and config.optim.ema == debug.optim.ema and config.network == debug.network


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"steps: 1\nsteps: 2\n", "given twice"),
        (b"optim: {lr: 0.1, lr: 0.2}\n", "given twice"),
        (b"steps: " + b"[" * 5000, "nests"),
        (b"steps: " + b"9" * 5000, "digits"),
        (b"a: &a [1, 1]\nb: &b [*a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b, *b, *b]\n", "aliases"),
        (b"preset: debug # \xff\n", "UTF-8"),
        (b"a: &a {lr: 1}\noptim: {<<: *a}\n", "merge"),
    ],
)
def test_a_file_that_no_configuration_needs_is_named(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=word) as caught:
        load_config(tmp_path / "mine.yaml")
    assert caught.value.where == str(tmp_path / "mine.yaml")
    with pytest.raises(ConfigError) as caught:
        load_config("debug", ["optim=" + "[" * 5000])
    assert caught.value.where == "--set optim"


def test_a_file_from_windows_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes("preset: debug\r\nsteps: 7\r\n".encode("utf-8-sig"))
    assert load_config(tmp_path / "mine.yaml").steps == 7


def test_assignments_reach_nested_keys() -> None:
    config = load_config("debug", ["steps=7", "optim.lr=0.5", "data.strides=[1, 2]", "data.weights={3dpw: 1.0}"])
    assert (config.steps, config.optim.lr, config.data.strides) == (7, 0.5, (1, 2))
    assert config.data.weights == {"3dpw": 1.0}


def test_preset_trace_holds_the_published_table_and_one_entry_can_change() -> None:
    """docs/reference/datasets.md#registry."""
    data = load_config("trace", ["data.datasets.h36m.crop_scale=[1.2, 2.0]"]).data
    assert {name: own.share for name, own in data.datasets.items()} == {
        "h36m": 0.22, "mpi-inf-3dhp": 0.22, "3dpw": 0.18, "dynacam": 0.24, "penn-action": 0.14
    }  # fmt: skip
    assert data.datasets["h36m"].crop_scale == (1.2, 2.0) and data.datasets["mpi-inf-3dhp"].crop_scale == (1.3, 1.9)
    assert data.datasets["dynacam"].crop_probability == 0 and data.datasets["3dpw"].crop_probability is None
    published = (data.crop_probability, data.camera_probability, data.tracking_probability, data.pan_reach)
    assert published == (0.5, 0.8, 0.6, (0.2, 0.1))
    assert (data.flip_probability, data.occlusion_probability, data.color_jitter_probability) == (0, 0, 0.2)
    assert (data.color_jitter, data.crop_shift) == (0.1, 0)


def test_all_mistakes_are_named_at_once_with_their_neighbours() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("debug", ["optim.lrr=1", "stepz=3", "network.width=wide", "data.crop_probability=2"])
    message = str(caught.value)
    assert "4 problems" in message
    assert "'lr'" in message and "'steps'" in message and "'wide'" in message and "crop_probability" in message


@pytest.mark.parametrize(
    ("preset", "assignments", "words"),
    [
        ("debgu", [], "'debug'"),
        ("debug", ["steps"], "assignment"),
        ("debug", ["steps=[1"], "as YAML"),
        ("debug", ["steps=true"], "expected a number"),
        ("debug", ["network.stage_modules=[1, 0, 1]"], "stage_modules"),
        ("debug", ["stages=[{shar: 1.0}]"], "'share'"),
        ("debug", ["steps.x=1"], "single value"),
        ("debug", ["data.crop_scale=[2, 1]"], "lower <= upper"),
        ("trace", ["data.datasets.h36m.crop_scale=[2, 1]"], "data.datasets.h36m.crop_scale: (2.0, 1.0)"),
        ("trace", ["data.datasets.h36m.crop_scal=[1, 2]"], "unknown key, did you mean 'crop_scale'"),
        ("debug", ["data.decode=nvjpeg"], "data.decode"),
        ("debug", ["stages=[{share: 0.5, clips: 2, frames: 1}]"], "expected 1"),
    ],
)
def test_mistakes_are_explained(preset: str, assignments: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_config(preset, assignments)


def test_every_key_is_read_somewhere_and_described() -> None:
    folder = ROOT / "trace_train"
    source = "\n".join(f.read_text() for f in folder.rglob("*.py") if f.parent.name != "config" or f.stem == "loading")
    parts = ConfigPart.__subclasses__()
    assert Config in parts and LossConfig in parts
    for model in parts:
        for name, field in model.model_fields.items():
            if model is not LossConfig and model is not Config:
                assert re.search(rf"\.{name}\b", source), f"{model.__name__}.{name} is read nowhere"
            if model is LossConfig:
                assert f'"{name}": Loss(' in source, f"loss.{name} is no loss"
            if not (isinstance(field.annotation, type) and issubclass(field.annotation, ConfigPart)):
                assert field.description, f"{model.__name__}.{name} has no description"


def test_the_configuration_page_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("page", ROOT / "tools/configuration_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run python tools/configuration_page.py"
