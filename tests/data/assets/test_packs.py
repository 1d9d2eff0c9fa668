"""Packs: the published values recomputed here, every way to have the files, every way to have them wrong."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from trace_data.assets import pack_files
from trace_data.assets.official_names import recognise
from trace_data.assets.packs import load_pack, prepare_smil, prepare_smpl
from trace_data.assets.source_files import find_sources
from trace_data.errors import AssetError, ConfigError, OutputError, UnsafePickleError
from trace_data.unpickle.reader import load_pickle, to_array

KEYS = [
    "kintree_table", "J_regressor_extra9", "J_regressor_h36m17", "shapedirs", "posedirs", "extra_joints_index", "f",
    "v_template", "J_regressor", "weights",
]  # fmt: skip


@pytest.fixture
def side(body_models: Path, tmp_path: Path) -> Path:
    """A folder of its own with the three side files."""
    folder = tmp_path / "side"
    shutil.copytree(body_models / "smpl_model_data", folder)
    return folder


def save(path: Path, data: dict[str, Any], protocol: int = 2, **changes: Any) -> Path:
    content = {key: value for key, value in (data | changes).items() if value is not None}
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def prepare(*sources: Path, out: Path, gender: str = "male", **options: Any) -> None:
    prepare_smpl(sources, out, genders=(gender,), **options)


def test_pack_holds_the_published_arrays(packs: Path, male: dict[str, Any], body_models: Path) -> None:
    import torch

    tensors = torch.load(packs / "SMPL_MALE.pth", weights_only=True)
    assert list(tensors) == KEYS
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    pack = {key: tensor.numpy() for key, tensor in tensors.items()}
    types = {key: str(array.dtype) for key, array in pack.items()}
    assert {key for key, kind in types.items() if kind == "int64"} == {"kintree_table", "extra_joints_index"}
    assert set(types.values()) == {"int64", "float32"}
    extra, h36m = (np.load(next(body_models.rglob(f"J_regressor_{name}.npy"))) for name in ("extra", "h36m"))
    assert pack["kintree_table"].tolist() == [
        -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21,
    ]  # fmt: skip
    assert np.array_equal(pack["J_regressor_extra9"], extra.astype("f4"))
    order = [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10, 0, 7, 9]
    for row, raw in enumerate(order):
        assert np.array_equal(pack["J_regressor_h36m17"][row], h36m[raw].astype("f4"))
    assert np.array_equal(pack["shapedirs"], male["shapedirs"][:, :, :10].astype("f4"))
    assert pack["posedirs"].shape == (207, 20670)
    for vertex, axis in ((0, 0), (331, 1), (6889, 2)):
        assert np.array_equal(pack["posedirs"][:, 3 * vertex + axis], male["posedirs"][vertex, axis].astype("f4"))
    assert pack["extra_joints_index"].tolist() == [
        332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787, 2746, 2319, 2445, 2556, 2673, 6191, 5782,
        5905, 6016, 6133,
    ]  # fmt: skip
    for key in ("f", "v_template", "J_regressor", "weights"):
        assert np.array_equal(pack[key], male[key].astype("f4")), key


def test_kid_pack(packs: Path, body_models: Path) -> None:
    import torch

    adult, kid_pack = (torch.load(packs / f"{name}_FEMALE.pth", weights_only=True) for name in ("SMPL", "SMPLA"))
    assert list(kid_pack) == [*KEYS, "smpla_shapedirs"]
    assert all(torch.equal(adult[key], kid_pack[key]) for key in KEYS)
    directions = kid_pack["smpla_shapedirs"].numpy()
    assert directions.shape == (6890, 3, 11)
    assert np.array_equal(directions[..., :10], adult["shapedirs"].numpy())
    kid = np.load(next(body_models.rglob("smpl_kid_template.npy")))
    template = adult["v_template"].numpy().astype("f8")
    assert np.allclose(directions[..., 10], kid - kid.mean(0) - template, atol=1e-7)
    # the kid is centred and the adult is not
    assert np.allclose((directions[..., 10] + template).mean(axis=0), 0, atol=1e-6)
    assert np.abs(directions[..., 10].mean(axis=0)).max() > 1e-3


def test_smil_has_two_names_and_one_content(packs: Path, body_models: Path) -> None:
    import torch

    assert (packs / "smil_packed_info.pth").read_bytes() == (packs / "SMIL_NEUTRAL.pth").read_bytes()
    pack = torch.load(packs / "SMIL_NEUTRAL.pth", weights_only=True)
    assert list(pack) == KEYS
    raw = load_pickle(next(body_models.rglob("smil_web.pkl")))
    wanted = to_array(raw["shapedirs"], name="shapedirs")[:, :, :10]
    assert np.array_equal(pack["shapedirs"].numpy(), wanted.astype("f4"))
    assert torch.equal(pack["f"], torch.load(packs / "SMPL_NEUTRAL.pth", weights_only=True)["f"])


def test_note_says_where_the_pack_comes_from(packs: Path, body_models: Path) -> None:
    source = next(body_models.rglob("basicmodel_f_*.pkl"))
    for name in ("SMPL_FEMALE", "SMPLA_FEMALE"):
        note = json.loads((packs / f"{name}.json").read_text())
        assert Path(note["source"]) == source
        assert note["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
        assert (note["version"], note["shape_components"], note["gender"]) == ("1.1.0", 300, "female")
        assert note["synthetic"] is True
        assert note["tool"].startswith("trace-5d ")
        assert note["date"][:2] == "20"


def test_zip_renamed_copy_resaved_and_npz_give_the_same_bytes(
    packs: Path, body_models: Path, male: dict[str, Any], side: Path, tmp_path: Path
) -> None:
    wanted = (packs / "SMPL_MALE.pth").read_bytes()
    original = next(body_models.rglob("basicmodel_m_*.pkl"))
    archive = tmp_path / "SMPL_python_v.1.1.0.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(original, "SMPL_python_v.1.1.0/smpl/models/basicModel_m_lbs_10_207_0_v1.1.0.PKL")
        file.writestr("__MACOSX/SMPL_python_v.1.1.0/smpl/models/basicModel_m_lbs_10_207_0_v1.1.0.pkl", b"no model")
    renamed = tmp_path / "renamed" / "deep" / "smpl_Male.pkl"
    renamed.parent.mkdir(parents=True)
    shutil.copy(original, renamed)
    tree = np.stack([male["kintree_table"][0], np.arange(24)]).astype(np.int64)
    resaved = save(tmp_path / "SMPL_MALE.pkl", male, 4, kintree_table=tree)
    tree[0, 0] = -1
    sparse = scipy.sparse.csc_matrix(male["J_regressor"])
    np.savez(tmp_path / "my_male_copy.npz", **(male | {"kintree_table": tree, "J_regressor": sparse}))
    for number, source in enumerate((archive, renamed.parents[1], resaved, tmp_path / "my_male_copy.npz")):
        prepare(source, side, out=tmp_path / str(number))
        assert (tmp_path / str(number) / "SMPL_MALE.pth").read_bytes() == wanted, source


def test_second_run_changes_nothing(packs: Path, body_models: Path, tmp_path: Path) -> None:
    first = prepare_smil([body_models], tmp_path)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    second = prepare_smil([body_models], tmp_path)
    assert [report.unchanged for report in (*first, *second)] == [False, True]
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()} == before
    assert first[0].files == second[0].files
    assert set(first[0].files) == set(before)


def test_another_pack_in_the_way_needs_force(body_models: Path, packs: Path, tmp_path: Path) -> None:
    shutil.copy(packs / "SMPL_FEMALE.pth", tmp_path / "SMIL_NEUTRAL.pth")
    with pytest.raises(OutputError, match=r"SMIL_NEUTRAL\.pth"):
        prepare_smil([body_models], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SMIL_NEUTRAL.pth"]
    prepare_smil([body_models], tmp_path, force=True)
    assert (tmp_path / "SMIL_NEUTRAL.pth").read_bytes() == (packs / "SMIL_NEUTRAL.pth").read_bytes()


def test_everything_missing_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(AssetError) as caught:
        prepare_smpl([tmp_path], tmp_path / "out", genders=("male", "neutral"))
    text = str(caught.value)
    for name in ("male body", "neutral body", "J_regressor_extra.npy", "J_regressor_h36m.npy", "smpl_kid_template.npy"):
        assert name in text
    assert "smpl_model_data.zip" in text
    assert "SMPL site" in text
    assert not (tmp_path / "out").exists()


def test_male_file_does_not_pass_for_female(small: dict[str, Any], side: Path, tmp_path: Path) -> None:
    original = save(tmp_path / "basicmodel_m_lbs_10_207_0_v1.1.0.pkl", small)
    options: dict[str, Any] = {"gender": "female", "out": tmp_path / "out", "allow_v1_0": True}
    with pytest.raises(AssetError, match=r"female body model; found only basicmodel_m_\S+ \(male\)"):
        prepare(original, side, **options)
    renamed = tmp_path / "SMPL_FEMALE.pkl"
    shutil.copy(original, renamed)
    with pytest.raises(AssetError, match="same body as"):
        prepare(renamed, original, side, **options)
    with pytest.raises(AssetError, match="same body as"):
        prepare_smpl([renamed, original, side], tmp_path / "out", genders=("male", "female"), allow_v1_0=True)
    prepare(original, side, **(options | {"gender": "male"}))
    with pytest.raises(AssetError, match=r"same body as .*SMPL_MALE\.pth"):
        prepare(renamed, side, **options)
    save(renamed, small, gender="male")
    with pytest.raises(AssetError, match="is male"):
        prepare(renamed, side, **(options | {"out": tmp_path / "out2"}))


def test_male_file_in_other_bytes_does_not_pass_for_female_either(
    small: dict[str, Any], side: Path, tmp_path: Path
) -> None:
    save(tmp_path / "SMPL_MALE.pkl", small, protocol=4)
    save(tmp_path / "SMPL_FEMALE.pkl", small)
    with pytest.raises(AssetError, match=r"same body as .*SMPL_MALE\.pkl"):
        prepare(tmp_path, side, out=tmp_path / "out", gender="female", allow_v1_0=True)
    for spoil in (lambda path: path.write_bytes(b"no model"), lambda path: path.symlink_to("nowhere")):
        (tmp_path / "SMPL_MALE.pkl").unlink()
        spoil(tmp_path / "SMPL_MALE.pkl")  # then it is another run's business
        prepare(tmp_path, side, out=tmp_path / "out", gender="female", allow_v1_0=True)


def test_note_follows_the_source(small: dict[str, Any], side: Path, tmp_path: Path) -> None:
    note = tmp_path / "out/SMPL_MALE.json"
    more = np.concatenate([small["shapedirs"], np.zeros((6890, 3, 290))], axis=2)
    for data, version in ((small, "1.0.0"), (small | {"shapedirs": more}, "1.1.0")):
        source = save(tmp_path / "SMPL_MALE.pkl", data)
        prepare(source, side, out=tmp_path / "out", allow_v1_0=True)  # the same pack both times
        assert json.loads(note.read_text())["version"] == version
        assert json.loads(note.read_text())["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    written = note.read_text()
    for damage in ("", "{", "[1]"):
        note.write_text(damage)
        prepare(source, side, out=tmp_path / "out")
        assert json.loads(note.read_text()) | {"date": ""} == json.loads(written) | {"date": ""}


def test_version_1_0_is_refused_unless_asked_for(small: dict[str, Any], side: Path, tmp_path: Path) -> None:
    old = save(tmp_path / "basicModel_m_lbs_10_207_0_v1.0.0.pkl", small)
    with pytest.raises(AssetError, match=r"SMPL 1\.0\.0 \(10 shape components\)") as caught:
        prepare(old, side, out=tmp_path / "out")
    assert "--allow-v1-0" in str(caught.value)
    assert not (tmp_path / "out").exists()
    prepare(old, side, out=tmp_path / "out", allow_v1_0=True)
    assert json.loads((tmp_path / "out/SMPL_MALE.json").read_text())["version"] == "1.0.0"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"v_template": np.zeros((10475, 3))}, "10,475 vertices.*SMPL-X"),
        ({"v_template": np.zeros((778, 3))}, "778 vertices.*MANO"),
        ({"weights": np.full((6890, 52), 1 / 52)}, "52 joints.*SMPL-H"),
        ({"weights": np.zeros((6890, 24))}, "weights whose sum"),
        ({"posedirs": None, "f": None}, "lacks posedirs, f"),
        ({"posedirs": np.zeros((6890, 3, 206))}, "posedirs has shape"),
        ({"shapedirs": np.zeros((6890, 3, 4))}, "4 shape components"),
        ({"f": np.full((13776, 3), 6890)}, "face on vertex"),
        ({"kintree_table": np.zeros((2, 24), np.uint32)}, "joint tree"),
        ({"J_regressor": np.zeros((24, 6890))}, "J_regressor"),
        ({"v_template": np.full((6890, 3), np.inf)}, "not finite"),
        ({"bs_type": "lrotquat"}, "bs_type"),
    ],
)
def test_other_bodies_are_recognised(
    change: dict[str, Any], match: str, small: dict[str, Any], side: Path, tmp_path: Path
) -> None:
    path = save(tmp_path / "SMPL_MALE.pkl", small | change)
    with pytest.raises(AssetError, match=match) as caught:
        prepare(path, side, out=tmp_path / "out", allow_v1_0=True)
    assert caught.value.where == str(path)
    assert not (tmp_path / "out").exists()


def test_wrong_side_files_are_recognised(body_models: Path, side: Path, tmp_path: Path) -> None:
    model = next(body_models.rglob("basicmodel_m_*.pkl"))
    extra, h36m, kid = (side / f"{name}.npy" for name in ("J_regressor_extra", "J_regressor_h36m", "smpl_kid_template"))
    extra.rename(side / "x")
    h36m.rename(extra)
    (side / "x").rename(h36m)
    with pytest.raises(AssetError, match=r"17 rows: it is J_regressor_h36m\.npy"):
        prepare(model, side, out=tmp_path / "out")
    shutil.copytree(body_models / "smpl_model_data", side, dirs_exist_ok=True)
    extra.write_bytes(extra.read_bytes()[:-1000])
    with pytest.raises(AssetError, match=r"J_regressor_extra\.npy.*another size"):
        prepare(model, side, out=tmp_path / "out")
    shutil.copytree(body_models / "smpl_model_data", side, dirs_exist_ok=True)
    for wrong, match in ((np.zeros((9, 10475)), "belongs to SMPL-X"), (np.zeros((9, 6000)), r"expected \(9, 6890\)")):
        np.save(extra, wrong)
        with pytest.raises(AssetError, match=match):
            prepare(model, side, out=tmp_path / "out")
    shutil.copytree(body_models / "smpl_model_data", side, dirs_exist_ok=True)
    template = np.load(kid)
    for wrong, match in (
        (np.zeros((10475, 3)), "belongs to SMPL-X"),
        (template * 1000, r"stands 1\d\d\d\.\d\d m tall beside an adult of 1\.\d\d m"),
        (template * 0, r"stands 0\.00 m tall"),
        (template[::-1], "in another order"),
    ):
        np.save(kid, wrong)
        with pytest.raises(AssetError, match=match):
            prepare(model, side, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_adult_is_no_infant(small: dict[str, Any], side: Path, tmp_path: Path) -> None:
    adult = save(tmp_path / "smil_web.pkl", small)
    with pytest.raises(AssetError, match=r"stands 1\.\d\d m tall"):
        prepare_smil([adult, side], tmp_path / "out")


def test_unreadable_sources(side: Path, tmp_path: Path) -> None:
    path = tmp_path / "SMPL_MALE.pkl"
    for content, match in ((b"", "is empty"), (b"\x80\x02}q", "ends in the middle"), (b"<html>", "web page")):
        path.write_bytes(content)
        with pytest.raises(AssetError, match=match):
            prepare(path, side, out=tmp_path / "out")
    path.write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafePickleError, match=r"posix\.system at byte 0"):
        prepare(path, side, out=tmp_path / "out")
    (tmp_path / "SMPL.zip").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(AssetError, match="as a zip"):
        prepare(tmp_path / "SMPL.zip", side, out=tmp_path / "out")
    with pytest.raises(AssetError, match="No such file"):
        prepare(tmp_path / "nowhere", out=tmp_path / "out")
    with pytest.raises(ConfigError, match="infant"):
        prepare(side, gender="infant", out=tmp_path / "out")


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder whose owner let nobody in; root, who may go anywhere, is nobody for the test."""
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o000)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(me)


def test_folder_without_permission(locked: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Permission denied"):
        pack_files.write_file(locked / "SMPL_MALE.pth", b"pack", option="--out")
    with pytest.raises(OutputError, match="Permission denied"):
        pack_files.same_pack(locked / "SMPL_MALE.pth", {})
    with pytest.raises(AssetError, match="Permission denied"):
        find_sources([locked / "SMPL_MALE.pkl"])
    with pytest.raises(AssetError, match="permission denied"):
        load_pack(locked / "SMPL_MALE.pth")


def test_folders_that_could_not_be_searched_are_named() -> None:
    me = os.geteuid()
    with tempfile.TemporaryDirectory() as name:  # a place that others may enter
        closed = Path(name) / "closed"
        closed.mkdir(mode=0o000)
        Path(name).chmod(0o755)
        try:
            if me == 0:
                os.seteuid(65534)
            with pytest.raises(AssetError, match=r"missing: .*/closed .*Permission denied"):
                find_sources([Path(name)]).require(["male"])
        finally:
            os.seteuid(me)
            closed.chmod(0o700)


def test_file_where_the_folder_should_be(body_models: Path, tmp_path: Path) -> None:
    (tmp_path / "packs").touch()
    with pytest.raises(OutputError, match="cannot be written") as caught:
        prepare_smil([body_models], tmp_path / "packs")
    assert "--out" in str(caught.value)


def test_full_disk_leaves_nothing_half_written(
    body_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        write(path, content[: len(content) // 2])
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        prepare_smil([body_models], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("basicmodel_m_lbs_10_207_0_v1.1.0.pkl", ("male", "1.1.0")),
        ("basicModel_f_lbs_10_207_0_v1.0.0.pkl", ("female", "1.0.0")),
        ("BASICMODEL_NEUTRAL_LBS_10_207_0_V1.1.0.PKL", ("neutral", "1.1.0")),
        ("SMPL_NEUTRAL.pkl", ("neutral", None)),
        ("smpl_female.npz", ("female", None)),
        ("j_regressor_EXTRA.npy", ("J_regressor_extra.npy", None)),
        ("smil_web.pkl", ("smil_web.pkl", None)),
        ("SMPLX_NEUTRAL.pkl", None),
        ("MANO_RIGHT.pkl", None),
    ],
)
def test_names(name: str, expected: tuple[str, str | None] | None) -> None:
    assert recognise(name) == expected


def test_newer_version_is_preferred(tmp_path: Path) -> None:
    for name in ("basicmodel_m_lbs_10_207_0_v1.0.0.pkl", "SMPL_MALE.pkl", "basicmodel_m_lbs_10_207_0_v1.1.0.pkl"):
        (tmp_path / name).touch()
        best = find_sources([tmp_path]).best("male")
        if name != "SMPL_MALE.pkl":
            assert best is not None
            assert best.name == name


def test_the_first_place_that_has_a_file_wins(tmp_path: Path) -> None:
    for folder, name in (("mine", "SMPL_MALE.pkl"), ("standing", "basicmodel_m_lbs_10_207_0_v1.1.0.pkl")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    for order in (("mine", "standing"), ("standing", "mine")):
        best = find_sources([tmp_path / name for name in order]).best("male")
        assert best is not None
        assert best.path.parent.name == order[0]


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/SMPL_MALE.pkl").touch()
    (tmp_path / "disk/again").symlink_to(tmp_path / "disk")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/models").symlink_to(tmp_path / "disk")
    found = find_sources([tmp_path / "home"])
    assert [file.path for file in found.files] == [tmp_path / "home/models/SMPL_MALE.pkl"]


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("SMPL_MALE.pkl", "smpl.zip"):
        os.mkfifo(tmp_path / name)
    assert find_sources([tmp_path]).files == ()
    with pytest.raises(AssetError, match="neither a file nor a folder"):
        find_sources([tmp_path / "SMPL_MALE.pkl"])


def test_models_of_other_families_are_named(tmp_path: Path, side: Path) -> None:
    for name in ("SMPLX_NEUTRAL.npz", "SMPLH_male.pkl", "MANO_RIGHT.pkl"):
        (tmp_path / name).touch()
    with pytest.raises(AssetError) as caught:
        prepare(tmp_path, out=tmp_path / "out")
    for text in ("SMPLX_NEUTRAL.npz is SMPL-X", "SMPLH_male.pkl is SMPL-H", "MANO_RIGHT.pkl is MANO"):
        assert text in caught.value.message
    with pytest.raises(AssetError, match="MANO"):
        prepare(tmp_path / "MANO_RIGHT.pkl", side, out=tmp_path / "out")


def test_huge_member_of_a_zip_is_refused_before_it_is_unpacked(
    side: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trace_data.assets.source_files.MAX_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "SMPL.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("smpl/models/basicmodel_m_lbs_10_207_0_v1.1.0.pkl", bytes((1 << 20) + 1))
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(AssetError, match="is larger than 1,048,576 bytes"):
        find_sources([tmp_path / "SMPL.zip"]).files[0].read()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_member_of_a_zip(method: int, tmp_path: Path) -> None:
    path = tmp_path / "SMPL.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("SMPL_MALE.pkl", np.random.default_rng(0).bytes(5000))
    whole = path.read_bytes()
    for at in range(50, 4000, 400):
        path.write_bytes(whole[:at] + bytes(9) + whole[at + 9 :])
        with pytest.raises(AssetError, match="cannot be read"):
            find_sources([path]).files[0].read()


def damaged(pack: dict[str, np.ndarray], key: str, value: np.ndarray | None) -> dict[str, np.ndarray]:
    return {name: array for name, array in (pack | {key: value}).items() if array is not None}


def test_load_pack_names_what_is_wrong(packs: Path, tmp_path: Path) -> None:
    path = tmp_path / "SMPL_MALE.pth"
    with pytest.raises(AssetError, match="does not exist") as caught:
        load_pack(path)
    assert "trace prepare-smpl --gender male" in str(caught.value)
    path.write_bytes((packs / "SMPL_MALE.pth").read_bytes()[:1_000_000])
    with pytest.raises(AssetError, match="cannot be read as a pack"):
        load_pack(path)
    pack = load_pack(packs / "SMPL_MALE.pth")
    for key, value, match in (
        ("weights", None, "lacks weights"),
        ("weights", pack["weights"] * 2, "do not sum to one"),
        ("shapedirs", pack["shapedirs"][..., :9].copy(), "shapedirs is float32 of shape"),
        ("v_template", pack["v_template"].astype("f8"), "v_template is float64"),
        ("v_template", pack["v_template"] * np.float32(np.nan), "not finite"),
        ("kintree_table", pack["kintree_table"][::-1].copy(), "kintree_table is"),
        ("f", pack["f"] + np.float32(0.5), "f names vertices"),
        ("smpla_shapedirs", np.zeros((6890, 3, 11), np.float32), "does not extend"),
    ):
        path.write_bytes(pack_files.pack_bytes(damaged(pack, key, value)))
        with pytest.raises(AssetError, match=match):
            load_pack(path)


def test_load_pack_takes_packs_of_the_published_packer(packs: Path, tmp_path: Path) -> None:
    import torch

    pack = torch.load(packs / "SMPL_MALE.pth", weights_only=True)
    # there, posedirs is a transposed view, and one of the packers leaves out the hands
    theirs = pack | {
        "posedirs": pack["posedirs"].T.contiguous().T,
        "extra_joints_index": pack["extra_joints_index"][:11],
    }
    torch.save(theirs, tmp_path / "SMPL_MALE.pth")
    found = load_pack(tmp_path / "SMPL_MALE.pth")
    assert np.array_equal(found["posedirs"], pack["posedirs"].numpy())
    assert len(found["extra_joints_index"]) == 11


def test_load_pack_runs_nothing(tmp_path: Path) -> None:
    import torch

    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "canary"),)

    torch.save({"weights": Canary()}, tmp_path / "SMPL_MALE.pth")
    with pytest.raises(AssetError, match="cannot be read as a pack"):
        load_pack(tmp_path / "SMPL_MALE.pth")
    assert not (tmp_path / "canary").exists()


def with_exchanged_legs(rows: np.ndarray) -> np.ndarray:
    return rows[[0, 4, 5, 6, 1, 2, 3, *range(7, 17)]]


def as_of_coco(rows: np.ndarray) -> np.ndarray:
    """Nose, eyes, ears, then limbs in pairs: 17 rows of another meaning."""
    return rows[[9, 9, 9, 9, 9, 11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3]]


@pytest.mark.parametrize("change", [with_exchanged_legs, as_of_coco])
def test_a_regressor_that_verify_assets_would_call_wrong_is_not_written(
    body_models: Path, side: Path, tmp_path: Path, change: Any
) -> None:
    file = side / "J_regressor_h36m.npy"
    np.save(file, change(np.load(file)))
    with pytest.raises(AssetError, match="J_regressor_h36m17") as caught:
        prepare(next(body_models.rglob("*_m_lbs*.pkl")), side, out=tmp_path / "packs")
    assert caught.value.where == str(file)
    assert not list(tmp_path.glob("packs/*"))


def test_other_side_files_and_infants_are_held_to_the_same(body_models: Path, side: Path, tmp_path: Path) -> None:
    file = side / "J_regressor_extra.npy"
    rows = np.load(file)
    np.save(file, -rows)
    with pytest.raises(AssetError, match="nothing was written"):
        prepare(next(body_models.rglob("*_m_lbs*.pkl")), side, out=tmp_path / "packs")
    np.save(file, rows[[0, 1, 3, 2, 4, 5, 6, 7, 8]])  # neck and top of the head
    with pytest.raises(AssetError, match="J_regressor_extra9") as caught:
        prepare(next(body_models.rglob("*_m_lbs*.pkl")), side, out=tmp_path / "packs")
    assert caught.value.where == str(file)
    shutil.copy(body_models / "smpl_model_data/J_regressor_extra.npy", file)
    h36m = side / "J_regressor_h36m.npy"
    np.save(h36m, with_exchanged_legs(np.load(h36m)))
    with pytest.raises(AssetError, match="J_regressor_h36m17"):
        prepare_smil([next(body_models.rglob("smil_web.pkl")), side], tmp_path / "packs")
    assert not list(tmp_path.glob("packs/*"))
