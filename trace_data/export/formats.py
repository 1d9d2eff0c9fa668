"""The formats by name: who writes each, in which axes, units and rate, and how it is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from trace_data.errors import ConfigError
from trace_data.export.amass import Layout, amass_arrays, npz_bytes
from trace_data.export.bvh import bvh_text
from trace_data.export.coco import coco_text
from trace_data.export.colmap import colmap_texts
from trace_data.export.fbx import blender, fbx_bytes
from trace_data.export.glb import Correctives, glb_bytes
from trace_data.export.mesh import Meshes, PackMeshes
from trace_data.export.meshcapade import mcs_text, smpl_bytes
from trace_data.export.mot import mot_text
from trace_data.export.nerfstudio import nerfstudio_text
from trace_data.export.posed_meshes import obj_text, ply_bytes
from trace_data.export.published import published_bytes
from trace_data.export.rate import Clock
from trace_data.export.spreadsheet import csv_text
from trace_data.export.tum import tum_text
from trace_data.export.usd import usda_text
from trace_data.results.result import Result

Up = Literal["y", "z", "camera"]
Piece = tuple[str, bytes, int | None]
"""The end of a file's name, its content, and the index of the person whose file it is; None: everybody's."""
AXES: dict[Up, str] = {
    "y": "Y up, right-handed",
    "z": "Z up, right-handed",
    "camera": "axes of the first camera: x right, y down, z forward",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """What a writer gets."""

    result: Result
    """In the axes that the format wants."""
    clock: Clock
    """Evenly spaced frames over the result."""
    people: tuple[int, ...]
    """Indices of the people with rows."""
    meshes: Meshes | None
    """None for formats without a mesh."""
    gender: str
    """Of the body model."""
    up: Up | None
    """The axes of the result; None: the file has none."""
    names: str = "smpl"
    """Key into `skeleton.NAMES`."""
    layout: Layout = "smplh"
    """Of AMASS."""
    correctives: Correctives = "none"
    """Of GLB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format."""

    write: Callable[[Job], Iterator[Piece]]
    holds: str
    """What a file has in it."""
    up: Up | None
    """The usual axes of the format; None: pixels."""
    unit: str
    rate: Literal["true", "constant", "none"]
    """Whether frames have their true times, are evenly spaced, or are numbers only."""
    mesh: bool
    """Whether it needs the mesh of the body model."""
    hint: str
    """How to import it."""
    lens: Literal["", "centred", "one"] = ""
    """What its camera lacks: a principal point and a zoom over time, or the zoom alone."""
    people: bool = True
    """Whether it holds people, or the camera alone."""
    parameters: bool = False
    """Whether it needs the body model and yet holds no mesh of it."""


def _glb(job: Job) -> Iterator[Piece]:
    assert job.meshes is not None
    yield ".glb", glb_bytes(job.result, job.meshes, names=job.names, correctives=job.correctives), None


def _usd(job: Job) -> Iterator[Piece]:
    assert job.meshes is not None
    yield ".usda", usda_text(job.result, job.meshes, job.clock, names=job.names).encode(), None


def _fbx(job: Job) -> Iterator[Piece]:
    assert job.meshes is not None
    if blender() is None:
        yield from _glb(job)
        return
    # a bone of no size has no place in an FBX
    glb = glb_bytes(job.result, job.meshes, names=job.names, correctives=job.correctives, absent=1e-3)
    width, height = (int(size) for size in job.result.image_size)
    yield ".fbx", fbx_bytes(glb, fps=job.clock.fps, width=width, height=height), None


def _meshes(job: Job, kind: Literal["obj", "ply"]) -> Iterator[Piece]:
    """A folder with one file a person and frame."""
    assert job.meshes is not None
    for person in job.people:
        faces = job.meshes.of(job.result, person).surface.faces
        for row in job.result.rows_of(person):
            vertices = job.meshes.posed(job.result, int(row))
            content = obj_text(vertices, faces).encode() if kind == "obj" else ply_bytes(vertices, faces)
            frame = job.result.frame_id[job.result.row_frame[row]]
            yield f".{kind}/person-{job.result.person[person]}.frame-{frame:06d}.{kind}", content, None


def _published(job: Job) -> Iterator[Piece]:
    if not isinstance(job.meshes, PackMeshes):
        raise ConfigError(
            "romp needs the body model: its file holds joints that only the model has",
            where="--body",
            hint="leave out --body free",
        )
    for person in job.people:
        job.meshes.of(job.result, person)  # refuses packs of another model
    yield ".romp.npz", published_bytes(job.result, job.meshes.body), None


def _bvh(job: Job) -> Iterator[Piece]:
    for person in job.people:
        yield ".bvh", bvh_text(job.result, person, job.clock, names=job.names).encode(), person


def _amass(job: Job) -> Iterator[Piece]:
    for person in job.people:
        arrays = amass_arrays(job.result, person, job.clock, layout=job.layout, gender=job.gender, up=str(job.up))
        yield f".{job.layout}.{job.up}-up.npz", npz_bytes(arrays), person


def _smpl(job: Job) -> Iterator[Piece]:
    for person in job.people:
        yield ".smpl", smpl_bytes(job.result, person, job.clock, gender=job.gender), person


def _mcs(job: Job) -> Iterator[Piece]:
    yield ".mcs", mcs_text(job.result, job.people, job.clock, gender=job.gender).encode(), None


def _tum(job: Job) -> Iterator[Piece]:
    yield ".tum.txt", tum_text(job.result).encode(), None


def _nerfstudio(job: Job) -> Iterator[Piece]:
    yield ".nerfstudio/transforms.json", nerfstudio_text(job.result).encode(), None


def _colmap(job: Job) -> Iterator[Piece]:
    for name, text in colmap_texts(job.result).items():
        yield f".colmap/{name}", text.encode(), None


def _mot(job: Job) -> Iterator[Piece]:
    yield ".mot.txt", mot_text(job.result).encode(), None


def _coco(job: Job) -> Iterator[Piece]:
    yield ".coco.json", coco_text(job.result).encode(), None


def _csv(job: Job) -> Iterator[Piece]:
    yield ".csv", csv_text(job.result).encode(), None


_FRAMES = "frames: ffmpeg -i VIDEO -start_number 0 images/frame_%06d.jpg"
FORMATS: dict[str, Format] = {
    "glb": Format(
        write=_glb,
        holds="skinned people and the moving camera",
        up="y",
        unit="m",
        rate="true",
        mesh=True,
        lens="centred",
        hint="Blender: set {fps:.4g} fps and {width} x {height} px first, then File > Import > glTF",
    ),
    "usd": Format(
        write=_usd,
        holds="skinned people and the moving camera",
        up="y",
        unit="m",
        rate="true",
        mesh=True,
        lens="one",
        hint="Blender: File > Import > Universal Scene Description; usdcat -o NAME.usdc NAME.usda makes it smaller",
    ),
    "fbx": Format(
        write=_fbx,
        holds="skinned people and the moving camera, through Blender",
        up="y",
        unit="m",
        rate="true",
        mesh=True,
        lens="centred",
        hint="Maya, Unreal, Unity: import as FBX; the motion begins at frame 1",
    ),
    "bvh": Format(
        write=_bvh,
        holds="skeleton and motion",
        up="y",
        unit="cm",
        rate="constant",
        mesh=False,
        hint="Blender: File > Import > BVH with scale 0.01 and Update Scene FPS",
    ),
    "amass": Format(
        write=_amass,
        holds="SMPL parameters in AMASS's {layout} layout: {honesty}",
        up="z",
        unit="m",
        rate="constant",
        mesh=False,
        hint="np.load(FILE); poses, trans, betas, mocap_framerate",
    ),
    "smpl": Format(
        write=_smpl,
        holds="SMPL parameters",
        up="y",
        unit="m",
        rate="constant",
        mesh=False,
        hint="Meshcapade's Blender add-on and editor; the add-on takes whole rates only: see --fps",
    ),
    "mcs": Format(
        write=_mcs,
        holds="SMPL parameters of everybody and the moving camera",
        up="y",
        unit="m",
        rate="constant",
        mesh=False,
        lens="centred",
        hint="Meshcapade's editor and Blender add-on; the add-on takes whole rates only: see --fps",
    ),
    "obj": Format(
        write=lambda job: _meshes(job, "obj"),
        holds="one mesh a person and frame",
        up="y",
        unit="m",
        rate="none",
        mesh=True,
        hint="Blender: File > Import > Wavefront; it takes Y for up and turns the mesh",
    ),
    "ply": Format(
        write=lambda job: _meshes(job, "ply"),
        holds="one mesh a person and frame",
        up="y",
        unit="m",
        rate="none",
        mesh=True,
        hint="MeshLab, open3d; Blender does not turn PLY files: for it add --up z",
    ),
    "romp": Format(
        write=_published,
        holds="the published system's arrays, in a pickle",
        up="camera",
        unit="m",
        rate="none",
        mesh=True,
        hint="np.load with allow_pickle, then ['outputs'][()]: for old scripts",
        parameters=True,
    ),
    "tum": Format(
        write=_tum,
        holds="camera path",
        up="camera",
        unit="m",
        rate="true",
        mesh=False,
        hint="evo_traj tum FILE",
        people=False,
    ),
    "nerfstudio": Format(
        write=_nerfstudio,
        holds="camera path",
        up="z",
        unit="m",
        rate="none",
        mesh=False,
        hint=f"ns-train METHOD --data FOLDER; {_FRAMES}",
        people=False,
    ),
    "colmap": Format(
        write=_colmap,
        holds="camera path",
        up="camera",
        unit="m",
        rate="none",
        mesh=False,
        hint=f"colmap gui --import_path FOLDER --image_path images; {_FRAMES}",
        people=False,
    ),
    "mot": Format(
        write=_mot,
        holds="boxes of everybody",
        up=None,
        unit="pixels of the video",
        rate="none",
        mesh=False,
        hint="TrackEval: one such file a sequence",
    ),
    "coco": Format(
        write=_coco,
        holds="17 keypoints of everybody",
        up=None,
        unit="pixels of the video",
        rate="none",
        mesh=False,
        hint="pycocotools: COCO(annotations).loadRes(FILE)",
    ),
    "csv": Format(
        write=_csv,
        holds="24 joints of everybody in the world, one line a person and frame",
        up="y",
        unit="m",
        rate="true",
        mesh=False,
        hint="any spreadsheet; pandas.read_csv(FILE)",
    ),
}
"""In the order of the documentation."""
