"""Make `trace_data/sample_world/free_body.npz`: done once, offline; the result is shipped.

The package `anny` (code Apache-2.0) carries the MakeHuman/MPFB2 mesh and its shapes (CC0 1.0), reduced to a closed
surface without toes, and evaluates them for a phenotype. Nothing here comes from SMPL: only the counts (6890
vertices, 13776 faces, 24 joints), the joint tree and the numbers of some landmark vertices agree with it. Never use
anny's topologies `smpl` or `smplx`: they download non-commercial data.

    python3 -m venv free-body && free-body/bin/pip install torch==2.13.0 anny==0.6.2 warp-lang==1.19.0 scipy
    free-body/bin/python tools/make_free_body.py trace_data/sample_world/free_body.npz

takes about two minutes on two cores, a minute longer the first time (anny compiles its kernels). Steps: draw
phenotypes; thin the surface symmetrically to 6890 of its 12272 vertices; merge anny's bones into 24 joints; turn
every body from its A-pose into a T-pose; principal components of the adults; joint regressor by non-negative least
squares; pose correctives that keep the volume at bent joints; labels, landmarks and the coarse surface.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anny
import numpy as np
import numpy.typing as npt
import torch
from decimate import HalfMesh
from free_body_parts import body_points, coarse_faces, find_landmarks, label, landmark_order
from free_body_rest import PARENTS, t_pose
from scipy.optimize import nnls
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STEP = 4e-5  # metres in one stored unit, the same as in trace_data/sample_world/free_body.py
COMPONENTS = 16
CANDIDATES = 900  # vertices that a joint may be regressed from
PELVIS_DROP = 0.12  # of the height, from the origin down to the pelvis
# where each of the 24 joints turns: the mean of the heads of these bones ({} is L or R)
BONES: list[list[str]] = [
    ["root"], ["upperleg01.L"], ["upperleg01.R"], ["spine04"], ["lowerleg01.L"], ["lowerleg01.R"], ["spine02"],
    ["foot.L"], ["foot.R"], ["spine01"], [f"toe{k}-1.L" for k in range(1, 6)], [f"toe{k}-1.R" for k in range(1, 6)],
    ["neck01"], ["clavicle.L"], ["clavicle.R"], ["head"], ["upperarm01.L"], ["upperarm01.R"], ["lowerarm01.L"],
    ["lowerarm01.R"], ["wrist.L"], ["wrist.R"], [f"finger{k}-1.L" for k in range(2, 6)],
    [f"finger{k}-1.R" for k in range(2, 6)],
]  # fmt: skip
LOCAL_CHANGES = [
    "measure-shoulder-dist-incr", "measure-hips-circ-incr", "measure-waist-circ-incr", "upperlegs-height-incr",
    "lowerlegs-height-incr", "measure-upperarm-length-incr", "measure-lowerarm-length-incr", "torso-scale-vert-incr",
    "torso-scale-depth-incr", "stomach-tone-incr", "head-fat-incr", "measure-neck-circ-incr", "buttocks-volume-incr",
    "measure-calf-circ-incr", "measure-thigh-circ-incr",
]  # fmt: skip
YOUNG_ADULT = {"age": 0.7, "height": 0.385, "gender": 0.5}  # gender 0 is male, 1 female
KINDS = {
    "male": {**YOUNG_ADULT, "gender": 0.0, "muscle": 0.6},
    "female": {**YOUNG_ADULT, "gender": 1.0},
    "neutral": YOUNG_ADULT,
    "infant": {"age": 0.03, "height": 0.4, "gender": 0.5},
    "kid": {"age": 0.24, "height": 0.4, "gender": 0.5},
}


class Source:
    """anny's mesh with Y up, facing +Z: points and bone heads of any phenotype, made exactly symmetric."""

    def __init__(self) -> None:
        self.model = anny.Anny(topology="notoes", rig="anny", local_changes=LOCAL_CHANGES).to(dtype=torch.float32)
        self.bones: list[str] = list(self.model.bone_labels)
        self.faces: Ints = np.asarray(self.model.faces, np.int64)
        raw = self._evaluate(YOUNG_ADULT, {})[0]
        self.mirror: Ints = cKDTree(raw).query(raw * [-1, 1, 1])[1]
        if not np.array_equal(self.mirror[self.mirror], np.arange(len(raw))):
            raise SystemExit("anny's mesh is not symmetric: another version than 0.6.2?")
        swap = {"L": "R", "R": "L"}
        self.bone_mirror = [self.bones.index(b[:-1] + swap[b[-1]] if b[-2:] in (".L", ".R") else b) for b in self.bones]

    def body(self, phenotype: dict[str, float], changes: dict[str, float] | None = None) -> tuple[Floats, Floats]:
        """Points (12272, 3) and the 24 joints (24, 3), metres."""
        points, heads = self._evaluate(phenotype, changes or {})
        points = (points + points[self.mirror] * [-1, 1, 1]) / 2
        heads = (heads + heads[self.bone_mirror] * [-1, 1, 1]) / 2
        return points, np.array([heads[[self.bones.index(b) for b in names]].mean(axis=0) for names in BONES])

    def bone(self, name: str) -> Floats:
        """Where a bone of the young adult begins, (3,)."""
        return self._evaluate(YOUNG_ADULT, {})[1][self.bones.index(name)]

    def weights(self) -> Floats:
        """Skinning weights (12272, 24): every bone counts for the nearest of our joints above it."""
        own = {bone: joint for joint, names in enumerate(BONES) for bone in names}
        own |= {f"finger1-1.{side}": joint for side, joint in (("L", 22), ("R", 23))}
        joint_of = []
        for index in range(len(self.bones)):
            while self.bones[index] not in own:
                index = self.model.bone_parents[index]
            joint_of.append(own[self.bones[index]])
        slots, shares = self.model.vertex_bone_indices.numpy(), self.model.vertex_bone_weights.numpy()
        result = np.zeros((len(self.mirror), 24))
        for column in range(slots.shape[1]):
            np.add.at(result, (np.arange(len(result)), np.array(joint_of)[slots[:, column]]), shares[:, column])
        result = (result + result[self.mirror][:, mirrored_joints()]) / 2
        return result / result.sum(axis=1, keepdims=True)

    def _evaluate(self, phenotype: dict[str, float], changes: dict[str, float]) -> tuple[Floats, Floats]:
        unposed = torch.eye(4).repeat(1, len(self.bones), 1, 1)
        with torch.inference_mode():
            output = self.model(
                pose_parameters=unposed,
                phenotype_kwargs={k: torch.tensor([phenotype.get(k, 0.5)]) for k in self.model.phenotype_labels},
                local_changes_kwargs={k: torch.tensor([changes.get(k, 0.0)]) for k in LOCAL_CHANGES},
            )
        turn = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # Z up, facing -Y: to Y up, facing +Z
        points, poses = output["vertices"][0].numpy(), output["bone_poses"][0, :, :3, 3].numpy()
        return points.astype(np.float64) @ turn.T, poses.astype(np.float64) @ turn.T


def mirrored_joints() -> Ints:
    """The joint on the other side, (24,)."""
    names = [bones[0].replace(".L", ".R") if ".L" in bones[0] else bones[0].replace(".R", ".L") for bones in BONES]
    return np.array([[bones[0] for bones in BONES].index(name) for name in names])


def thin_out(source: Source) -> tuple[Ints, Ints, Ints]:
    """Chosen source vertices (6890,), faces (13776, 3) and mirror (6890,) in the new numbering, landmarks in place."""
    points, _ = source.body(YOUNG_ADULT)
    marks = find_landmarks(points, source.bone)
    left = points[source.faces].mean(axis=1)[:, 0] > 0
    half = HalfMesh(points, source.faces[left], set(marks.values())).thin(13776 // 2)
    faces = np.concatenate([half, source.mirror[half[:, ::-1]]])
    lefts = np.unique(half)
    chosen = np.concatenate([lefts, np.setdiff1d(source.mirror[lefts], lefts)])
    chosen = chosen[landmark_order(chosen, marks, source.mirror)]
    number = np.full(len(points), -1)
    number[chosen] = np.arange(len(chosen))
    return chosen, number[faces], number[source.mirror[chosen]]


def draw_bodies(
    source: Source, chosen: Ints, weights: Floats, count: int, ages: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Random T-posed bodies: vertices (count, 6890, 3) and joints (count, 24, 3), the pelvis at 0."""
    draw = np.random.default_rng(count)
    vertices, joints = [], []
    for _ in range(count):
        phenotype = {k: float(np.clip(draw.normal(0.5, 0.2), 0, 1)) for k in ("muscle", "weight", "proportions")}
        phenotype |= {"gender": float(draw.uniform(0, 1)), "age": float(draw.uniform(*ages))}
        phenotype["height"] = float(np.clip(draw.normal(0.385, 0.05), 0.2, 0.6))
        changes = {k: float(np.clip(draw.normal(0, 0.3), -1, 1)) for k in LOCAL_CHANGES}
        points, rest = source.body(phenotype, changes)
        posed, turned = t_pose(points[chosen], rest, weights)
        vertices.append(posed - turned[0])
        joints.append(turned - turned[0])
    return np.array(vertices), np.array(joints)


def principal_components(bodies: Floats) -> Floats:
    """The first components (16, V, 3), each scaled to the deviation that the population has along it."""
    centred = (bodies - bodies.mean(axis=0)).reshape(len(bodies), -1)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    print("variance carried by 10 and by 16 components:", np.cumsum(sizes**2)[[9, 15]] / np.sum(sizes**2))
    components = axes[:COMPONENTS] * sizes[:COMPONENTS, None] / np.sqrt(len(bodies))
    bigger = np.sign(components @ bodies.mean(axis=0).ravel())  # a positive beta makes the body bigger
    return (components * bigger[:, None]).reshape(COMPONENTS, -1, 3)


def regress_joints(bodies: Floats, joints: Floats, mirror: Ints) -> Floats:
    """Non-negative rows (24, V) that sum to one and are mirror images of each other."""
    other, mean = mirrored_joints(), bodies.mean(axis=0)
    result = np.zeros((24, bodies.shape[1]))
    for joint in range(24):
        if other[joint] < joint:
            result[joint] = result[other[joint]][mirror]
            continue
        near = cKDTree(mean).query(joints[:, joint].mean(axis=0), k=CANDIDATES)[1]
        system = np.vstack([bodies[:, near].transpose(0, 2, 1).reshape(-1, len(near)), np.full((1, len(near)), 100.0)])
        row, _ = nnls(system, np.append(joints[:, joint].ravel(), 100.0), maxiter=5000)
        result[joint, near] = row / row.sum()
        if other[joint] == joint:
            result[joint] = (result[joint] + result[joint][mirror]) / 2
    error = np.linalg.norm(np.einsum("jv,nvc->njc", result, bodies, optimize=True) - joints, axis=-1).mean(axis=0)
    print(f"joint regressor: mean error {error.mean() * 1e3:.1f} mm, worst joint {error.max() * 1e3:.1f} mm")
    return result


def pose_correctives(template: Floats, joints: Floats, weights: Floats) -> Floats:
    """Offsets (207, V, 3), linear in R - I, that make up for the volume which blended matrices lose.

    The aim is, per vertex, the rotation interpolated between the joint's and its parent's instead of the blend of
    the two matrices.
    """
    draw, result = np.random.default_rng(1), np.zeros((23, 9, len(template), 3))
    for joint in range(1, 24):
        below = [j for j in range(24) if _is_below(j, joint)]
        share = weights[:, below].sum(axis=1)
        blended = np.flatnonzero((share > 0.01) & (share < 0.99))
        w, points = share[blended, None, None], template[blended] - joints[joint]
        directions = draw.normal(size=(60, 3))
        vectors = directions / np.linalg.norm(directions, axis=1, keepdims=True) * draw.uniform(0, 1.7, (60, 1))
        features, offsets = [], []
        for vector in vectors:
            matrix = Rotation.from_rotvec(vector).as_matrix()
            quaternion = Rotation.from_rotvec(vector).as_quat()
            mixed = share[blended, None] * quaternion + (1 - share[blended, None]) * np.array([0, 0, 0, 1.0])
            wanted = Rotation.from_quat(mixed).apply(points)
            blend = (1 - w) * np.eye(3) + w * matrix
            offsets.append(np.linalg.solve(blend, wanted[..., None])[..., 0] - points)
            features.append((matrix - np.eye(3)).ravel())
        left, right = np.array(features), np.array(offsets).reshape(len(vectors), -1)
        solution = np.linalg.solve(left.T @ left + 0.1 * np.eye(9), left.T @ right)
        result[joint - 1][:, blended] = solution.reshape(9, len(blended), 3)
    return result.reshape(207, -1, 3)


def _is_below(joint: int, ancestor: int) -> bool:
    while joint > ancestor:
        joint = PARENTS[joint]
    return joint == ancestor


def extra_regressors(J: Floats, marks: dict[str, int], mirror: Ints) -> tuple[Floats, Floats]:
    """`J_regressor_extra` (9, V) and `J_regressor_h36m` (17, V), by row.

    Rows: docs/reference/assets.md#rows-of-the-joint-regressors. Each row mixes joints and surface
    points with non-negative shares.
    """
    nose, top, side = (np.eye(J.shape[1])[marks[name]] for name in ("nose", "head_top", "left_hip_side"))
    left_hip, right_hip = 0.85 * J[1] + 0.15 * side, 0.85 * J[2] + 0.15 * side[mirror]
    pelvis, shoulders = (left_hip + right_hip) / 2, (J[16] + J[17]) / 2
    neck = 0.7 * J[12] + 0.3 * shoulders
    jaw, spine = 0.6 * J[15] + 0.4 * nose, J[6]
    extra = [right_hip, left_hip, neck, top, pelvis, 0.3 * J[12] + 0.7 * shoulders, spine, jaw, (J[15] + top) / 2]
    legs = [left_hip, J[4], J[7], right_hip, J[5], J[8]]
    trunk = [spine, 0.85 * J[12] + 0.15 * shoulders, jaw, 0.2 * J[15] + 0.8 * top]
    return np.array(extra), np.array([pelvis, *legs, *trunk, *J[[16, 18, 20, 17, 19, 21]]])


def main(target: Path) -> None:
    source = Source()
    chosen, faces, mirror = thin_out(source)
    weights = source.weights()[chosen]
    adults, adult_joints = draw_bodies(source, chosen, weights, 400, (0.64, 0.95))
    children, child_joints = draw_bodies(source, chosen, weights, 60, (0.2, 0.5))
    regressor = regress_joints(np.concatenate([adults, children]), np.concatenate([adult_joints, child_joints]), mirror)
    infant_regressor = regress_joints(*draw_bodies(source, chosen, weights, 80, (0.0, 0.06)), mirror)

    templates = {}
    for kind, phenotype in KINDS.items():
        points, rest = source.body(phenotype)
        posed, turned = t_pose(points[chosen], rest, weights)
        rows = infant_regressor if kind == "infant" else regressor
        height = np.ptp(posed[:, 1])
        templates[kind] = posed - rows[0] @ posed - np.array([0, PELVIS_DROP * height, 0])
        print(f"{kind}: {height:.3f} m tall, joint error {np.abs(turned - rows @ posed).max() * 1e3:.1f} mm")
    neutral = templates["neutral"]
    lod_faces = coarse_faces(neutral, faces, mirror)
    extra, h36m = extra_regressors(regressor, body_points(neutral, regressor @ neutral), mirror)
    correctives = pose_correctives(neutral, regressor @ neutral, weights)

    def stored(metres: Floats) -> npt.NDArray[np.int16]:
        return np.round(metres / STEP).astype(np.int16)

    np.savez_compressed(
        target,
        licence="CC0 1.0; made from the MakeHuman/MPFB2 mesh by tools/make_free_body.py; not SMPL",
        **{f"template_{kind}": stored(value) for kind, value in templates.items()},
        shapedirs=stored(principal_components(adults)),
        posedirs=stored(correctives),
        weights=np.round(weights * 255).astype(np.uint8),
        J_regressor=regressor.astype(np.float16),
        J_regressor_infant=infant_regressor.astype(np.float16),
        regressor_extra=extra.astype(np.float16),
        regressor_h36m=h36m.astype(np.float16),
        faces=faces.astype(np.uint16),
        lod_faces=lod_faces.astype(np.uint16),
        parts=label(neutral, regressor @ neutral),
        face_parts=label(neutral[faces].mean(axis=1), regressor @ neutral),
        lod_face_parts=label(neutral[lod_faces].mean(axis=1), regressor @ neutral),
        mirror=mirror.astype(np.uint16),
    )
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
