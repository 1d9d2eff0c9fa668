"""Results on the pictures of their videos: bodies in their places, pale where not seen, one window, no remains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from example_result import SIZE, example_result

from trace_cli.main import run as command
from trace_data.assets.body_model import BodyModel
from trace_data.drawing import colour_of, pale
from trace_data.errors import AssetError, ConfigError, OutputError, ResultError
from trace_data.frames.footage import Footage, open_footage
from trace_data.frames.video_writer import PAGE, choose_encoder
from trace_data.overlay import video as module
from trace_data.overlay.items import ITEMS, items_of
from trace_data.overlay.painter import ResultPainter
from trace_data.overlay.video import draw_result, free_place
from trace_data.overlay.world_view import WorldView
from trace_data.progress import Progress
from trace_data.results.file import write_result
from trace_data.results.result import PREDICTED, SEEN, Result

GREY = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
FRAMES = 12


@pytest.fixture(scope="module")
def result() -> Result:
    return example_result(frames=FRAMES)


@pytest.fixture(scope="module")
def body(packs: Path) -> BodyModel:
    return BodyModel.load(packs / "SMPL_NEUTRAL.pth")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(FRAMES):
        cv2.imwrite(str(folder / f"{number:03d}.png"), GREY + number)
    return folder


def of(result: Result, footage: Footage, *, rate: float = 30.0, **about: object) -> Result:
    """The result, as a prediction of this footage from its first frame on."""
    video = {"name": "pictures", "fingerprint": footage.fingerprint()}
    options = {"frame_rate": rate, "stride": 1}
    return replace(result, time=np.arange(FRAMES) / rate, about={**result.about, "video": video, "options": options})


def hue_like(image: np.ndarray, colour: Sequence[int]) -> np.ndarray:
    """Where the picture has a shade of the colour."""
    pixels = image.astype(float)
    wanted = np.array(colour, float) - np.mean(colour)
    found = pixels - pixels.mean(-1, keepdims=True)
    length = np.linalg.norm(found, axis=-1)
    return (found @ wanted / (np.maximum(length, 1e-6) * np.linalg.norm(wanted)) > 0.97) & (length > 15)


# --- what to draw ------------------------------------------------------------------------------------------------


def test_items_are_named() -> None:
    assert items_of(" side,overlay,,ids ") == ("overlay", "ids", "side")
    with pytest.raises(ConfigError, match="skeletons") as caught:
        items_of("overlay,skeletons")
    assert caught.value.where == "--draw" and "skeleton?" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="nothing"):
        items_of(",")


# --- one picture -------------------------------------------------------------------------------------------------


def test_bodies_cover_their_joints_in_the_colour_of_their_identity(result: Result, body: BodyModel) -> None:
    painter = ResultPainter(result, ("overlay",), body)
    image = painter.draw(3, GREY)
    assert image.shape == GREY.shape and (GREY == 120).all()
    for row in result.rows_in(3):
        x, y = np.round(result.joints_2d[row, 3]).astype(int)  # a spine
        colour = colour_of(int(result.person[result.row_person[row]]))
        assert hue_like(image[y - 1 : y + 2, x - 1 : x + 2], colour).all()
    away = ~np.any([hue_like(image, colour_of(k)) for k in (1, 2, 3)], axis=0)
    assert (image[away & (np.abs(image.astype(int) - 120).max(-1) > 40)]).size == 0
    assert np.array_equal(image, ResultPainter(result, ("overlay",), body).draw(3, GREY))


def test_whoever_was_not_seen_is_pale_and_in_stripes(result: Result, body: BodyModel) -> None:
    row = result.rows_in(3)[0]
    unseen = result.state.copy()
    unseen[row] = PREDICTED
    guessed = replace(result, state=unseen)
    x, y = np.round(result.joints_2d[row, 3]).astype(int)
    around = (slice(y - 8, y + 9), slice(x - 3, x + 4))
    person = int(result.person[result.row_person[row]])
    seen, pale_one = (ResultPainter(r, ("overlay",), body).draw(3, GREY)[around] for r in (result, guessed))
    assert hue_like(seen, colour_of(person)).all()
    changes = np.abs(np.diff(pale_one.astype(int), axis=0)).max(-1)
    assert (changes > 12).sum() > 10 > (np.abs(np.diff(seen.astype(int), axis=0)).max(-1) > 12).sum()
    for items in (("ids",), ("skeleton",)):
        whole, dashed = (ResultPainter(r, items).draw(3, GREY) for r in (result, guessed))
        assert (whole == colour_of(person)).all(-1).sum() > 30
        assert not (dashed == colour_of(person)).all(-1).any() and (dashed == pale(colour_of(person))).all(-1).any()


def test_large_pictures_are_drawn_smaller_in_the_same_place(result: Result, body: BodyModel) -> None:
    factor = 4
    change = np.diag([factor, factor, 1.0])
    change[:2, 2] = 0.5 * factor - 0.5
    large = replace(result, image_size=result.image_size * factor, intrinsics=change @ result.intrinsics)
    painter = ResultPainter(large, ("overlay",), body)
    assert painter.size == (1920, 1080)
    image = painter.draw(3, np.full((SIZE[1] * factor, SIZE[0] * factor, 3), 120, np.uint8))
    small = ResultPainter(result, ("overlay",), body).draw(3, GREY)
    shown = [hue_like(picture, colour_of(1)) for picture in (image, small)]
    centres = [np.argwhere(found).mean(0) for found in shown]
    np.testing.assert_allclose((centres[0] + 0.5) / 3 - 0.5, centres[1], atol=0.3)


def test_a_frame_that_could_not_be_read_is_said_so(result: Result) -> None:
    image = ResultPainter(result, ("ids",)).draw(3, None)
    assert image.any() and image.shape == GREY.shape


def test_names_with_foreign_letters_and_wild_boxes_are_drawn(result: Result) -> None:
    names = np.array(["Zoë", "名前", ""], dtype="<U8")
    box = result.box.copy()
    box[0] = np.nan
    box[1] = 1e9
    painter = ResultPainter(replace(result, person_name=names, box=box), ("ids", "skeleton", "bird", "side"))
    for frame in range(FRAMES):
        painter.draw(frame, GREY)


# --- the world ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["bird", "side"])
def test_the_window_holds_everything_and_stays(result: Result, side: str) -> None:
    view = WorldView(result, side, (300, 200))  # type: ignore[arg-type]
    first, last = view.draw(0), view.draw(FRAMES - 1)
    still = (first == view._plain).all(-1) & (last == view._plain).all(-1)
    assert 0.8 < still.mean() < 1 and not np.array_equal(first, last)
    low = np.minimum(view._joints.min((0, 1)), view._cameras.min(0))
    high = np.maximum(view._joints.max((0, 1)), view._cameras.max(0))
    assert (low > 0).all() and (high < (300, 200)).all()
    # metres keep their size: a pelvis moves as far as it does in the world
    rows = result.rows_of(0)
    moved = np.linalg.norm(view._joints[rows[-1]] - view._joints[rows[0]], axis=-1) / view._scale
    assert (moved <= np.linalg.norm(result.joints[rows[-1]] - result.joints[rows[0]], axis=-1) + 1e-4).all()


def test_from_above_the_camera_looks_up_the_picture_and_from_the_side_people_stand(result: Result) -> None:
    above, beside = WorldView(result, "bird", (300, 200)), WorldView(result, "side", (300, 200))
    assert (above._joints[..., 1] < above._cameras[0, 1]).all()
    assert (beside._joints[..., 0] > beside._cameras[0, 0]).all()
    head, feet = beside._joints[:, 15, 1], beside._joints[:, [10, 11], 1].max(1)
    assert (head < feet).all()
    # left and right from above are those of the picture
    first = result.rows_in(0)
    assert (np.argsort(above._joints[first, 0, 0]) == np.argsort(result.joints_2d[first, 0, 0])).all()


def test_a_result_without_people_has_a_world(result: Result) -> None:
    from trace_data.results.rows import chosen

    nobody = chosen(result, np.zeros(0, np.int64))
    nobody = replace(nobody, person=nobody.person[:0], person_name=nobody.person_name[:0], betas=nobody.betas[:0])
    painter = ResultPainter(nobody, tuple(i for i in ITEMS if i != "overlay"))
    assert painter.draw(0, GREY).shape[:2][::-1] == painter.size


# --- the video ---------------------------------------------------------------------------------------------------


def test_every_frame_is_drawn_at_its_time(result: Result, pictures: Path, packs: Path, tmp_path: Path) -> None:
    footage = open_footage([pictures], frame_rate=12.5)
    known = of(result, footage, rate=12.5)
    out = tmp_path / f"one{choose_encoder().suffix}"
    draw_result(known, footage, out, ("overlay", "bird"), packs=packs)
    if not choose_encoder().is_video:
        pytest.skip("no encoder here: the page of pictures is tested below")
    video = cv2.VideoCapture(str(out))
    times = []
    while (read := video.read())[0]:
        times.append(video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        assert read[1].shape[1] > SIZE[0]
    np.testing.assert_allclose(times, known.time, atol=1e-3)


def test_without_an_encoder_there_is_a_page_and_a_word(
    result: Result, pictures: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "choose_encoder", lambda: PAGE)
    said: list[str] = []

    class Listener(Progress):
        def log(self, line: str) -> None:
            said.append(line)

    footage = open_footage([pictures], frame_rate=30)
    out = free_place(tmp_path / "one.trace.npz")
    assert out.name == "one.overlay.html"
    draw_result(of(result, footage), footage, out, ("ids",), packs=packs, progress=Listener())
    assert out.read_text().count("<script>add(") == FRAMES
    assert any("pip install av" in line for line in said)


def test_what_does_not_go_together_is_refused(
    result: Result, pictures: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footage, out = open_footage([pictures], frame_rate=30), tmp_path / "one.mp4"
    known = of(result, footage)
    with pytest.raises(ResultError, match="another video"):
        draw_result(result if "fingerprint" in result.about["video"] else replace(
            known, about={**known.about, "video": {"fingerprint": "sha256:0"}}
        ), footage, out, ("ids",), packs=tmp_path)  # fmt: skip
    with pytest.raises(ResultError, match="another video"):
        draw_result(replace(known, image_size=known.image_size + 2), footage, out, ("ids",), packs=tmp_path)
    with pytest.raises(AssetError) as caught:
        draw_result(known, footage, out, ("overlay",), packs=tmp_path)
    assert "SMPL_NEUTRAL" in str(caught.value.where)
    longer = replace(known, joints=known.joints * np.float32(1.1), translation=known.translation * np.float32(1.1))
    with pytest.raises(AssetError, match="another body model"):
        draw_result(longer, footage, out, ("overlay",), packs=packs)
    with pytest.raises(ResultError, match="not in this video"):
        draw_result(replace(known, frame_id=known.frame_id + 5), footage, out, ("ids",), packs=tmp_path)
    monkeypatch.setattr(ResultPainter, "draw", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        draw_result(known, footage, out, ("ids",), packs=tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pictures"]
    (tmp_path / f"x.overlay{choose_encoder().suffix}").touch()
    with pytest.raises(OutputError, match="already") as standing:
        free_place(tmp_path / "x.trace.npz")
    assert "--force" in str(standing.value.hint)


def test_the_command_draws_beside_the_result(
    result: Result, pictures: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    file = tmp_path / "pictures.trace.npz"
    write_result(file, of(result, open_footage([pictures], frame_rate=30)))
    words = ["draw", str(file), str(pictures), "--packs", str(packs), "--draw", "ids,side"]
    assert command([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert Path(said["video"]).stat().st_size > 1000 and said["frames"] == FRAMES and said["items"] == ["ids", "side"]
    assert command(words) != 0 and "already" in capsys.readouterr().err
    assert command([*words, "--force"]) == 0
    assert (result.state == SEEN).any()
