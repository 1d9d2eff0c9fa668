"""The example of docs/own-dataset.md, word for word: verified, built in worker processes, and each slip named."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from repository import ROOT

from trace_cli.main import run
from trace_data.adapters import _registered, find_sequences, read_record, register_adapter
from trace_data.errors import ConfigError
from trace_data.shards.checks.shards import build_command
from trace_data.shards.index import load_index
from trace_data.verify.datasets import verify_datasets

PAGE = (ROOT / "docs" / "own-dataset.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()
SIZE = (160, 120)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with the example's module and data, and a process that has never heard of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "my_dance.py").write_text(CODE[0])
    write(tmp_path / "DATA" / "dance")
    yield tmp_path
    _registered.clear()
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


def write(folder: Path) -> None:
    """Three clips of people who stand in front of a resting camera of the page's focal length."""
    content: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    for name, split, count in (("duet", "train", 2), ("solo", "train", 1), ("trio", "val", 1)):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(5):
            noise = rng.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
            cv2.imwrite(str(folder / "images" / name / f"{number:06d}.jpg"), noise)
        people = {f"p{person}": somebody(rng) for person in range(count)}
        content[name] = {"split": split, "fps": 25.0, "focal": 180.0, "people": people}
    content["solo"]["people"]["p0"]["joints"][2] = None
    (folder / "people.json").write_text(json.dumps(content))


def somebody(rng: np.random.Generator) -> dict[str, Any]:
    """The neck and the limbs are seen; elsewhere the confidence is 0."""
    joints = np.tile(rng.uniform(-0.8, 0.8, (24, 3)) + np.array([0, 0, 5]), (5, 1, 1))
    pixels = 180.0 * joints[..., :2] / joints[..., 2:] + ((SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2)
    points = np.zeros((5, 18, 3))
    for coco, smpl in {1: 12, 2: 17, 3: 19, 4: 21, 5: 16, 6: 18, 7: 20, 9: 5, 10: 8, 12: 4, 13: 7}.items():
        points[:, coco] = np.concatenate([pixels[:, smpl], np.full((5, 1), 0.9)], axis=1)
    return {"points": points.tolist(), "joints": joints.tolist()}


def words(command: str) -> list[str]:
    assert command.startswith("trace ")
    return command.split()[1:]


def test_the_page_holds_one_module_of_sixty_lines_and_two_commands() -> None:
    assert len(CODE) == 1 and 50 <= len([line for line in CODE[0].splitlines() if line.strip()]) <= 66
    assert [words(command)[0] for command in COMMANDS] == ["verify-datasets", "build-shards"]


def test_the_commands_of_the_page_work(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words(COMMANDS[0]), "--json", "--jobs", "2"]) == 0
    report = json.loads(capsys.readouterr().out)["datasets"][0]
    assert (report["name"], report["sequences"], report["frames"]) == ("dance", {"train": 2, "val": 1}, 15)
    assert len(report["geometry"]) == 3 and report["geometry"][0]["reprojection_px"]["worst"] < 1e-3
    assert run([*words(COMMANDS[1]), "--jobs", "2", "--json"]) == 0
    index = load_index(here / "SHARDS")
    assert [(entry.key, entry.people) for entry in index.sequences] == [
        ("dance/train/duet", ("p0", "p1")),
        ("dance/train/solo", ("p0",)),
        ("dance/val/trio", ("p0",)),
    ]
    assert index.settings["names"] == ["dance"] and len(index.settings["adapters"]["dance"]) == 64
    assert index.settings["defects"] is True
    assert build_command(index).startswith("trace build-shards --adapter MODULE --root DIR --out ")


def test_a_name_with_a_dot_or_a_file_is_an_adapter(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "my_package").mkdir()
    (here / "my_package" / "my_dataset.py").write_text(CODE[0])
    command = ["verify-datasets", "--root", "DATA", "--depth", "content", "--json"]
    assert run([*command, "my_package.my_dataset", "--jobs", "1"]) == 0
    _registered.clear()
    assert run([*command, "--adapter", "my_package/my_dataset.py", "--jobs", "2"]) == 0
    assert capsys.readouterr().out.count('"frames": 15') == 2
    ref = find_sequences("dance", here / "DATA", "val")[0]
    assert ref.plugin is not None and (ref.plugin.module, ref.plugin.folder) == ("my_dataset", str(here / "my_package"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SPEC = 1\n", "lacks SPEC (a DatasetSpec), find, read, inspect"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("def find(:\n", "SyntaxError"),
        (CODE[0].replace('name="dance"', 'name="PW3D"'), "calls its dataset 'PW3D', which is the name of another one"),
        (CODE[0].replace("def inspect", "def look"), "is no adapter: it lacks inspect"),
    ],
)
def test_a_module_that_is_no_adapter_says_what_it_lacks(
    here: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "my_slip.py").write_text(text)
    assert run(["verify-datasets", "--adapter", "my_slip", "--root", "DATA"]) == 2
    shown = capsys.readouterr().err
    assert message in shown and "my_slip" in shown and "Traceback" not in shown


def test_a_module_that_is_nowhere_is_said_to_be(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["build-shards", "--adapter", "my_nothing", "--root", "DATA"]) == 2
    assert f"there is no module my_nothing\n  looked where Python looks and in {here}" in capsys.readouterr().err
    assert run(["verify-datasets", "3dwp", "--root", "DATA"]) == 2
    assert "did you mean '3dpw'?" in capsys.readouterr().err


def test_an_adapter_that_fails_is_a_problem_of_its_sequence(here: Path) -> None:
    broken = CODE[0].replace('clip["focal"]', 'clip["fokus"]')
    (here / "my_dance.py").write_text(broken)
    name = register_adapter("my_dance")
    problem = verify_datasets([name], here / "DATA", depth="content").datasets[0].problems[0]
    assert (
        problem.count == 3
        and "the adapter failed: KeyError: 'fokus'" in problem.what
        and "my_dance.py:" in problem.what
    )
    (here / "DATA" / "dance" / "people.json").write_text("{")
    assert "the adapter failed: JSONDecodeError" in verify_datasets([name], here / "DATA").datasets[0].problems[0].what


@pytest.mark.parametrize("splits", ['("train", "validation")', '("training",)', "()", '"train"'])
def test_splits_that_no_command_asks_for_are_refused(
    splits: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CODE[0].replace('splits=("train", "val")', f"splits={splits}")
    assert text != CODE[0]
    (here / "my_dance.py").write_text(text)
    for command in ("verify-datasets", "build-shards"):
        assert run([command, "--adapter", "my_dance", "--root", "DATA"]) == 2
        assert "SPEC.splits" in capsys.readouterr().err


@pytest.mark.parametrize("set_by", ["TRACE_ROOT_DANCE", "config.toml"])
def test_an_own_dataset_may_lie_in_a_folder_of_its_own(
    set_by: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "DATA" / "dance").rename(here / "elsewhere")
    if set_by == "config.toml":
        (here / "home").mkdir(exist_ok=True)
        (here / "home" / "config.toml").write_text('root_dance = "../elsewhere"')
    else:
        monkeypatch.setenv(set_by, str(here / "elsewhere"))
    assert run(["verify-datasets", "--adapter", "my_dance", "--depth", "content", "--jobs", "1"]) == 0
    assert "ready" in capsys.readouterr().out
    assert run(["config", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["root_dance"]["folder"] == str(here / "elsewhere")
    (here / "trace.toml").write_text('root_h36 = "x"')
    assert run(["config"]) == 2 and "'root_h36m'" in capsys.readouterr().err


def test_a_dataset_of_2d_points_and_an_unknown_camera_is_built(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = CODE[0].replace("import Camera", "import nominal_camera").replace("import Camera,", "import nominal_camera,")
    text = re.sub(r"camera = Camera\(.*\n", "camera = nominal_camera(width, height, moving=True)\n", text)
    text = re.sub(r"joints3d=Keypoints.*\n", "joints3d=None,\n", text)
    text = text.replace(
        'world_valid=True, world_reason="the camera stands still"', 'world_valid=False, world_reason="x"'
    )
    assert "camera = nominal_camera(" in text and "joints3d=None" in text
    (here / "my_dance.py").write_text(text)
    where = ["--adapter", "my_dance", "--root", "DATA", "--jobs", "1"]
    assert run(["verify-datasets", *where, "--depth", "geometry"]) == 0
    assert run(["build-shards", *where, "--out", "S"]) == 0
    assert not any(entry.world_valid for entry in load_index(here / "S").sequences)


def test_the_page_lists_every_set_of_joints() -> None:
    from trace_data.schema.keypoints import LAYOUTS

    for name, joints in LAYOUTS.items():
        [row] = [line for line in PAGE.splitlines() if line.startswith("| `") and f"`{name}`" in line]
        assert str(len(joints)) in row, name


def test_sequences_of_another_name_are_refused(here: Path) -> None:
    (here / "my_dance.py").write_text(
        CODE[0].replace("dataset=SPEC.name, split=split", "dataset='dancing', split=split")
    )
    name = register_adapter("my_dance")
    with pytest.raises(ConfigError, match="find gave a sequence of dancing/train for dance/train"):
        find_sequences(name, here / "DATA", "train")


def test_wrong_lengths_are_named(here: Path) -> None:
    (here / "DATA" / "dance" / "images" / "solo" / "000004.jpg").unlink()
    name = register_adapter("my_dance")
    report = verify_datasets([name], here / "DATA", depth="content").datasets[0]
    assert [problem.what.partition(" (")[0] for problem in report.problems] == [
        f"p0 of solo has 5 frames, {here / 'DATA' / 'dance' / 'images' / 'solo'} 4"
    ]
    ref = next(ref for ref in find_sequences(name, here / "DATA", "train") if ref.name == "duet")
    assert len(read_record(ref).people) == 2


def test_a_changed_adapter_is_another_build(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*words(COMMANDS[1]), "--split", "val"]
    assert run([*command, "--jobs", "1"]) == 0
    (here / "my_dance.py").write_text(CODE[0].replace("my_dance 1", "my_dance 2"))
    assert run(command) == 3
    assert "a build with other settings: --adapter dance " in capsys.readouterr().err
