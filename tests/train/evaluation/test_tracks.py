"""Measures in the world under every protocol: by hand on a body that walks in a circle, and against other code.

The other code repeats the published formulas in NumPy, written from docs/reference/evaluation.md and
docs/reference/further-datasets.md alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from trace_data.geometry import matrix_from_axis_angle
from trace_train.evaluation.measures import Scores
from trace_train.evaluation.sums import MODEL
from trace_train.evaluation.tracks import OF_A_MISS, Frames, FrameTiming, TrackAccumulator, pieces
from trace_train.protocols.loading import load_protocol, protocols
from trace_train.protocols.protocol import Protocol, WorldRules

TIMING = FrameTiming(fps=30, step=1)
Floats = np.ndarray[Any, Any]
T = 240
"""Frames: three turns of a circle, so that a sign that alternates is uncorrelated with the places."""
RADIUS = 2.0
GENERATOR = np.random.default_rng(5)
BODY = GENERATOR.normal(0, 0.3, (24, 3))
FEET = GENERATOR.normal(0, 0.1, (4, 3)) - (0, 0, 0.9)


def frames(
    hips: Floats, true_hips: Floats, *, ids: Floats | None = None, turns: Floats | None = None, noise: float = 0.0
) -> Frames:
    """Bodies that never change at these places (n, 3); `noise`: m, in all predicted joints and feet.

    `turns` (n, 3): axis-angles of both roots."""
    n = len(hips)
    root = np.tile(np.eye(3), (n, 1, 1)) if turns is None else matrix_from_axis_angle(turns)
    skeleton, feet = BODY @ root.swapaxes(1, 2), FEET @ root.swapaxes(1, 2)
    draw = np.random.default_rng(n)
    jolted = draw.normal(0, noise, (n, 24, 3)) if noise else np.zeros((n, 24, 3))
    rest = np.tile([0.0, -0.2, 0.03], (n, 1))
    values = {
        "predicted": skeleton + jolted,
        "annotated": skeleton,
        "skeleton": skeleton + jolted,
        "feet": feet + jolted[:, :4],
        "root": root,
        "pelvis": skeleton[:, :1],
        "rest": rest,
        "place": hips,
        "true_skeleton": skeleton,
        "true_feet": feet,
        "true_root": root,
        "true_hips": true_hips,
        "true_pelvis": skeleton[:, :1],
        "true_rest": rest,
        "camera_from_world": np.tile(np.eye(3), (n, 1, 1)),
        "true_from_assumed": np.tile(np.eye(3), (n, 1, 1)),
    }
    made = {name: torch.from_numpy(np.ascontiguousarray(value, np.float64)) for name, value in values.items()}
    made["id"] = torch.arange(n) if ids is None else torch.from_numpy(ids)
    made["in_world"] = torch.ones(n, dtype=torch.bool)
    return made


def scored(protocol: Protocol | str, *parts: Frames, missed: Frames | None = None) -> Scores:
    rules = load_protocol(protocol) if isinstance(protocol, str) else protocol
    track = TrackAccumulator(TIMING, rules, None, world_is_first_camera=True)
    for part in parts:
        track.add(part)
    if missed is not None:
        track.miss({name: missed[name] for name in OF_A_MISS})
    return track.end()[MODEL].scores()


def circle(n: int = T) -> Floats:
    angle = 2 * np.pi * 3 * np.arange(n) / n
    return RADIUS * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)


def value(scores: Scores, name: str) -> float:
    found = getattr(scores, name)
    assert found is not None, name
    return float(found)


# --- by hand ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", protocols())
def test_a_perfect_track_has_no_error(name: str) -> None:
    path, turns = circle(), GENERATOR.normal(0, 1, (T, 3))
    whole = frames(path, path, turns=turns)
    halves = [{key: part[at] for key, part in whole.items()} for at in (slice(0, 7), slice(7, T))]
    row = scored(name, *halves)
    for measure in ("acceleration", "w_mpjpe", "wa_mpjpe", "rte", "ate", "ate_rigid", "ate_start", "root_orientation"):
        assert value(row, measure) == pytest.approx(0, abs=1e-4), measure
    assert value(row, "path_ratio") == pytest.approx(1)


@pytest.mark.parametrize("name", protocols())
def test_a_path_that_swings_about_the_true_one(name: str) -> None:
    """Up and down by 3 cm from frame to frame, across the plane of the circle: no alignment can turn that away."""
    swing, path = 0.03, circle()
    sign = np.where(np.arange(T) % 2, -1.0, 1.0)
    row = scored(name, frames(path + np.outer(sign * swing, [0, 0, 1]), path))
    length = np.linalg.norm(np.diff(path, axis=0), axis=-1).sum()
    assert value(row, "rte") == pytest.approx(swing / length, rel=1e-6)
    assert value(row, "ate_rigid") == pytest.approx(swing, rel=1e-6)
    scale = RADIUS**2 / (RADIUS**2 + swing**2)  # of the best similarity
    rest = RADIUS**2 - scale * RADIUS**2
    assert value(row, "ate") == pytest.approx(np.sqrt(rest), rel=1e-6)
    # a body that stands: its third difference is 8 swings, feet move by two of them
    still = np.zeros((T, 3))
    row = scored(name, frames(still + np.outer(sign * swing, [0, 0, 1]), still))
    assert value(row, "jitter") == pytest.approx(8 * swing * 30**3 / 10, rel=1e-6)
    assert value(row, "foot_sliding") == pytest.approx(2000 * swing, rel=1e-6)
    assert row.rte is None, "who never moves has no path"


WHAM = {240: (98, 240), 201: (98, 201), 200: (98, 200), 101: (98, 101), 100: (98, 100)}
JUMPED = {
    # frames after the jump that share a chunk with its beginning, of the frames scored
    "emdb2-wham": WHAM,
    "emdb2-gvhmr": WHAM,
    "rich-static": WHAM,
    "emdb2-tram": {240: (98, 239), 201: (98, 200), 200: (98, 100), 101: (98, 100), 100: None},
    "trace-5d": {240: (98, 240), 201: (98, 200), 200: (98, 200), 101: (98, 100), 100: (98, 100)},
}


@pytest.mark.parametrize(
    ("name", "count", "wrong", "of"),
    [(name, count, *(share or (0, 0))) for name, own in JUMPED.items() for count, share in own.items()],
)
def test_a_jump_counts_in_the_chunk_that_saw_what_was_before(name: str, count: int, wrong: int, of: int) -> None:
    """A jump of 10 cm after the second frame: the first two frames align what is before it, later chunks themselves."""
    path = np.zeros((count, 3))
    jump = np.where(np.arange(count)[:, None] < 2, 0, [0.06, 0, 0.08])
    row = scored(name, frames(path + jump, path))
    if not of:
        assert row.w_mpjpe is None
        return
    assert value(row, "w_mpjpe") == pytest.approx(100 * wrong / of, rel=1e-6)


def test_tram_prolongs_its_last_chunk() -> None:
    rules = load_protocol("emdb2-tram").world
    cut = {n: [(p.start, p.stop) for p in pieces(torch.arange(n), 0, TIMING, rules)] for n in (100, 150, 200, 201, 250)}
    assert cut == {
        100: [],
        150: [(0, 149)],
        200: [(0, 100)],
        201: [(0, 100), (100, 200)],
        250: [(0, 100), (100, 249)],
    }


def test_chunks_in_real_time_count_from_the_first_frame_of_the_track() -> None:
    ids = torch.tensor([5, 6, 50, 104, 105, 106, 300])
    seconds = [(p.start, p.stop) for p in pieces(ids, 5, TIMING, WorldRules())]
    assert seconds == [(0, 4), (4, 6)], "a single frame is no chunk here"
    counted = pieces(ids, 5, TIMING, WorldRules(unit="frames", chunk=3, least=1))
    assert [(p.start, p.stop) for p in counted] == [(0, 3), (3, 6), (6, 7)]


def test_gaps_break_derivatives_or_are_joined() -> None:
    """A body that walks 1 m/s along a line, unseen for a second: joined frames take a step of a metre for motion."""
    ids = np.concatenate([np.arange(50), np.arange(80, 130)])
    path = np.outer(ids / 30, [1.0, 0, 0])
    walk = frames(path, path, ids=ids)
    own, joined = scored("trace-5d", walk), scored("emdb2-wham", walk)
    assert value(own, "jitter") == pytest.approx(0, abs=1e-6)
    # differences of the steps 1/30 … 1/30, 31/30, 1/30 …: 1, -2, 1 m over 97 stencils
    assert value(joined, "jitter") == pytest.approx(4 * 30**3 / 10 / 97, rel=1e-6)


def test_ends_of_the_acceleration_error_are_cut_where_the_protocol_cuts_them() -> None:
    """One wrong joint in the first frame: one value of 8 is wrong, and it is the first."""
    still = np.zeros((10, 3))
    wrong = frames(still, still)
    wrong["predicted"][0, 0, 0] += 0.24
    assert value(scored("emdb1-gvhmr", wrong), "acceleration") == pytest.approx(0.01 * 900 / 8, rel=1e-9)
    assert value(scored("emdb1", wrong), "acceleration") == 0


# --- misses that are filled ------------------------------------------------------------------------------------


def test_dynacam_fills_with_the_place_before() -> None:
    path, found = circle(), np.arange(T) % 4 != 0
    whole = frames(path, path)
    part = {key: one[torch.from_numpy(found)] for key, one in whole.items()}
    gone = {key: one[torch.from_numpy(~found)] for key, one in whole.items()}
    before = path.copy()
    before[4::4], before[0] = path[3:-1:4], path[1]
    filled, plain = scored("dynacam", part, missed=gone), scored("trace-5d", part, missed=gone)
    expected = rmse(similar(before, path), path)
    assert value(filled, "ate") == pytest.approx(expected, rel=1e-9) and expected > 0.03
    assert value(plain, "ate") == pytest.approx(0, abs=1e-6), "elsewhere they are left out"
    assert value(filled, "ape") == pytest.approx(np.sqrt(expected**2 + turned_by(before, path)), rel=1e-6), (
        "its roots do not turn, but the alignment does"
    )


def test_who_is_never_found_costs_what_dynacam_says() -> None:
    lost = scored("dynacam", missed=frames(circle(), circle()))
    assert (lost.ate, lost.ape) == (2, 4)
    assert scored("trace-5d", missed=frames(circle(), circle())).ate is None


def test_paths_count_the_same_or_by_their_frames() -> None:
    rules = load_protocol("dynacam")
    for mean, expected in (("tracks", 1.0), ("frames", 40.0)):
        track = TrackAccumulator(TIMING, rules.model_copy(update={"mean": mean}), None, world_is_first_camera=True)
        track.add(frames(circle(40), circle(40)))
        assert track.end()[MODEL].counts["ate"] == expected


# --- other code ------------------------------------------------------------------------------------------------


def umeyama(p: Floats, g: Floats, *, scaled: bool = True) -> tuple[float, Floats, Floats]:
    """Scale, rotation and translation from points p (n, 3) to g."""
    mean_p, mean_g = p.mean(0), g.mean(0)
    u, d, vt = np.linalg.svd((g - mean_g).T @ (p - mean_p) / len(p))
    flip = np.diag([1, 1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    turn = u @ flip @ vt
    scale = float(np.trace(np.diag(d) @ flip) / ((p - mean_p) ** 2).sum() * len(p)) if scaled else 1.0
    return scale, turn, mean_g - scale * turn @ mean_p


def similar(p: Floats, g: Floats) -> Floats:
    scale, turn, shift = umeyama(p.reshape(-1, 3), g.reshape(-1, 3))
    return scale * p @ turn.T + shift


def rmse(p: Floats, g: Floats) -> float:
    return float(np.sqrt(((p - g) ** 2).sum(-1).mean()))


def turned_by(p: Floats, g: Floats) -> float:
    _, turn, _ = umeyama(p, g)
    return float(((turn - np.eye(3)) ** 2).sum())


def published(name: str, p: Floats, g: Floats, feet: Floats, true_feet: Floats, point: Floats, true: Floats) -> Floats:
    """WA-MPJPE, W-MPJPE, RTE, jitter and foot sliding of joints (n, 24, 3), feet (n, 4, 3) and paths (n, 3)."""
    n, wa, w = len(p), [], []
    if name == "emdb2-tram":
        ends = {s: n - 1 if s + 200 > n else s + 100 for s in range(0, n - 100, 100)}
    else:
        ends = {s: min(s + 100, n) for s in range(0, n, 100)}
    for start, end in ends.items():
        a, b = p[start:end], g[start:end]
        scale, turn, shift = umeyama(a[:2].reshape(-1, 3), b[:2].reshape(-1, 3))
        w.append(np.linalg.norm(scale * a @ turn.T + shift - b, axis=-1).mean(-1))
        wa.append(np.linalg.norm(similar(a, b) - b, axis=-1).mean(-1))
    _, turn, shift = umeyama(point, true, scaled=False)
    rte = np.linalg.norm(point @ turn.T + shift - true, axis=-1) / np.linalg.norm(np.diff(true, axis=0), axis=-1).sum()
    jitter = np.linalg.norm(p[3:] - 3 * p[2:-1] + 3 * p[1:-2] - p[:-3], axis=-1).mean(-1) * 30**3 / 10
    contact = np.linalg.norm(np.diff(true_feet, axis=0), axis=-1) < 0.01
    sliding = np.linalg.norm(np.diff(feet, axis=0), axis=-1)[contact] * 1000
    return np.array(
        [1000 * np.concatenate(wa).mean(), 1000 * np.concatenate(w).mean(), rte.mean(), jitter.mean(), sliding.mean()]
    )


@pytest.mark.parametrize("name", ["emdb2-wham", "emdb2-gvhmr", "emdb2-tram"])
@pytest.mark.parametrize("count", [101, 201, 240, 350])
def test_emdb2_agrees_with_other_code(name: str, count: int) -> None:
    """A walk in another world at another scale, with noise, standing phases, and gaps that are put aside."""
    draw = np.random.default_rng(count)
    ids = np.sort(draw.choice(2 * count, count, replace=False))
    steps = draw.normal(0, 0.03, (count, 3)) * (np.arange(count) % 40 < 25)[:, None]
    turns = np.cumsum(draw.normal(0, 0.05, (count, 3)) * (np.arange(count) % 40 < 25)[:, None], axis=0)
    true = np.cumsum(steps, axis=0)
    other = matrix_from_axis_angle(np.array([0.3, -1.0, 0.4]))
    hips = 1.2 * (true + np.cumsum(draw.normal(0, 0.005, (count, 3)), axis=0)) @ other.T + (3, -2, 1)
    given = frames(hips, true, ids=ids, turns=turns, noise=0.02)
    for key in ("skeleton", "feet", "pelvis"):
        given[key] = given[key] @ torch.from_numpy(other).mT
    row = scored(name, {k: v[:60] for k, v in given.items()}, {k: v[60:] for k, v in given.items()})

    now = {key: one.numpy() for key, one in given.items()}
    points = {"emdb2-wham": ("pelvis", 1), "emdb2-gvhmr": ("skeleton", 0), "emdb2-tram": ("skeleton", 0)}
    of, translation = points[name]
    expected = published(
        name,
        now["skeleton"] + hips[:, None],
        now["true_skeleton"] + true[:, None],
        now["feet"] + hips[:, None],
        now["true_feet"] + true[:, None],
        hips + now[of][:, 0] - translation * now["rest"],
        true + now[f"true_{of}"][:, 0] - translation * now["true_rest"],
    )
    found = [value(row, key) for key in ("wa_mpjpe", "w_mpjpe", "rte", "jitter", "foot_sliding")]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert expected.min() > 1e-3
