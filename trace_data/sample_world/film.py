"""Videos of the sample world: longer clips in which people enter, leave, cross and hide.

A video has a plot, a stage around the world's origin with a pillar on it, and one or two shots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.sample_world.backdrop import Backdrop, draw_backdrop
from trace_data.sample_world.cameras import PinholeCamera, Shot, stage_camera
from trace_data.sample_world.figure import load_figure
from trace_data.sample_world.people import draw_person, people_of
from trace_data.sample_world.pillar import WIDTH, Pillar, draw_pillar
from trace_data.sample_world.recorded import RECORDED, MotionClip
from trace_data.sample_world.render import FINE, Actor, VisibleFaces, draw_frame, rasterise
from trace_data.sample_world.scene import Image, Performance, keep_apart, perform, perform_clip, skeleton_of
from trace_data.sample_world.walks import Walk, draw_walk

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FPS = 25.0
FRAMES = 200
ASPECT = 4 / 3
"""Width over height."""
DISTANCE = 2.7
"""Metres from the camera to the middle of the stage."""
NEAREST = 0.3
"""Metres from the camera's plane at which somebody counts as before it."""
FILMED: Mapping[Shot, str] = {"handheld": "moving", "turning": "turning", "fixed": "static"}
"""What is said of each kind of camera."""
LABEL = "synthetic"
_FILM = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one person does. The stage: x to the right of the first camera, y away from it, metres."""

    leads: float
    """Direction at the beginning: 1 to the right of the picture, -1 to the left, 0 towards the camera."""
    at: tuple[float, tuple[float, float]]
    """A time, s, and the place on the stage at that time."""
    walking: tuple[tuple[float, float], ...] = ()
    turns: tuple[tuple[float, float], ...] = ()
    """Times, s, and quarter turns to the left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What happens in a video."""

    shots: tuple[tuple[Shot, float, float], ...]
    """The camera's kind, its azimuth relative to the first, radians, and the second at which it begins."""
    pillar: tuple[float, float]
    """Place on the stage."""
    parts: tuple[Part, ...]


_MEETING = (
    # two who cross in the middle of the picture, turn round, and cross again
    Part(leads=1, at=(2.5, (0.25, -0.55)), walking=((-1, 3.9), (5.5, 9)), turns=((4.7, -2),)),
    Part(leads=-1, at=(2.5, (0.25, 0.25)), walking=((-1, 3.9), (5.5, 9)), turns=((4.7, -2),)),
    # one who hides, and goes on
    Part(leads=1, at=(3.5, (-1.0, 2.0)), walking=((-1, 2.7), (4.3, 9))),
)
PLOTS: Mapping[str, Plot] = {
    "moving": Plot(
        shots=(("handheld", 0.0, 0.0),),
        pillar=(0.3, 0.3),
        parts=(
            # enters, hides, comes out on the other side, leaves
            Part(leads=1, at=(4.1, (0.38, 1.2)), walking=((-1, 3.3), (4.9, 9))),
            # stands from the beginning, leaves near the end
            Part(leads=0, at=(2.0, (-0.75, 0.2)), walking=((5.4, 9),), turns=((5.0, -1),)),
            # passes before everything
            Part(leads=-1, at=(3.2, (0.2, -0.55)), walking=((-1, 9),)),
        ),
    ),
    "static": Plot(shots=(("fixed", 0.0, 0.0),), pillar=(-0.8, 1.05), parts=_MEETING),
    "cut": Plot(shots=(("turning", 0.0, 0.0), ("fixed", -0.9, 4.8)), pillar=(-0.8, 1.05), parts=_MEETING),
}
"""The plots, by the name that a video gets; videos take them in turn."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FilmTake:
    """One shot of a film."""

    first: int
    """Its first frame in the film."""
    shot: Shot
    camera: PinholeCamera
    """Over the frames of the shot."""
    backdrop: Backdrop

    @property
    def frames(self) -> int:
        return len(self.camera.camera_from_world)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Film:
    """Everything that determines the pictures of a video."""

    name: str
    performances: tuple[Performance, ...]
    """Over all frames, of neutral bodies; nobody is in the training sequences."""
    pillar: Pillar
    takes: tuple[FilmTake, ...]
    light: Array
    """(3,) unit vector towards the light, world."""
    ambient: float
    grain: npt.NDArray[np.int16]
    cuts: Ints
    """(T, 2) corners of the crops of `grain`."""

    @property
    def recorded(self) -> bool:
        """Whether people move as in recorded motions, not by the plot."""
        return self.performances[0].motion.kind == RECORDED

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.takes[0].camera.size

    @property
    def camera_from_world(self) -> Array:
        """(T, 4, 4)."""
        return np.concatenate([take.camera.camera_from_world for take in self.takes])

    @property
    def intrinsics(self) -> Array:
        """(T, 3, 3) px."""
        return np.concatenate([np.tile(take.camera.intrinsics, (take.frames, 1, 1)) for take in self.takes])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FilmFrame:
    """A picture, and what is in it."""

    image: Image
    """(H, W, 3) BGR."""
    seen: VisibleFaces
    actors: tuple[int, ...]
    """Performance of each actor of `seen`; -1 is the pillar."""
    boxes: Array
    """(P, 4) left, top, width, height px around each person as if nothing hid them, beyond the picture too; NaN for
    people who are not before the camera."""
    visible: Array
    """(P,) share of each person's samples, those beyond the picture included, that the picture shows."""


def name_of(number: int) -> str:
    """The name of video `number`, from 0: that it is synthetic, its number from 1, its plot."""
    return f"{LABEL}-{number + 1:02d}-{list(PLOTS)[number % len(PLOTS)]}"


def actors_in(number: int) -> int:
    """How many people video `number` shows."""
    return len(_plot(number).parts)


def _plot(number: int) -> Plot:
    return list(PLOTS.values())[number % len(PLOTS)]


def draw_film(seed: int, number: int, height: int, *, frames: int = FRAMES, motions: Sequence[MotionClip] = ()) -> Film:
    """Video `number`, from 0, of the world of `seed`, `height` px high.

    `motions`: those of its people, who do only for a moment what the plot says: be at a place, facing a way.
    """
    rng = np.random.default_rng([seed, _FILM, number])
    plot = _plot(number)
    azimuth, side = float(rng.uniform(0, 2 * np.pi)), float(rng.choice([-1, 1]))
    times = np.arange(2 * frames) / (2 * FPS)
    people = _people(seed, number, len(plot.parts))
    performances: list[Performance] = []
    for order, (person, part) in enumerate(zip(people, plot.parts)):
        member = replace(draw_person(seed, person), gender="neutral")
        walk = _directed(part, azimuth, side)
        if motions:
            when, place = walk.at
            moment = int(np.abs(times - when).argmin())
            performances.append(perform_clip(member, motions[order], times, walk.heading, np.array(place), moment))
        else:
            skeleton = skeleton_of(load_figure("neutral").body, member.betas)
            performances.append(perform(member, draw_walk(rng, times, walk, skeleton)))
    pillar = _on_stage(plot.pillar, azimuth, side)
    if motions:
        keep_apart(performances)
        pillar = _clear_of(performances, pillar, azimuth)
    size = (2 * round(height * ASPECT / 2), height)
    light = np.array([rng.normal(0, 0.5), rng.uniform(0.9, 1.2), rng.normal(0, 0.5)])
    light[[0, 2]] -= 0.5 * np.array([np.sin(azimuth), np.cos(azimuth)])
    light /= np.linalg.norm(light)
    return Film(
        name=name_of(number),
        performances=tuple(performances),
        pillar=draw_pillar(rng, pillar, azimuth),
        takes=_takes(rng, plot, times[::2], size, azimuth, side, light),
        light=light,
        ambient=rng.uniform(0.45, 0.6),
        grain=np.rint(rng.normal(0, rng.uniform(0.8, 2), (height + 32, size[0] + 32, 3))).astype(np.int16),
        cuts=rng.integers(0, 32, (frames, 2)),
    )


def render_film(film: Film, *, every: int = 1) -> Iterator[FilmFrame]:
    """The pictures in order; only each n-th one if `every` is n."""
    width, height = film.size
    for take in film.takes:
        frames = slice(take.first, take.first + take.frames)
        views = [take.camera.pixels(p.points[frames]) for p in film.performances]
        still = np.broadcast_to(film.pillar.points, (take.frames, *film.pillar.points.shape))
        pillar, pillar_depth = take.camera.pixels(still)
        for frame in range(-take.first % every, take.frames, every):
            actors = {
                number: Actor(p.figure, p.points[take.first + frame], pixels[frame], depth[frame], p.person.colours)
                for number, (p, (pixels, depth)) in enumerate(zip(film.performances, views))
                if depth[frame].min() > NEAREST
            }
            stands = Actor(
                film.pillar.mesh, film.pillar.points, pillar[frame], pillar_depth[frame], film.pillar.colours
            )
            everything = {**actors, -1: stands}
            image, seen = draw_frame(
                take.backdrop, take.camera, frame, list(everything.values()), film.light, film.ambient
            )
            top, left = film.cuts[take.first + frame]
            noise = film.grain[top : top + height, left : left + width]
            image = np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
            _label(image)
            boxes, visible = _seen_of(actors, tuple(everything), seen, len(film.performances))
            yield FilmFrame(image=image, seen=seen, actors=tuple(everything), boxes=boxes, visible=visible)


def _label(image: Image) -> None:
    """Write `LABEL` into a corner, light with a dark rim. The rim is the same thin text, moved: in a greater width,
    newer versions of OpenCV also set letters wider."""
    x, y = 5, image.shape[0] - 6
    rim = [(x + right, y + down, (20, 20, 20)) for right in (-1, 0, 1) for down in (-1, 0, 1)]
    for left, base, colour in (*rim, (x, y, (240, 240, 240))):
        cv2.putText(image, LABEL, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1, cv2.LINE_AA)


def silhouette(actor: Actor) -> tuple[npt.NDArray[np.bool_], Ints]:
    """The samples (2h, 2w) that an actor would cover if nothing hid them, and the pixel (x, y) where they begin."""
    low = np.floor(actor.pixels.min(0)).astype(np.int64) - 1
    high = np.ceil(actor.pixels.max(0)).astype(np.int64) + 2
    alone = replace(actor, pixels=actor.pixels - low)
    return rasterise([alone], (int(high[0] - low[0]), int(high[1] - low[1]))).ids > 0, low


def _seen_of(
    actors: Mapping[int, Actor], order: tuple[int, ...], seen: VisibleFaces, people: int
) -> tuple[Array, Array]:
    boxes, visible = np.full((people, 4), np.nan), np.zeros(people)
    painted = np.bincount(seen.actor[seen.ids[seen.ids > 0] - 1], minlength=len(order))
    for number, actor in actors.items():
        covered, first = silhouette(actor)
        rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
        low = first + np.array([columns[0], rows[0]]) / FINE - 0.5  # outer edges, px
        high = first + np.array([columns[-1] + 1, rows[-1] + 1]) / FINE - 0.5
        boxes[number] = [*low, *(high - low)]
        visible[number] = painted[order.index(number)] / covered.sum()
    return boxes, visible


def _people(seed: int, number: int, count: int) -> list[int]:
    """People of the test split; over the videos, everybody takes part equally often."""
    people = np.random.default_rng([seed, _FILM]).permutation(people_of("test"))
    return [int(people[(number * count + k) % len(people)]) for k in range(count)]


def _on_stage(place: tuple[float, float], azimuth: float, side: float) -> tuple[float, float]:
    """World (x, z) of a place on the stage, which is mirrored if `side` is -1."""
    ahead, right = np.array([np.sin(azimuth), np.cos(azimuth)]), np.array([-np.cos(azimuth), np.sin(azimuth)])
    x, z = side * place[0] * right + place[1] * ahead
    return float(x), float(z)


def _clear_of(performances: list[Performance], wanted: tuple[float, float], azimuth: float) -> tuple[float, float]:
    """The place (x, z) nearest to the wanted one, and no nearer to the camera, where a pillar is in nobody's way."""
    walked = np.concatenate([p.joints[..., [0, 2]].reshape(-1, 2) for p in performances])
    for away in np.arange(0, 6, 0.25):
        for turn in np.linspace(-np.pi / 2, np.pi / 2, 9):
            place = np.array(wanted) + away * np.array([np.sin(azimuth + turn), np.cos(azimuth + turn)])
            if np.linalg.norm(walked - place, axis=1).min() > WIDTH / 2 + 0.2:
                return float(place[0]), float(place[1])
    return wanted


def _directed(part: Part, azimuth: float, side: float) -> Walk:
    when, place = part.at
    heading = azimuth - side * part.leads * np.pi / 2 if part.leads else azimuth + np.pi
    turns = tuple((middle, side * quarters * np.pi / 2) for middle, quarters in part.turns)
    return Walk(
        heading=heading,
        at=(when, _on_stage(place, azimuth, side)),
        walking=part.walking,
        turns=turns,
    )


def _takes(
    rng: np.random.Generator,
    plot: Plot,
    times: Array,
    size: tuple[int, int],
    azimuth: float,
    side: float,
    light: Array,
) -> tuple[FilmTake, ...]:
    begins = [int(np.searchsorted(times, begin)) for _, _, begin in plot.shots]
    ends = [*begins[1:], len(times)]
    takes: list[FilmTake] = []
    for (shot, turn, _), first, end in zip(plot.shots, begins, ends):
        camera = stage_camera(rng, times[first:end], size, azimuth + side * turn, DISTANCE, shot)
        backdrop = draw_backdrop(rng, camera, np.zeros(3), 2.5, light)
        if takes:  # the same place from another side
            floor = takes[0].backdrop
            backdrop = replace(backdrop, floor=floor.floor, far=floor.far, floor_scale=floor.floor_scale)
        takes.append(FilmTake(first=first, shot=shot, camera=camera, backdrop=backdrop))
    return tuple(takes)
