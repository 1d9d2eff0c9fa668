"""Packs and sources with one thing wrong each: it is found, named, and nothing else is complained about."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trace_data.assets.example_poses import EXAMPLE_POSES
from trace_data.assets.pack_checks import can_be_shown, check_arrays, show
from trace_data.assets.pack_files import load_pack, pack_bytes
from trace_data.assets.pack_picture import HEIGHT, WIDTH, encoded, pack_picture
from trace_data.assets.packs import H36M_TO_J17
from trace_data.assets.verify import AssetReport, AssetsReport, verify_assets
from trace_data.errors import ConfigError
from trace_data.schema.keypoints import SMPL_24

Arrays = dict[str, np.ndarray]
SIDE = ("J_regressor_extra.npy", "J_regressor_h36m.npy", "smpl_kid_template.npy")


@pytest.fixture(scope="module")
def kid_pack(packs: Path) -> Arrays:
    return load_pack(packs / "SMPLA_MALE.pth")


@pytest.fixture
def folder(packs: Path, tmp_path: Path) -> Path:
    """A folder of its own that holds the packs, to be spoilt."""
    own = tmp_path / "packs"
    own.mkdir()
    for file in packs.iterdir():
        (own / file.name).symlink_to(file)
    return own


def replace(path: Path, content: bytes | Path) -> None:
    path.unlink()
    path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())


def about(report: AssetsReport, name: str) -> AssetReport:
    return next(file for file in report.files if file.name == name)


def found(report: AssetsReport) -> dict[str, list[str]]:
    return {file.name: [f.what for f in file.findings] for file in report.files if file.findings}


def test_nothing_is_wrong_with_what_is_right(packs: Path, body_models: Path) -> None:
    report = verify_assets(packs, [body_models])
    assert report.ok
    assert found(report) == {}
    assert len(report.files) == 15
    assert all(file.where for file in report.files)
    assert {file.model for file in report.files if file.components} == {"SMPL 1.1.0", "SMIL"}
    assert about(report, "male").components == about(report, "SMPL_MALE.pth").components == 300
    assert about(report, "SMPL_MALE.pth").height == about(report, "male").height
    assert len(report.present) == 7  # the infant once
    assert json.loads(json.dumps(report.to_json()))["ok"] is True


def turned(pack: Arrays) -> Arrays:
    faces = pack["f"].copy()
    faces[7] = faces[7][::-1]
    return {"f": faces}


def doubled(pack: Arrays) -> Arrays:
    faces = pack["f"].copy()
    faces[1] = faces[0]
    return {"f": faces}


def cyclic(pack: Arrays) -> Arrays:
    parents = pack["kintree_table"].copy()
    parents[1] = 4
    return {"kintree_table": parents}


def exchanged(pack: Arrays) -> Arrays:
    ids = pack["extra_joints_index"].copy()
    ids[[3, 4]] = ids[[4, 3]]
    return {"extra_joints_index": ids}


def h36m_as_in_the_file(pack: Arrays) -> Arrays:
    rows = np.empty_like(pack["J_regressor_h36m17"])
    rows[list(H36M_TO_J17)] = pack["J_regressor_h36m17"]
    return {"J_regressor_h36m17": rows}


def h36m_mirrored(pack: Arrays) -> Arrays:
    sides = [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13, 14, 15, 16]
    return {"J_regressor_h36m17": pack["J_regressor_h36m17"][sides]}


def extra_rows(one: int, other: int) -> Callable[[Arrays], Arrays]:
    """Exchanges two rows of the extra regressor."""

    def change(pack: Arrays) -> Arrays:
        rows = pack["J_regressor_extra9"].copy()
        rows[[one, other]] = rows[[other, one]]
        return {"J_regressor_extra9": rows}

    return change


def shapes_in_millimetres(pack: Arrays) -> Arrays:
    directions = pack["smpla_shapedirs"].copy()
    directions[..., :10] *= 1000
    return {"shapedirs": pack["shapedirs"] * 1000, "smpla_shapedirs": directions}


DAMAGES: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "triangle turned": (turned, "closed surface"),
    "all triangles turned": (lambda p: {"f": p["f"][:, ::-1].copy()}, "f is inside out"),
    "H36M in the file's order": (h36m_as_in_the_file, "J_regressor_h36m17 disagrees"),
    "H36M mirrored": (h36m_mirrored, "J_regressor_h36m17 disagrees .* R_Ankle, .*L_Wrist"),
    "H36M empty": (
        lambda p: {"J_regressor_h36m17": p["J_regressor_h36m17"] * 0},
        "J_regressor_h36m17 disagrees .* R_Ankle",
    ),
    "no pose directions": (lambda p: {"posedirs": p["posedirs"] * 0}, "posedirs holds only zeros"),
    "shapes in another unit": (shapes_in_millimetres, "shapedirs tears the mesh"),
    "triangle doubled": (doubled, "closed surface"),
    "face with fractions": (lambda p: {"f": p["f"] + np.float32(0.5)}, "content f names vertices"),
    "not finite": (lambda p: {"posedirs": p["posedirs"] * np.float32(np.nan)}, "content posedirs has values"),
    "weights too large": (lambda p: {"weights": p["weights"] * np.float32(1.0005)}, "weights sum to one only within"),
    "weights moved": (lambda p: {"weights": np.roll(p["weights"], 900, axis=0)}, "posed tears the mesh"),
    "vertices moved": (lambda p: {"v_template": np.roll(p["v_template"], 900, axis=0)}, "v_template has .* longer"),
    "no tree": (cyclic, "content kintree_table is"),
    "regressor": (lambda p: {"J_regressor": p["J_regressor"] * 2}, "content J_regressor has rows"),
    "joints moved": (lambda p: {"J_regressor": p["J_regressor"][::-1].copy()}, "sides left and right are exchanged"),
    "neck and top of the head": (extra_rows(2, 3), "J_regressor_extra9 has Jaw_H36M below Neck_LSP"),
    "pelvis and spine": (extra_rows(4, 6), "J_regressor_extra9 has Spine_H36M below Pelvis"),
    "jaw and head": (extra_rows(7, 8), "J_regressor_extra9 has Head below Jaw_H36M"),
    "regressed hips": (extra_rows(0, 1), "J_regressor_extra9 left and right are exchanged: .*joints Hip"),
    "extra regressor": (lambda p: {"J_regressor_extra9": p["J_regressor_extra9"] * 2}, "J_regressor_extra9 has 9 rows"),
    "ears": (exchanged, "extra_joints_index names other vertices"),
    "mirrored": (lambda p: {"v_template": p["v_template"] * np.float32([-1, 1, 1])}, "sides left and right are"),
    "upside down": (lambda p: {"v_template": p["v_template"] * np.float32([1, -1, 1])}, "does not stand upright"),
    "centimetres": (
        lambda p: {"v_template": p["v_template"] * 100},
        "v_template is 1\\d\\d.* m high, expected an adult",
    ),
    "no kid": (lambda p: {"smpla_shapedirs": with_kid(p, 0.0)}, "not smaller than the adult"),
    "kid elsewhere": (lambda p: {"smpla_shapedirs": with_kid(p, None)}, "mm off its centre"),
    "kid of another": (lambda p: {"smpla_shapedirs": p["smpla_shapedirs"][:, :, ::-1].copy()}, "does not extend"),
    "kid with fewer": (lambda p: {"smpla_shapedirs": p["smpla_shapedirs"][:, :, :10].copy()}, "has shape"),
}


def with_kid(pack: Arrays, factor: float | None) -> np.ndarray:
    directions = pack["smpla_shapedirs"].copy()
    directions[..., 10] = directions[..., 10] + 0.02 if factor is None else factor * directions[..., 10]
    return directions


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_thing_wrong(damage: str, kid_pack: Arrays) -> None:
    change, expected = DAMAGES[damage]
    findings = check_arrays(kid_pack | change(kid_pack), infant=False)
    texts = [f"{finding.key} {finding.what}" for finding in findings]
    assert any(re.search(expected, text) for text in texts), texts


def test_values_that_are_not_finite_are_all_that_is_said(kid_pack: Arrays) -> None:
    template = kid_pack["v_template"].copy()
    template[100, 1] = np.nan
    findings = check_arrays(kid_pack | {"v_template": template}, infant=False)
    assert [finding.what for finding in findings] == ["v_template has values that are not finite"]
    assert not can_be_shown(kid_pack | {"v_template": template})


def test_types_and_hands_of_other_packers_are_fine(kid_pack: Arrays) -> None:
    theirs = {"f": kid_pack["f"].astype(np.int64), "extra_joints_index": kid_pack["extra_joints_index"][:11]}
    assert check_arrays(kid_pack | theirs, infant=False) == []


def test_an_adult_is_no_infant_and_an_infant_no_adult(kid_pack: Arrays, packs: Path) -> None:
    assert "expected an infant" in check_arrays(kid_pack, infant=True)[0].what
    assert "expected an adult" in check_arrays(load_pack(packs / "SMIL_NEUTRAL.pth"), infant=False)[0].what


def test_names_given_to_the_wrong_gender(folder: Path, packs: Path) -> None:
    replace(folder / "SMPL_MALE.pth", packs / "SMPL_FEMALE.pth")
    replace(folder / "SMPL_MALE.json", packs / "SMPL_FEMALE.json")
    report = verify_assets(folder)
    assert not report.ok
    wrong = found(report)
    assert set(wrong) == {"SMPL_MALE.pth", "SMPLA_MALE.pth"}
    assert any("same body as SMPL_FEMALE.pth" in what for what in wrong["SMPL_MALE.pth"])
    assert any("says that the pack is female" in what for what in wrong["SMPL_MALE.pth"])
    assert any("differs from SMPL_MALE.pth in" in what for what in wrong["SMPLA_MALE.pth"])


def test_name_and_keys_of_a_pack_must_fit(folder: Path, packs: Path) -> None:
    adult, kid = load_pack(packs / "SMPL_MALE.pth"), load_pack(packs / "SMPLA_FEMALE.pth")
    replace(folder / "SMPLA_MALE.pth", pack_bytes(adult))
    replace(folder / "SMPL_FEMALE.pth", pack_bytes(kid))
    replace(folder / "SMPL_NEUTRAL.pth", pack_bytes(load_pack(packs / "SMPL_NEUTRAL.pth") | {"J": np.zeros(3, "f4")}))
    report = verify_assets(folder)
    assert found(report) == {
        "SMPLA_MALE.pth": ["is missing: this is no SMPLA pack"],
        "SMPL_FEMALE.pth": ["is there: this is an SMPLA pack"],
        "SMPL_NEUTRAL.pth": ["holds J as well, which no packer writes"],
    }
    assert about(report, "SMPL_NEUTRAL.pth").ok
    assert not about(report, "SMPLA_MALE.pth").ok


def test_infant_packs_must_be_one(folder: Path, packs: Path) -> None:
    pack = load_pack(packs / "SMIL_NEUTRAL.pth")
    replace(folder / "smil_packed_info.pth", pack_bytes(pack | {"posedirs": pack["posedirs"] / 2}))
    assert found(verify_assets(folder)) == {"smil_packed_info.pth": ["differs from SMIL_NEUTRAL.pth in posedirs"]}
    for name in ("SMIL_NEUTRAL.pth", "smil_packed_info.pth"):
        replace(folder / name, packs / "SMPL_NEUTRAL.pth")
    wrong = found(verify_assets(folder))
    assert set(wrong) == {"SMIL_NEUTRAL.pth", "smil_packed_info.pth"}
    assert "holds the same body as SMPL_NEUTRAL.pth" in wrong["SMIL_NEUTRAL.pth"]


def test_notes(folder: Path) -> None:
    (folder / "SMPL_MALE.json").unlink()
    replace(folder / "SMPL_FEMALE.json", b"{")
    old = json.loads((folder / "SMPL_NEUTRAL.json").read_text()) | {"shape_components": 10, "version": "1.0.0"}
    replace(folder / "SMPL_NEUTRAL.json", json.dumps(old).encode())
    report = verify_assets(folder)
    assert report.ok  # nothing that stops work
    wrong = found(report)
    assert "whether the pack was made from SMPL 1.1.0 or 1.0.0" in wrong["SMPL_MALE.pth"][0]
    assert "cannot be read" in wrong["SMPL_FEMALE.pth"][0]
    assert "10 shape components: SMPL 1.0.0" in wrong["SMPL_NEUTRAL.pth"][0]
    assert about(report, "SMPL_NEUTRAL.pth").model == "SMPL 1.0.0"


def test_missing_and_unreadable_packs(folder: Path) -> None:
    (folder / "SMPL_MALE.pth").unlink()
    replace(folder / "SMPL_FEMALE.pth", (folder / "SMPL_FEMALE.pth").read_bytes()[:1_000_000])
    report = verify_assets(folder)
    assert set(found(report)) == {"SMPL_FEMALE.pth"}
    assert "cannot be read as a pack" in found(report)["SMPL_FEMALE.pth"][0]
    for content in (b"", b"hello"):
        replace(folder / "SMPL_FEMALE.pth", content)
        assert "torch.save" in found(verify_assets(folder))["SMPL_FEMALE.pth"][0]
    empty = verify_assets(folder / "nowhere")
    assert found(empty) == {"SMPL_NEUTRAL.pth": ["is missing"]}
    assert "trace prepare-smpl" in about(empty, "SMPL_NEUTRAL.pth").findings[0].hint


def test_sources(body_models: Path, packs: Path, small: dict[str, Any], tmp_path: Path) -> None:
    for name in SIDE:
        shutil.copy(body_models / "smpl_model_data" / name, tmp_path)
    (tmp_path / SIDE[0]).rename(tmp_path / "x")
    np.save(tmp_path / SIDE[0], np.load(tmp_path / "x")[:8])
    (tmp_path / "smil_web.pkl").write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    wrong = found(verify_assets(packs, [tmp_path]))
    assert set(wrong) == {"J_regressor_extra.npy", "smil_web.pkl"}
    assert "shape (8, 6890), expected (9, 6890)" in wrong["J_regressor_extra.npy"][0]
    assert "posix.system at byte 0" in wrong["smil_web.pkl"][0]

    (tmp_path / "x").rename(tmp_path / SIDE[0])
    (tmp_path / "smil_web.pkl").unlink()
    np.save(tmp_path / SIDE[2], np.zeros((10475, 3)))
    for name in ("SMPL_MALE.pkl", "SMPL_FEMALE.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(small, 2))
    report = verify_assets(packs, [tmp_path])
    wrong = found(report)
    assert set(wrong) == {"smpl_kid_template.npy", "male", "female"}
    assert "belongs to SMPL-X" in wrong["smpl_kid_template.npy"][0]
    assert any("SMPL 1.0.0 (10 shape components), but TRACE needs 1.1.0" in what for what in wrong["male"])
    assert "holds the same body as female" in wrong["male"]
    assert any("would give a different SMPL_FEMALE.pth" in what for what in wrong["female"])
    assert about(report, "neutral").where is None


def test_layout_of_the_readme(packs: Path, body_models: Path, tmp_path: Path) -> None:
    parameters = tmp_path / "project_data/trace_data/parameters"
    for name in ("SMPL_NEUTRAL.pth", "SMPLA_NEUTRAL.pth", "smil_packed_info.pth"):
        parameters.mkdir(parents=True, exist_ok=True)
        (parameters / name).symlink_to(packs / name)
        (parameters / name).with_suffix(".json").symlink_to((packs / name).with_suffix(".json"))
    for given in (tmp_path, parameters):
        report = verify_assets(given, layout="trace-readme")
        assert report.packs == parameters
        assert set(found(report)) == {"male", "female", "neutral", "smpl_kid_template.npy", "smil_web.pkl"}
        assert {what for whats in found(report).values() for what in whats} == {"is missing"}
    (parameters / "smpl").mkdir()
    for file in [*body_models.rglob("basicmodel_*.pkl"), body_models / "smpl_model_data" / SIDE[2]]:
        (parameters / "smpl" / file.name).symlink_to(file)
    (parameters / "smil").symlink_to(body_models / "smil")
    assert found(verify_assets(tmp_path, layout="trace-readme")) == {}
    (parameters / "SMPLA_NEUTRAL.pth").unlink()
    assert found(verify_assets(tmp_path, layout="trace-readme")) == {"SMPLA_NEUTRAL.pth": ["is missing"]}
    with pytest.raises(ConfigError, match="unknown layout 'mine'"):
        verify_assets(packs, layout="mine")


def test_example_poses_move_every_joint_that_has_a_child(kid_pack: Arrays) -> None:
    assert len(EXAMPLE_POSES) == 10
    moved = np.any([pose.any(axis=1) for pose in EXAMPLE_POSES.values()], axis=0)
    still = {name for name, moves in zip(SMPL_24, moved) if not moves}
    assert still <= {"L_Toe_SMPL", "R_Toe_SMPL", "L_Collar", "R_Collar", "L_Wrist", "R_Wrist", "L_Hand", "R_Hand"}
    shown = show(kid_pack)
    places = dict(zip(["rest", *EXAMPLE_POSES], shown.vertices))
    assert places["arms up"][:, 1].max() > places["rest"][:, 1].max() + 0.1
    assert np.ptp(places["squat"][:, 1]) < 0.8 * np.ptp(places["rest"][:, 1])
    nose = 332
    assert places["from behind"][nose, 2] < 0 < places["rest"][nose, 2]
    assert places["bow"][nose, 1] < places["rest"][nose, 1] - 0.2


def test_picture_has_a_row_a_pack_and_shows_left_on_the_right(packs: Path, folder: Path) -> None:
    replace(folder / "SMPL_MALE.pth", b"no pack")
    one, two = (
        pack_picture([packs / "SMPL_FEMALE.pth"]),
        pack_picture([packs / "SMIL_NEUTRAL.pth", folder / "SMPL_MALE.pth"]),
    )
    assert one.shape[1] == two.shape[1] > 11 * WIDTH
    assert two.shape[0] > 2 * HEIGHT > one.shape[0] > HEIGHT
    tile = one[6 : 6 + HEIGHT, 6 : 6 + WIDTH].astype(int)
    warm, cool = tile[..., 0] - tile[..., 2] > 110, tile[..., 2] - tile[..., 0] > 110
    assert warm.sum() > 50 < cool.sum()
    assert np.nonzero(warm)[1].mean() > WIDTH / 2 > np.nonzero(cool)[1].mean()
    for number in range(11):  # every body is inside its tile
        tile = one[6 : 6 + HEIGHT, 6 + number * (WIDTH + 6) :][:, :WIDTH]
        painted = (np.abs(tile.astype(int) - tile[0, 0]).max(axis=2) > 20).nonzero()
        assert len(painted[0]) > 300
        assert 2 < painted[0].min() < painted[0].max() < HEIGHT - 3
        assert 2 < painted[1].min() < painted[1].max() < WIDTH - 3
    unreadable = two[-HEIGHT // 2, 10:WIDTH:20].astype(int)
    assert (unreadable[:, 0] > unreadable[:, 1] + 20).all()
    assert encoded(one, Path("x.PNG"))[:4] == b"\x89PNG"
    assert encoded(one, Path("x.jpg"))[:2] == b"\xff\xd8"
    with pytest.raises(ConfigError, match="no kind of picture"):
        encoded(one, Path("x.gif"))


def test_what_cannot_be_posed_is_not_drawn(kid_pack: Arrays) -> None:
    assert can_be_shown(kid_pack)
    for change in (cyclic(kid_pack), {"f": kid_pack["f"] + 1}, {"weights": kid_pack["weights"][:-1]}):
        assert not can_be_shown(kid_pack | change)
