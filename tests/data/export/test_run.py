"""Exporting: all files or none, named errors, true durations, and lines that say what a file is."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from glb_reader import Glb
from turned_results import example, nobody, one_frame, turned

from trace_data.errors import AssetError, ConfigError, OutputError
from trace_data.export import formats as table
from trace_data.export.fbx import blender, conversion
from trace_data.export.formats import FORMATS, Up
from trace_data.export.rate import clock
from trace_data.export.run import ExportedFile, Options, base_name, export_result
from trace_data.export.track import absences, presence, presence_at
from trace_data.results.result import Result

NO_MESH = sorted(name for name, form in FORMATS.items() if not form.mesh)
FREE = Options(body="free")


def run(result: Result, formats: list[str], out: Path, options: Options = FREE, **settings: bool) -> list[ExportedFile]:
    def arranged(up: Up) -> Result:
        return turned(result, up)

    return export_result(arranged, formats, out, "zwei Wege ä", options=options, **settings)


def test_no_packs_are_needed_without_a_mesh(tmp_path: Path) -> None:
    files = run(example("camera"), NO_MESH, tmp_path, Options())
    assert {file.format for file in files} == set(NO_MESH)
    assert all(Path(file.path).stat().st_size == file.bytes for file in files)


def test_with_a_mesh_packs_are_asked_for_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="body model") as caught:
        run(example("camera"), ["bvh", "glb"], tmp_path, Options())
    assert "prepare-smpl" in str(caught.value.hint) and "--body free" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_the_published_file_needs_the_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="body model"):
        run(example("camera"), ["romp"], tmp_path)


@pytest.mark.parametrize("change", [nobody, one_frame, lambda r: one_frame(nobody(r))], ids=["nobody", "one", "none"])
def test_short_and_empty_results_have_files_too(change: object, tmp_path: Path) -> None:
    assert callable(change)
    result = change(example("camera"))
    everything = [name for name in FORMATS if name not in ("romp", "fbx")]
    files = run(result, everything, tmp_path)
    people = len(result.person)
    assert sum(file.format == "bvh" for file in files) == (2 if people else 0)  # the third one enters later
    assert ("nobody" in files[0].facts) == (not people)


def test_names_depend_on_nothing_but_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path.parent)
    files = run(example("camera"), [*NO_MESH, "glb"], tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = run(example("camera"), [*NO_MESH, "glb"], tmp_path, force=True)
    assert [replace(file, path="") for file in files] == [replace(file, path="") for file in again]
    names = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path != elsewhere]
    assert not any(part.startswith(".") for name in names for part in name.parts)
    assert all(str(name).startswith("zwei Wege ä.") for name in names)
    assert base_name(Path("/x/zwei Wege ä.trace.npz")) == "zwei Wege ä"


def test_files_are_replaced_only_when_asked(tmp_path: Path) -> None:
    run(example("camera"), ["tum"], tmp_path)
    before = (tmp_path / "zwei Wege ä.tum.txt").read_bytes()
    other = example("camera", moving=False)
    with pytest.raises(OutputError, match="exists") as caught:
        run(other, ["bvh", "tum"], tmp_path)
    assert "--force" in str(caught.value.hint)
    assert [path.name for path in tmp_path.iterdir()] == ["zwei Wege ä.tum.txt"]
    assert (tmp_path / "zwei Wege ä.tum.txt").read_bytes() == before
    run(other, ["bvh", "tum"], tmp_path, force=True)
    assert (tmp_path / "zwei Wege ä.tum.txt").read_bytes() != before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        run(example("camera"), ["tum"], tmp_path / "below")


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught:
        run(example("camera"), ["tum"], tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value.where)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = Path.write_bytes, []

    def full(self: Path, data: bytes) -> int:
        written.append(self)
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(self))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="space"):
        run(example("camera"), ["bvh", "tum"], tmp_path)
    assert len(written) == 3 and list(tmp_path.iterdir()) == []


def test_an_unknown_format_names_its_neighbour(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'bvh'"):
        run(example("camera"), ["bhv"], tmp_path)


def test_lines_say_what_a_file_is(tmp_path: Path) -> None:
    files = {file.format: file for file in run(example("camera"), ["glb", "bvh", "amass", "tum"], tmp_path)}
    for name, words in {
        "glb": ("Y up", "; m;", "true times (30 fps)", "person_1, Größe 1", "Größe 1 absent 1.50–2.23 s"),
        "bvh": ("Y up", "; cm;", "30 fps, 90 frames", "Größe 2 absent 0.00–0.60 s"),
        "amass": ("Z up", "smplh", "padded"),
        "tum": ("y down", "true times"),
    }.items():
        assert all(word in files[name].facts for word in words), files[name].facts
    assert "30 fps and 640 x 360" in files["glb"].hint
    assert "CC0" in files["glb"].licence and "nothing of the body model" in files["bvh"].licence
    assert "person_" not in files["tum"].facts


def test_a_lens_that_a_format_cannot_describe_is_told(tmp_path: Path) -> None:
    result = example("camera")
    lens = np.repeat(result.intrinsics, len(result.time), axis=0)
    lens[:, 0, 2] += 12
    lens[:, :2, :2] *= np.linspace(1, 1.2, len(lens))[:, None, None]
    files = run(replace(result, intrinsics=lens), ["glb", "usd", "colmap"], tmp_path)
    facts = {file.format: file.facts for file in files}
    assert "12.0 px from the middle" in facts["glb"] and "zooms" in facts["glb"]
    assert "middle" not in facts["usd"] and "zooms" in facts["usd"]
    assert "zooms" not in facts["colmap"]


def test_morph_targets_are_called_the_model_itself(packs: Path, tmp_path: Path) -> None:
    result = example("y", people=1, frames=3)

    def licence(options: Options, name: str = "glb") -> str:
        (file,) = export_result(lambda up: result, [name], tmp_path, "a", packs=packs, options=options, force=True)
        return file.licence

    assert "pose directions" in licence(Options(correctives="morph"))
    assert "template" in licence(Options())
    assert "parameters" in licence(Options(), "romp")


def test_fbx_without_blender_is_the_glb_and_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert blender() is None
    (file,) = run(one_frame(example("camera")), ["fbx"], tmp_path)
    assert file.path.endswith(".glb")
    assert "blender --background" in file.hint and "'" + str(tmp_path) in file.hint
    assert conversion("a.glb", "b.fbx", fps=30000 / 1001, width=6, height=4).endswith("-- a.glb b.fbx 29.97003 6 4")


@pytest.mark.parametrize("rate", ["29.97", "uneven"])
def test_every_export_lasts_as_long_as_the_video(rate: str, tmp_path: Path) -> None:
    result = example("camera", irregular=rate == "uneven")
    if rate == "29.97":
        result = replace(result, time=0.4 + np.arange(len(result.time)) * 1001 / 30000)
    expected = result.time[-1] - result.time[0]
    paths = {
        file.format: Path(file.path)
        for file in run(result, ["glb", "usd", "bvh", "amass", "smpl", "tum", "csv"], tmp_path)
    }
    glb = Glb(paths["glb"].read_bytes())
    usd, bvh = paths["usd"].read_text(encoding="utf-8"), paths["bvh"].read_text()
    tum = np.loadtxt(paths["tum"])[:, 0]
    with paths["csv"].open(encoding="utf-8") as rows:
        csv_times = [float(row["time"]) for row in csv.DictReader(rows)]
    with np.load(paths["amass"]) as amass, np.load(paths["smpl"]) as smpl:
        found = {
            "glb": max(glb.array(sampler["input"]).max() for sampler in glb.channels.values()),
            "usd": number(usd, "endTimeCode = ") / number(usd, "timeCodesPerSecond = "),
            "bvh": (number(bvh, "Frames: ") - 1) * number(bvh, "Frame Time: "),
            "amass": (len(amass["poses"]) - 1) / amass["mocap_framerate"].item(),
            "smpl": (smpl["frameCount"].item() - 1) / smpl["frameRate"].item(),
            "tum": tum[-1] - tum[0],
            "csv": max(csv_times) - min(csv_times),
        }
    assert {name: abs(duration - expected) < 1e-3 for name, duration in found.items()} == dict.fromkeys(found, True)


def number(text: str, after: str) -> float:
    return float(text.split(after)[1].split()[0])


@pytest.mark.parametrize("fps", [24000 / 1001, 25, 30000 / 1001, 59.94, 120])
@pytest.mark.parametrize("rounded", [False, True])
def test_a_constant_rate_keeps_its_frames(fps: float, rounded: bool) -> None:
    time = np.arange(90) / fps + 0.5
    ticks = clock(replace(example("camera"), time=np.round(time, 3) if rounded else time))
    assert not ticks.resampled and ticks.frames == 90
    assert abs(ticks.fps - fps) < 1e-3
    assert abs((ticks.frames - 1) / ticks.fps - 89 / fps) < 1e-3


def test_a_varying_rate_becomes_the_usual_one_of_the_same_length() -> None:
    time = np.cumsum(np.where(np.arange(90) % 30 < 20, 1 / 30, 0.1))
    ticks = clock(replace(example("camera"), time=time))
    assert ticks.resampled and 29 < ticks.fps < 31
    assert abs((ticks.frames - 1) / ticks.fps - (time[-1] - time[0])) < 1e-9
    assert clock(one_frame(example("camera"))).frames == 1


def test_absences_are_between_the_rows() -> None:
    result = example("camera")
    assert absences(result, 0) == []
    ((start, end),) = absences(result, 1)
    assert (round(start * 30), round(end * 30)) == (45, 67)
    leaving = replace(
        result,
        **{
            name: getattr(result, name)[result.row_frame < 60]
            for name in ("row_frame", "row_person", "pose", "translation", "joints", "state")
        },
    )
    for person in range(3):
        np.testing.assert_array_equal(
            presence_at(leaving, person, leaving.time - leaving.time[0]), presence(leaving, person)
        )


def test_every_format_says_its_axes_and_unit_in_its_first_lines() -> None:
    folder = Path(table.__file__).parent
    for name in (
        "glb",
        "usd",
        "bvh",
        "amass",
        "meshcapade",
        "posed_meshes",
        "tum",
        "nerfstudio",
        "colmap",
        "spreadsheet",
    ):
        head = (folder / f"{name}.py").read_text(encoding="utf-8").split('"""')[1]
        assert "metres" in head or "centimetres" in head, name
        assert "up" in head or "world" in head, name
