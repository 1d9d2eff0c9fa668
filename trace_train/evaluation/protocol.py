"""Description of the evaluation protocol, included in every result."""

from __future__ import annotations

from trace_train.evaluation.windows import CHUNK_SECONDS

PROTOCOL = (
    "Frames: {frames}. Whole frames, letter-boxed; people are the network's own detections (score > {threshold}), no "
    "boxes or tracks given. {watching}",
    "Matching: per frame, optimal assignment on projected 2D joints, box IoU >= 0.05: the 14 LSP joints of people with "
    "a body, the labelled joints of others. Recall counts annotated people in the picture; precision only frames in "
    "which everyone visible is annotated, and a detection that meets anybody annotated is no false alarm.",
    "Camera: the 14 LSP joints of the H36M regressor on both meshes (annotation: gendered body; prediction: neutral "
    "body). MPJPE, PVE and acceleration after removing the hip midpoint, PA-MPJPE after the best similarity per person "
    "and frame; means over all matched people of all frames (micro). 2D error in px of the original frame. People with "
    "labelled joints and no body: the same errors, 3DPCK at 150 mm and AUC (0 to 150 mm in steps of 5) on their "
    "labelled joints, hip midpoint as root.",
    "World: tracks linked by annotation, no tracker; frames in which a person was not found are left out, never filled "
    "in, and coverage says how many remain. Predicted places are carried from the assumed 50-degree camera to the "
    "annotated intrinsics. 24 SMPL joints; chunks of {chunk:.2f} s (100 frames at 30 frames a second) from the start "
    "of each track. W-MPJPE: Sim(3) of the chunk's first two frames; WA-MPJPE: Sim(3) of the whole chunk; root "
    "orientation after the former. RTE: rigid alignment of the whole track's hip midpoint, share of its annotated path "
    "(tracks of 0.1 m and more). ATE: RMSE of the hip midpoint after Sim(3), after SE(3), or after making the first "
    "frames meet. Means over frames. Times are real times: jitter and acceleration use the sequence's own frame rate.",
    "Opponents: {opponents}",
)
CARRIED = (
    "Sequences are watched as videos: what the network remembers is carried from frame to frame. In the world people "
    "go where the network's world motion takes them, from where each was first found."
)
SINGLE = (
    "The network sees single frames. In the world its places in the camera are taken as they are: a camera that stands "
    "still."
)
FITTED = (
    "`mean pose` (turned by the mean root rotation) and `mean pose in the camera` are geometric medians of the "
    "training split, scored on the same matched people. "
)
NOT_FITTED = "there is no training split to fit constant bodies on. "
STILL = (
    "`stands still` is the annotated body where a track begins, which then never moves; it and `mean pose`, standing "
    "still too, are aligned as the prediction is."
)


def protocol(*, every: int, threshold: float, temporal: bool, flow: str, fitted: bool) -> str:
    """The protocol of one evaluation."""
    frames = "every frame of every sequence"
    if every > 1:
        frames = f"one of {every} windows of {CHUNK_SECONDS:.2f} s, each watched from its beginning"
    watching = CARRIED if temporal else SINGLE
    if flow != "none":
        watching += f" Optical flow by {flow.upper()}."
    opponents = (FITTED if fitted else NOT_FITTED) + STILL
    return "\n".join(PROTOCOL).format(
        frames=frames, threshold=threshold, watching=watching, chunk=CHUNK_SECONDS, opponents=opponents
    )
