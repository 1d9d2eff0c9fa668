"""USD as text (`.usda`): everybody skinned and the moving camera. Y up, right-handed, metres, true times.

Source: docs/reference/export.md#usd. The result must have its Y axis up. Time codes are seconds times the rate, so
uneven times lie between whole codes. Quaternions are w, x, y, z; matrices are for row vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from trace_data.drawing import colour_of
from trace_data.export.glb import NEAR, OPENGL_FROM_OPENCV
from trace_data.export.mesh import BodyMesh, Meshes
from trace_data.export.rate import Clock
from trace_data.export.skeleton import NAMES
from trace_data.export.track import presence, track
from trace_data.results.result import Result
from trace_data.results.world_placement import rigid_inverse
from trace_data.schema.keypoints import SMPL_PARENTS

Array = npt.NDArray[np.floating]

APERTURE = 36.0
"""Millimetres: width of the camera's sensor; a full-frame camera's."""


def usda_text(result: Result, meshes: Meshes, clock: Clock, *, names: str = "smpl") -> str:
    """The USD of a result. `names`: key into `skeleton.NAMES`. Raises AssetError when a mesh cannot be had."""
    codes = (result.time - result.time[0]) * clock.fps
    people = [
        _person(result, person, meshes.of(result, person), codes, NAMES[names])
        for person in range(len(result.person))
        if len(result.rows_of(person))
    ]
    inside = "\n".join([_camera(result, codes), *people])
    return f"""#usda 1.0
(
    defaultPrim = "trace"
    endTimeCode = {codes[-1]:.6f}
    metersPerUnit = 1
    startTimeCode = 0
    timeCodesPerSecond = {clock.fps:.9g}
    upAxis = "Y"
)

def Xform "trace"
{{
{inside}
}}
"""


def _camera(result: Result, codes: Array) -> str:
    width, height = (float(size) for size in result.image_size)
    k = result.intrinsics[0]
    lens = APERTURE * k[0, 0] / width
    world_from_camera = rigid_inverse(result.camera_from_world)
    world_from_camera[:, :3, :3] = world_from_camera[:, :3, :3] @ OPENGL_FROM_OPENCV
    samples = _samples(codes, (_matrix(matrix) for matrix in world_from_camera))
    return f"""    def Camera "camera"
    {{
        float2 clippingRange = ({NEAR}, 10000)
        float focalLength = {lens:.9g}
        float horizontalAperture = {APERTURE:.9g}
        float horizontalApertureOffset = {APERTURE * (k[0, 2] + 0.5 - width / 2) / width:.9g}
        float verticalAperture = {lens * height / k[1, 1]:.9g}
        float verticalApertureOffset = {lens * (height / 2 - k[1, 2] - 0.5) / k[1, 1]:.9g}
        token projection = "perspective"
        matrix4d xformOp:transform.timeSamples = {samples}
        uniform token[] xformOpOrder = ["xformOp:transform"]
    }}
"""


def _person(result: Result, person: int, mesh: BodyMesh, codes: Array, names: Sequence[str]) -> str:
    motion = track(result, person)
    at = codes[motion.frame]
    # a name of USD is letters, digits and underscores
    label = f"person_{result.person[person]}"
    paths = _joint_paths(names)
    joints = _list(f'"{path}"' for path in paths)
    offsets = mesh.rest - np.where(np.arange(24)[:, None] > 0, mesh.rest[list(SMPL_PARENTS)], 0)
    places = np.repeat(offsets[None], len(at), axis=0)
    places[:, 0] = motion.translation + mesh.pelvis
    rotations = motion.rotation[..., [3, 0, 1, 2]]
    surface = mesh.surface
    there = presence(result, person)
    changes = np.flatnonzero(np.diff(there.astype(np.int8), prepend=-1))
    visible = _samples(codes[changes], ('"inherited"' if there[frame] else '"invisible"' for frame in changes))
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    reach = float(np.abs(places[:, 0]).max() + 2)
    return f"""    def SkelRoot "{label}" (
        prepend apiSchemas = ["SkelBindingAPI"]
    )
    {{
        float3[] extent = [({-reach:.3f}, {-reach:.3f}, {-reach:.3f}), ({reach:.3f}, {reach:.3f}, {reach:.3f})]
        token visibility.timeSamples = {visible}

        def Skeleton "skeleton" (
            prepend apiSchemas = ["SkelBindingAPI"]
        )
        {{
            uniform matrix4d[] bindTransforms = {_list(_matrix(_moved(joint)) for joint in mesh.rest)}
            uniform token[] joints = {joints}
            uniform matrix4d[] restTransforms = {_list(_matrix(_moved(offset)) for offset in offsets)}
            rel skel:animationSource = </trace/{label}/skeleton/motion>

            def SkelAnimation "motion"
            {{
                uniform token[] joints = {joints}
                quatf[] rotations.timeSamples = {_samples(at, map(_tuples, rotations))}
                half3[] scales = {_list(["(1, 1, 1)"] * 24)}
                float3[] translations.timeSamples = {_samples(at, map(_tuples, places))}
            }}
        }}

        def Mesh "mesh" (
            prepend apiSchemas = ["SkelBindingAPI"]
        )
        {{
            float3[] extent = [{_tuple(low)}, {_tuple(high)}]
            int[] faceVertexCounts = {_list(["3"] * len(surface.faces))}
            int[] faceVertexIndices = {_list(map(str, surface.faces.reshape(-1).tolist()))}
            normal3f[] normals = {_tuples(mesh.normals())} (
                interpolation = "vertex"
            )
            point3f[] points = {_tuples(mesh.vertices)}
            color3f[] primvars:displayColor = [{_tuple(np.array(colour_of(int(result.person[person]))) / 255)}]
            matrix4d primvars:skel:geomBindTransform = {_matrix(np.eye(4))}
            int[] primvars:skel:jointIndices = {_list(map(str, surface.joints.reshape(-1).tolist()))} (
                elementSize = 4
                interpolation = "vertex"
            )
            float[] primvars:skel:jointWeights = {_list(f"{w:.7g}" for w in surface.weights.reshape(-1))} (
                elementSize = 4
                interpolation = "vertex"
            )
            rel skel:skeleton = </trace/{label}/skeleton>
            uniform token subdivisionScheme = "none"
        }}
    }}
"""


def _joint_paths(names: Sequence[str]) -> list[str]:
    """Each joint's path from the root."""
    paths: list[str] = []
    for joint, parent in enumerate(SMPL_PARENTS):
        name = names[joint].replace(":", "_")
        paths.append(name if parent < 0 else f"{paths[parent]}/{name}")
    return paths


def _moved(offset: Array) -> Array:
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def _matrix(matrix: Array) -> str:
    """A matrix (4, 4) for column vectors, as USD writes it: for row vectors."""
    return "( " + ", ".join(_tuple(row) for row in matrix.T) + " )"


def _tuple(values: Array) -> str:
    return "(" + ", ".join(f"{value:.7g}" for value in values.tolist()) + ")"


def _tuples(rows: Array) -> str:
    one = "(" + ", ".join(["%.7g"] * rows.shape[1]) + ")"
    return "[" + ", ".join([one] * len(rows)) % tuple(rows.reshape(-1).tolist()) + "]"


def _list(items: Iterable[str]) -> str:
    return "[" + ", ".join(items) + "]"


def _samples(codes: Array, values: Iterable[str]) -> str:
    lines = "".join(f"            {code:.6f}: {value},\n" for code, value in zip(codes.tolist(), values))
    return "{\n" + lines + "        }"
