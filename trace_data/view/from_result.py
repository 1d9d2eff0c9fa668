"""A predicted result as a scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trace_data.drawing import colour_of
from trace_data.errors import AssetError
from trace_data.export.mesh import Meshes
from trace_data.export.skeleton import person_label, rest_joints
from trace_data.geometry import axis_angle_from_matrix
from trace_data.progress import counted
from trace_data.results.result import Result
from trace_data.results.world_placement import rigid_inverse
from trace_data.view.facts import facts_of
from trace_data.view.scene import ShownBody, ShownPerson, ShownScene, ShownVideo, Stills


def scene_of(
    result: Result,
    title: str,
    meshes: Meshes | None,
    *,
    picture: ShownVideo | Stills | None,
    notes: Sequence[str] = (),
    links: Sequence[tuple[str, str]] = (),
) -> ShownScene:
    """The scene of a result whose Y axis points up. `meshes`: None shows skeletons.

    Raises AssetError when a mesh cannot be had.
    """
    people = tuple(_person(result, index, meshes) for index in range(len(result.person)) if len(result.rows_of(index)))
    warnings = [str(warning) for warning in result.about.get("warnings", ()) if warning]
    return ShownScene(
        title=title,
        time=result.time,
        number=result.frame_id,
        size=(int(result.image_size[0]), int(result.image_size[1])),
        intrinsics=result.intrinsics,
        camera_from_world=result.camera_from_world,
        observed=result.camera_observed,
        people=people,
        picture=picture,
        facts=facts_of(result, None if meshes is None else meshes.model),
        lead=_lead(result, len(people)),
        notes=[*notes, *warnings],
        links=links,
    )


def meshes_or_reason(result: Result, meshes: Meshes | None) -> tuple[Meshes | None, str]:
    """Meshes that fit the result, or None and why there are only skeletons."""
    try:
        for person in range(len(result.person)):
            if meshes is not None and len(result.rows_of(person)):
                meshes.of(result, person)
    except AssetError as error:
        return None, f"People are shown as skeletons: {error.where or 'the body model'} {error.message}."
    return meshes, ""


def _person(result: Result, index: int, meshes: Meshes | None) -> ShownPerson:
    rows = result.rows_of(index)
    return ShownPerson(
        label=person_label(result, index).replace("person_", "person "),
        colour=colour_of(int(result.person[index])),
        frame=result.row_frame[rows],
        state=result.state[rows],
        pelvis=result.joints[rows, 0].astype(np.float64),
        shape=ShownBody(
            pose=result.pose[rows].astype(np.float64),
            rest=rest_joints(result, index),
            mesh=None if meshes is None else meshes.of(result, index),
        ),
    )


def _lead(result: Result, people: int) -> str:
    centre = rigid_inverse(result.camera_from_world)[:, :3, 3]
    way = float(np.linalg.norm(np.diff(centre, axis=0), axis=1).sum())
    turns = result.camera_from_world[:, :3, :3] @ result.camera_from_world[0, :3, :3].T
    angle = float(np.degrees(np.linalg.norm(axis_angle_from_matrix(turns), axis=1).max()))
    if way > 0.01:
        moves = f"the camera moves {way:.1f} m"
    else:
        moves = f"the camera turns by {angle:.1f}° on the spot" if angle > 0.1 else "the camera stands still"
    lasts = float(result.time[-1] - result.time[0])
    frames = counted(len(result.time), "frame")
    who = "nobody" if not people else "1 person" if people == 1 else f"{people:,} people"
    return f"{who}, {frames}, {lasts:.1f} s; {moves}."
