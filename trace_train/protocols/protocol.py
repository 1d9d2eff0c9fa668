"""An evaluation protocol: which sequences, joints, alignments and means a score stands for (docs/protocols.md)."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from trace_data.shards.entries import SequenceEntry
from trace_train.config.part import ConfigPart


class DataRules(ConfigPart):
    """Which sequences of the shards are scored."""

    dataset: str | None = None
    """Canonical name of the dataset; None: all that the shards hold."""
    split: Literal["train", "val", "test"] | None = None
    """None: as the caller says."""
    subset: str | None = None
    """Key of a sequence's provenance that has to be `true`, as `emdb2`."""
    sequences: tuple[str, ...] = ()
    """Patterns of names, of which one has to fit; (): all."""
    without: tuple[str, ...] = ()
    """Patterns of names that are left out."""
    camera: Literal["static", "moving"] | None = None
    """Sequences of still or of moving cameras alone; None: both."""
    count: int | None = None
    """Number of sequences in the published evaluation, to say how many of them are there."""

    def fits(self, entry: SequenceEntry) -> bool:
        """Whether a sequence is one of the protocol's, whatever its split."""
        named = not self.sequences or any(fnmatchcase(entry.name, pattern) for pattern in self.sequences)
        left_out = any(fnmatchcase(entry.name, pattern) for pattern in self.without)
        return (
            self.dataset in (None, entry.dataset)
            and (self.subset is None or entry.provenance.get(self.subset) == "true")
            and (self.camera is None or entry.moving == (self.camera == "moving"))
            and named
            and not left_out
        )


class BodyRules(ConfigPart):
    """What is compared of two bodies in the camera. The annotated one has its gender, the predicted one is neutral."""

    joints: Literal["lsp-14", "smpl-24", "smpl-24-regressed", "smpl-24-neutral"] = "lsp-14"
    """`lsp-14`: 14 LSP joints that the Human3.6M regressor makes of both meshes. `smpl-24`: the 24 joints of the
    kinematic chain. `smpl-24-regressed`: 24 joints that the joint regressor of each body's own model makes of its posed
    mesh. `smpl-24-neutral`: the same with the neutral model's regressor for both."""
    root: Literal["hips", "h36m-pelvis"] = "hips"
    """What is subtracted for MPJPE: the midpoint of the two hips of the joint set, or the pelvis of the Human3.6M
    regressor (only of `lsp-14`)."""
    surface: Literal["root", "origin"] = "root"
    """What is subtracted for PVE: the same root, or nothing: both meshes stand in SMPL's own origin."""


class TimeRules(ConfigPart):
    """How frames follow each other."""

    gaps: Literal["break", "join"] = "break"
    """`break`: derivatives are taken over frames without a gap in their ids alone. `join`: frames that count are put
    behind one another, whatever lies between them."""
    rate: float | None = Field(None, gt=0)
    """Frames a second in derivatives, whatever the true rate; None: the sequence's own."""
    trimmed: int = Field(0, ge=0)
    """Values of the acceleration error left out at either end of a track."""


class WorldRules(ConfigPart):
    """Alignments in the world. They work on the 24 joints of `BodyRules.joints`, or of the chain for `lsp-14`."""

    chunk: float = Field(100.0, gt=0)
    """Length of a chunk, in `unit`."""
    unit: Literal["frames", "thirtieths"] = "thirtieths"
    """`frames` that count, or `thirtieths` of a second from the first frame of a track on."""
    tail: Literal["short", "prolonged"] = "short"
    """`short`: the last chunk is what remains. `prolonged`: the last chunk takes what remains but for one frame, and a
    track of at most one chunk has none, as TRAM's loop has it."""
    least: int = Field(2, ge=1)
    """Frames of the shortest chunk that is scored. A single one is aligned by its own joints."""
    point: Literal["hips", "pelvis", "translation"] = "hips"
    """What RTE, ATE and path lengths follow: the midpoint of the LSP hips, joint 0 of the 24, or SMPL's translation."""
    shortest_path: float = Field(0.1, ge=0)
    """m; shorter tracks have no RTE."""


class LabelledRules(ConfigPart):
    """How labelled joints of people without a body are compared."""

    joints: tuple[str, ...] | None = None
    """Names among the 44; None: all that are labelled."""
    root: Literal["hips", "pelvis"] = "hips"
    """Midpoint of the labelled hips, or the labelled pelvis."""
    bones: Literal["predicted", "annotated"] = "predicted"
    """`annotated`: predicted bones are scaled to the annotated lengths along the tree first."""


class TrackingRules(ConfigPart):
    """How boxes are made and means taken of MOTA, IDF1 and HOTA."""

    enlarged: tuple[float, float] = (1.0, 1.0)
    """Factors of the predicted boxes' width and height."""
    frames: Literal["everyone", "annotated"] = "everyone"
    """Frames that count: those in which everyone visible is annotated, or in which anybody is."""
    mean: Literal["pooled", "published"] = "pooled"
    """Of several videos. `pooled`: counts are added. `published`: MOTA, IDF1 and switches of added counts, HOTA as the
    mean of the videos."""


class Protocol(ConfigPart):
    """One protocol, all that decides what a number means."""

    name: str
    """What `--protocol` calls it."""
    about: str
    """One sentence."""
    follows: str = ""
    """Whose evaluation it repeats, with the files of its code."""
    page: str = ""
    """The page of these docs with the facts."""
    data: DataRules = DataRules()
    bodies: BodyRules = BodyRules()
    time: TimeRules = TimeRules()
    world: WorldRules = WorldRules()
    labelled: LabelledRules = LabelledRules()
    tracking: TrackingRules = TrackingRules()
    misses: Literal["left out", "wrong", "filled"] = "left out"
    """`wrong`: joints of people who were not found are wrong ones in 3DPCK and AUC. `filled`: in the path, the place in
    the last frame in which the person was found, else the next; a person who is never found costs ATE 2 and APE 4."""
    mean: Literal["frames", "sequences", "tracks"] = "frames"
    """`frames`: over all frames of all sequences. `sequences`: of the sequences' means. `tracks`: over frames, and of
    the paths every one counts the same."""
    baselines: bool = False
    """Whether constant bodies fitted on the training split are scored beside the network."""
    measures: tuple[str, ...] = ()
    """Fields of `Scores` that the protocol defines; (): all. Detection and coverage are always shown."""
    frames: str = "every frame of the split"
    """In words, as are the next three: which frames count."""
    people: str = "the network's own detections"
    """Whose boxes or tracks."""
    camera: str = "as predicted"
    """Where the camera comes from."""
    differs: tuple[str, ...] = ()
    """What this project does otherwise than the evaluation that is followed."""

    def defines(self, *measures: str) -> bool:
        """Whether it defines any of these fields of `Scores`."""
        return not self.measures or not {*measures}.isdisjoint(self.measures)
