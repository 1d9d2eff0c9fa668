"""A scene served with viser, for machines without a screen: `ssh -L 8080:localhost:8080 HOST`. Extra `viewer`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.errors import ConfigError
from trace_data.export.skeleton import global_rotations
from trace_data.export.track import quaternions
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.results.world_placement import rigid_inverse
from trace_data.schema.keypoints import SKELETON, SMPL_PARENTS
from trace_data.view.scene import ShownBody, ShownPerson, ShownScene

Floats = npt.NDArray[np.float64]
HOST = "127.0.0.1"
"""Other machines see it through a tunnel only: a video of people is nobody else's."""
CAMERA = (194, 82, 27)


def serve(scene: ShownScene, port: int, say: Callable[[str], object]) -> None:
    """Serve a scene until the process is stopped. Raises ConfigError without viser."""
    server = _server(port)
    show = put_into(server, scene)
    last = len(scene.time) - 1
    slider = server.gui.add_slider("frame", min=0, max=max(last, 1), step=1, initial_value=0, disabled=last == 0)
    playing = server.gui.add_checkbox("play", last > 0)
    slider.on_update(lambda _: show(min(int(slider.value), last)))
    say(f"{scene.title}: {scene.lead}")
    for note in scene.notes:
        say(f"  {note}")
    say(f"  http://{HOST}:{server.get_port()}  until Ctrl-C; from elsewhere:  ssh -L {port}:localhost:{port} THIS-HOST")
    gaps = np.append(np.diff(scene.time), 1 / 30)
    while True:
        at = min(int(slider.value), last)
        time.sleep(float(gaps[at]))
        if playing.value:
            slider.value = at + 1 if at < last else 0


def _server(port: int) -> Any:
    try:
        import viser
    except ImportError as error:
        raise ConfigError(
            "live views need viser, which is not installed",
            where="--live",
            hint="pip install viser, or leave out --live for a page that needs nothing",
        ) from error
    return viser.ViserServer(host=HOST, port=port, verbose=False)


def put_into(server: Any, scene: ShownScene) -> Callable[[int], None]:
    """Add a scene to a viser server; the function that shows a frame."""
    server.scene.set_up_direction("+y")
    server.scene.add_grid("/floor", width=40, height=40, plane="xz", cell_size=1, section_size=5)
    movers = [_person(server, f"/person {index}", person) for index, person in enumerate(scene.people)]
    world_from_camera = rigid_inverse(scene.camera_from_world)
    turned = _wxyz(axis_angle_from_matrix(world_from_camera[:, :3, :3]))
    (width, height), focal = scene.size, scene.intrinsics[0, 1, 1]
    eyes = world_from_camera[:, :3, 3]
    frustum = server.scene.add_camera_frustum(
        "/camera", fov=2 * float(np.arctan(height / 2 / focal)), aspect=width / height, scale=0.4, color=CAMERA
    )
    if len(eyes) > 1:
        server.scene.add_line_segments("/camera path", np.stack([eyes[:-1], eyes[1:]], axis=1), CAMERA)

    def show(frame: int) -> None:
        with server.atomic():
            frustum.wxyz, frustum.position = turned[frame], eyes[frame]
            for move in movers:
                move(frame)

    show(0)
    return show


def _person(server: Any, name: str, person: ShownPerson) -> Callable[[int], None]:
    """Add a person; the function that moves it to a frame, or hides it."""
    row = {int(frame): k for k, frame in enumerate(person.frame)}
    shape = person.shape
    if not isinstance(shape, ShownBody) or shape.mesh is None:
        joints = posed_joints(person)[0]

        def draw(frame: int) -> None:
            pairs = joints[row[frame]][np.array(SKELETON)] if frame in row else np.zeros((1, 2, 3))
            pairs = pairs[np.isfinite(pairs).all(axis=(1, 2))]
            server.scene.add_line_segments(name, pairs, person.colour, thickness=0.04, visible=frame in row)

        return draw
    mesh = shape.mesh
    joints, turned = posed_joints(person, mesh.rest)
    weights = np.zeros((len(mesh.vertices), len(SMPL_PARENTS)), np.float32)
    np.add.at(weights, (np.arange(len(weights))[:, None], mesh.surface.joints), mesh.surface.weights)
    still = np.tile([1.0, 0, 0, 0], (len(SMPL_PARENTS), 1))
    handle = server.scene.add_mesh_skinned(
        name, mesh.vertices, mesh.surface.faces.astype(np.uint32), bone_wxyzs=still, bone_positions=mesh.rest,
        skin_weights=weights, color=person.colour,
    )  # fmt: skip
    bones = _wxyz(axis_angle_from_matrix(turned.reshape(-1, 3, 3))).reshape(*turned.shape[:2], 4)

    def move(frame: int) -> None:
        handle.visible = frame in row
        if frame in row:
            for bone, wxyz, place in zip(handle.bones, bones[row[frame]], joints[row[frame]]):
                bone.wxyz, bone.position = wxyz, place

    return move


def posed_joints(person: ShownPerson, rest: Floats | None = None) -> tuple[Floats, Floats]:
    """Places (R, 24, 3) of a person's joints in the world, m, and their rotations (R, 24, 3, 3); of points, none."""
    if not isinstance(person.shape, ShownBody):
        return person.shape.joints, np.tile(np.eye(3), (*person.shape.joints.shape[:2], 1, 1))
    rest = person.shape.rest if rest is None else rest
    turned = global_rotations(matrix_from_axis_angle(person.shape.pose))
    joints = np.empty((*turned.shape[:2], 3))
    joints[:, 0] = person.pelvis
    for joint, parent in enumerate(SMPL_PARENTS[1:], start=1):
        joints[:, joint] = joints[:, parent] + turned[:, parent] @ (rest[joint] - rest[parent])
    return joints, turned


def _wxyz(axis_angle: Floats) -> Floats:
    """(N, 4) as viser orders them."""
    return np.roll(quaternions(axis_angle), 1, axis=-1)
