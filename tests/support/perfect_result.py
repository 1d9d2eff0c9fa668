"""The result of a perfect prediction of an annotated sequence."""

from __future__ import annotations

import numpy as np
from example_result import free_joints

from trace_data.results.result import Result
from trace_data.results.world_placement import in_frame, placed
from trace_train.evaluation.video_truth import VideoTruth


def of_sequence(truth: VideoTruth) -> Result:
    """A perfect result of an annotated sequence of neutral bodies, by the truth's own numbers."""
    people, person = np.unique(truth.person, return_inverse=True)
    order = np.lexsort((truth.frame, person))
    frame, person = truth.frame[order], person[order]
    betas = np.stack([truth.betas[truth.person == one][0] for one in people])
    pose, translation = truth.pose[order].astype(float), truth.translation[order].astype(float)
    _, rest = free_joints(pose, betas[person])
    camera = truth.camera_from_world[frame]
    root, there = in_frame(camera, pose[:, 0], translation, rest)
    in_camera = np.concatenate([root[:, None], pose[:, 1:]], axis=1)
    joints, _ = free_joints(in_camera, betas[person])
    hips = there + rest - joints[:, 0]
    made = placed(
        pose_in_camera=in_camera, hips_in_camera=hips, joints=joints, rest_pelvis=rest, camera_from_world=camera,
        intrinsics=truth.intrinsics[frame],
    )  # fmt: skip
    n = len(frame)
    return Result(
        about={},
        time=truth.time,
        frame_id=truth.frame_id,
        image_size=np.array(truth.image_size, np.int32),
        intrinsics=truth.intrinsics,
        camera_from_world=truth.camera_from_world,
        camera_observed=np.ones(len(truth.time), bool),
        up=np.array([0.0, 1, 0]),
        person=np.arange(1, len(people) + 1, dtype=np.int32),
        person_name=np.full(len(people), "", "<U1"),
        row_person=person.astype(np.int32),
        row_frame=frame.astype(np.int32),
        state=np.zeros(n, np.uint8),
        score=np.ones(n, np.float32),
        betas=betas.astype(np.float32),
        betas_row=None,
        hips_in_camera=hips.astype(np.float32),
        box=np.zeros((n, 4), np.float32),
        world_residual=np.zeros(n, np.float32),
        **{name: getattr(made, name).astype(np.float32) for name in made.__dataclass_fields__},
    )
