"""Pictures of predictions: where things are drawn, and that a run which draws them ends in the same bits."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest
import torch
from report_pages import page_of
from tiny_runs import same_weights, tiny

from trace_cli.main import run as trace
from trace_data.assets.pack_files import load_pack
from trace_data.progress import Progress
from trace_data.schema.body import GENDERS
from trace_data.schema.clip import ClipRef
from trace_data.shards.reader import ShardReader
from trace_train import build
from trace_train.build import body_layers
from trace_train.evaluation.clip import ClipResult, evaluate_clip
from trace_train.geometry.camera import FOCAL, translation_from_triple
from trace_train.inference.source import open_source
from trace_train.preview.choose import Wanted, choose_clips
from trace_train.preview.clips import plain_clip
from trace_train.preview.predictions import Artist, _square, _warmed
from trace_train.preview.snapshots import COLUMNS, ROWS, fixed_clips, row_of
from trace_train.report.clips import Gallery, Scored, extremes
from trace_train.report.paths import PersonPath, _annotated, _focal, paths_of, plan
from trace_train.report.run import report_or_why_not
from trace_train.streaming.batch import collate
from trace_train.streaming.stream import load_clip
from trace_train.targets import make_targets
from trace_train.train import train
from trace_train.training.run_log import read_metrics
from trace_train.weights.checkpoint import open_checkpoint

TEMPORAL = ["network.temporal=true", "network.flow=dis", "network.motion_channels=2", "network.gru_layers=1"]
SETTINGS = ["steps=5", "log_every=1", "checkpoint_every=5"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def drawn(shards: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a temporal network with pictures. Read only, but for its report."""
    run = tmp_path_factory.mktemp("drawn") / "run"
    train(tiny(*SETTINGS, *TEMPORAL, "pictures_every=2"), shards=shards, packs=packs, run=run)
    return run


@pytest.fixture(scope="module")
def gallery(drawn: Path, shards: Path, packs: Path) -> Gallery:
    source = open_source(drawn)
    return Gallery(
        network=source.network,
        flow=source.flow,
        layers=body_layers(packs, GENDERS, source.device),
        reader=ShardReader(shards),
        packs=packs,
        split="train",
        threshold=0.2,
        frames=2,
    )


def test_a_run_with_pictures_ends_in_the_same_bits_as_one_without(
    drawn: Path, shards: Path, packs: Path, tmp_path: Path
) -> None:
    train(tiny(*SETTINGS, *TEMPORAL), shards=shards, packs=packs, run=tmp_path / "run")
    assert same_weights(drawn, tmp_path / "run")
    with_, without = ([line["loss"] for line in read_metrics(run)] for run in (drawn, tmp_path / "run"))
    assert with_ == without
    assert sorted(file.name for file in (drawn / "pictures").iterdir()) == ["step-00000002.jpg", "step-00000004.jpg"]
    sheet = cv2.imread(str(drawn / "pictures" / "step-00000002.jpg"))
    assert sheet is not None
    rows = {row: row_of(sheet, row).astype(float) for row in ROWS}
    assert len({row.shape for row in rows.values()}) == 1 and len(rows["frame"]) > 100
    assert rows["heat"].mean() < 0.7 * rows["frame"].mean()  # dark where nobody's middle is
    assert np.abs(rows["annotated"] - rows["frame"]).mean() > 1


def test_packs_are_not_read_again_for_every_sheet(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[str] = []

    def counted(file: Path) -> dict[str, np.ndarray]:
        files.append(file.name)
        return load_pack(file)

    monkeypatch.setattr(build, "load_pack", counted)
    train(tiny("steps=5", "pictures_every=1"), shards=shards, packs=packs, run=tmp_path / "run")
    assert len(list((tmp_path / "run" / "pictures").iterdir())) >= 4
    assert max(Counter(files).values()) <= 3  # training, its scores, and the annotated bodies


def test_training_goes_on_whatever_becomes_of_its_pictures(shards: Path, packs: Path, tmp_path: Path) -> None:
    class Told(Progress):
        lines: list[str] = []  # noqa: RUF012

        def log(self, line: str) -> None:
            self.lines.append(line)

    few = tmp_path / "packs"
    few.mkdir()
    shutil.copy(packs / "SMPL_NEUTRAL.pth", few)
    told = Told()
    train(tiny("steps=2", "pictures_every=1"), shards=shards, packs=few, run=tmp_path / "run", progress=told)
    assert open_checkpoint(tmp_path / "run").step == 2
    assert [line for line in told.lines if "step 1: no pictures" in line and "SMPL_FEMALE.pth" in line]


def test_the_report_draws_what_the_network_predicts(drawn: Path, shards: Path, packs: Path) -> None:
    text, page = page_of(drawn, packs=packs)
    assert "No clips are drawn" not in page.words
    # annotated once and two sheets; then clips, of which the best are none when nobody was found
    assert text.count("data:image/jpeg") > 3
    for words in ("step 2", "step 4", "Worst and best clips", "Paths in the world", "3dpw/val/"):
        assert words in page.words
    entries = [entry for entry in ShardReader(shards).index.sequences if entry.split == "train"]
    assert f"{len(entries):,} sequences, {sum(entry.frames for entry in entries):,} frames (synthetic)" in page.words


def test_names_in_the_shards_do_not_become_markup(drawn: Path, shards: Path, packs: Path, tmp_path: Path) -> None:
    other = tmp_path / "shards"
    shutil.copytree(shards, other)
    index = json.loads((other / "index.json").read_text())
    for entry in index["sequences"]:
        entry["name"] = f"<script>{entry['name']}"
    (other / "index.json").write_text(json.dumps(index))
    text, page = page_of(drawn, packs=packs, shards=other, out=tmp_path / "page.html")
    assert "<script" not in text and "val/<script>" in page.words


@pytest.mark.parametrize("missing", ["shards", "packs", "weights"])
def test_what_is_missing_is_said_instead_of_pictures(
    missing: str, drawn: Path, shards: Path, packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(drawn, run)
    where = tmp_path / "nowhere" if missing == "shards" else shards
    bodies = tmp_path if missing == "packs" else packs
    if missing == "weights":
        shutil.rmtree(run / "checkpoints")
    assert trace(["report", str(run), "--shards", str(where), "--packs", str(bodies)]) == 0
    [said] = [line for line in capsys.readouterr().out.splitlines() if "No clips are drawn: " in line]
    assert missing != "shards" or "no such folder; " in said, "message and hint run together"
    assert "No clips are drawn: " in (run / "report.html").read_text()


def test_at_the_end_of_a_run_a_report_that_fails_is_only_told(tmp_path: Path) -> None:
    words = report_or_why_not(tmp_path)
    assert words.startswith("no report (") and f"trace report {tmp_path}" in words


# --- errors and choice -----------------------------------------------------------------------------------------


def test_a_missed_person_counts_150_mm(gallery: Gallery) -> None:
    ref = choose_clips(gallery.reader.index, Wanted(clips=1, frames=2))[0]
    seen = evaluate_clip(gallery.network, gallery.flow, gallery.layers, gallery.reader, ref, threshold=0.0)
    assert len(seen.truth.frame) >= 2 and seen.heat.shape == (2, 16, 16)
    nobody = replace(seen, pairs=())
    assert nobody.error == 150.0 and nobody.missed == len(seen.truth.frame)
    one = replace(seen, pairs=((0, 1),))
    found, truth = seen.found.body.joints_h36m[0, :14].double(), seen.truth.joints[1].double()
    hips = [(body[2] + body[3]) / 2 for body in (found, truth)]
    error = 1000 * ((found - hips[0]) - (truth - hips[1])).norm(dim=-1).mean().item()
    assert one.error == pytest.approx((error + 150 * (len(seen.truth.frame) - 1)) / len(seen.truth.frame))
    none = replace(seen.truth, frame=seen.truth.frame[:0])
    assert math.isnan(replace(seen, truth=none, pairs=()).error)


def test_worst_and_best_come_from_different_sequences_and_none_twice() -> None:
    def refs(chosen: Sequence[ClipRef]) -> list[tuple[int, int]]:
        return [(ref.sequence, ref.start) for ref in chosen]

    def clip(sequence: int, start: int) -> ClipRef:
        return ClipRef(sequence=sequence, start=start, stride=1, length=1)

    scored = [
        Scored(ref=clip(sequence, start), error=10.0 * sequence + start, found=(sequence, start) != (1, 0))
        for sequence in range(6)
        for start in (0, 1)
    ]
    worst, best = extremes(scored)
    assert refs(worst) == [(5, 1), (4, 1), (3, 1), (2, 1)] and refs(best) == [(0, 0), (1, 1), (2, 0), (3, 0)]
    worst, best = extremes(scored[:1])
    assert refs(worst) == [(0, 0)] and best == []
    assert extremes([]) == ([], [])


def test_the_same_clips_are_drawn_again_and_again(shards: Path) -> None:
    index = ShardReader(shards).index
    single, clip = fixed_clips(index, False), fixed_clips(index, True)
    assert {ref.length for ref in single} == {1} and single == fixed_clips(index, False)
    assert len(clip) == 1 and clip[0].length == COLUMNS
    assert {index.sequences[ref.sequence].split for ref in (*single, *clip)} == {"val"}


# --- places ----------------------------------------------------------------------------------------------------


def test_the_square_of_the_network_is_found_in_the_picture(shards: Path) -> None:
    reader = ShardReader(shards)
    ref = choose_clips(reader.index, Wanted(clips=1, frames=1))[0]
    clip, size = plain_clip(reader, ref, 97), 64
    crop = load_clip(reader, ref, size).crop_from_frame[0]
    half, centre = _square(clip, 0)
    for point in ([0.0, 0, 1], [100.0, 40, 1], [33.0, 77, 1]):
        normalised = (2 * (crop @ point)[:2] + 1) / size - 1
        np.testing.assert_allclose(centre + half * normalised, (clip.image_from_frame[0] @ point)[:2], atol=1e-6)


@pytest.mark.parametrize("peak", [1.0, 0.05])
def test_heat_glows_where_the_cell_is_however_low_its_peak(shards: Path, peak: float) -> None:
    reader = ShardReader(shards)
    ref = choose_clips(reader.index, Wanted(clips=1, frames=1))[0]
    clip = plain_clip(reader, ref, 160)
    heat = np.zeros((16, 16), np.float32)
    heat[7, 11] = peak
    glow = _warmed(clip, 0, heat).sum(axis=-1).astype(float) - (0.35 * clip.images[0]).sum(axis=-1)
    glow[:20] = 0  # the peak is written in the corner
    assert glow.max() > 200
    rows, columns = np.nonzero(glow > 0.9 * glow.max())
    half, centre = _square(clip, 0)
    expected = centre + half * ((2 * np.array([11, 7]) + 1) / 16 - 1)
    np.testing.assert_allclose([columns.mean(), rows.mean()], expected, atol=1.5)


def test_a_perfect_prediction_covers_the_annotated_body(shards: Path, packs: Path) -> None:
    """The annotated mesh, put where the target triple says, paints the pixels that the annotation paints."""
    reader = ShardReader(shards)
    artist = Artist(reader, packs, longest=160)
    alone: list[tuple[float, ClipRef]] = []
    for one in choose_clips(reader.index, Wanted(clips=12, frames=1)):
        batch = collate([load_clip(reader, one, 256)])
        if int(batch.present.sum()) == 1:
            alone.append((abs(_focal(batch) - FOCAL), one))
    _, ref = min(alone, key=lambda pair: pair[0])  # through another lens a body near the camera looks different
    clip, batch = plain_clip(reader, ref, 160), collate([load_clip(reader, ref, 256)])
    targets = make_targets(batch, input_size=256, map_size=64, levels=16)
    body = torch.from_numpy(artist.painter.vertices(clip)[0, 0] - _annotated(batch)[0, 0]).float()
    seen = SimpleNamespace(
        ref=ref,
        found=SimpleNamespace(
            frame=torch.zeros(1, dtype=torch.int64),
            body=SimpleNamespace(vertices=body[None]),
            translation=translation_from_triple(targets.camera[0, :1, 0]),
        ),
        truth=SimpleNamespace(person=torch.zeros(1, dtype=torch.int64)),
        pairs=((0, 0),),
        heat=torch.zeros(1, 64, 64),
    )
    (panels,) = artist.panels(cast("ClipResult", seen))
    known, found = (
        np.abs(picture.astype(int) - panels.frame).sum(axis=-1) > 3 for picture in (panels.annotated, panels.predicted)
    )
    assert known.sum() > 200 and (known & found).sum() > 0.93 * (known | found).sum()
    middles = [np.argwhere(mask).mean(axis=0) for mask in (known, found)]
    np.testing.assert_allclose(*middles, atol=0.6)


# --- paths -----------------------------------------------------------------------------------------------------


def test_depth_comes_back_from_the_networks_view(shards: Path) -> None:
    """The target triple, decoded and with its depth scaled, is the annotated place in metres."""
    reader = ShardReader(shards)
    for ref in choose_clips(reader.index, Wanted(clips=3, frames=1)):
        batch = collate([load_clip(reader, ref, 256)])
        targets = make_targets(batch, input_size=256, map_size=64, levels=16)
        people = targets.camera_mask[0, :, 0].nonzero()[:, 0].tolist()
        place = translation_from_triple(targets.camera[0, people, 0]).double().numpy()
        place[:, 2] *= _focal(batch) / FOCAL
        np.testing.assert_allclose(place, _annotated(batch)[people, 0], rtol=0.05, atol=0.05)


def test_paths_are_chunked_without_a_seam(gallery: Gallery) -> None:
    refs = choose_clips(gallery.reader.index, Wanted(clips=6, frames=6, splits=("train",)))
    ways = next((ref, found) for ref in refs if (found := paths_of(gallery, ref)))
    whole = paths_of(replace(gallery, frames=6), ways[0])
    assert len(whole) == len(ways[1]) and all(way.known.shape == way.found.shape for way in whole)
    for one, two in zip(whole, ways[1]):
        np.testing.assert_allclose(one.known, two.known)
        np.testing.assert_allclose(one.found, two.found, rtol=1e-3, atol=1e-3)


def test_a_plan_keeps_what_is_annotated_large() -> None:
    known = np.array([[0.0, 3.0], [1.0, 4.0]])
    drawing = plan([PersonPath(known=known, found=known + np.array([[0.0, 0.0], [900.0, 900.0]]))])
    assert "grid 0.5 m" in drawing or "grid 1 m" in drawing
