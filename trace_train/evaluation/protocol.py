"""Description of the evaluation protocol, included in every result."""

from __future__ import annotations

from trace_train.evaluation.windows import CHUNK_SECONDS
from trace_train.weights.folder import InferenceSwitches

PROTOCOL = (
    "Frames: {frames}. Whole frames, letter-boxed{padded}. People are the network's own detections (score > "
    "{threshold}); no boxes or tracks are given. {input}",
    "Matching: per frame, optimal assignment of projected 2D joints with a box IoU of at least 0.05, on the 14 LSP "
    "joints of people with a body and on the labelled joints of others. Recall counts annotated people in the picture. "
    "Precision counts only frames in which everyone visible is annotated, and a detection on anybody annotated is no "
    "false alarm.",
    "Camera: the 14 LSP joints of the H36M regressor on both meshes (annotation: gendered body; prediction: neutral "
    "body). MPJPE, PVE and acceleration are relative to the hip midpoint; PA-MPJPE is after similarity alignment of "
    "each person in each frame. Means are over all matched people of all frames (micro). 2D error in px of the "
    "original frame. For people with labelled joints and no body: the same errors, 3DPCK at 150 mm and AUC (0 to 150 "
    "mm in steps of 5), on the labelled joints, with the hip midpoint as root.",
    "World: tracks are linked by annotation, not by a tracker. Frames in which a person was not found are left out, "
    "never filled in; coverage is the share that remains. Predicted positions are converted from the assumed 50-degree "
    "camera to the annotated intrinsics. 24 SMPL joints, in chunks of {chunk:.2f} s (100 frames at 30 frames a second) "
    "from the start of each track. W-MPJPE: Sim(3) alignment of the first two frames of a chunk, and root orientation "
    "after it; WA-MPJPE: Sim(3) alignment of the whole chunk. RTE: error of the hip midpoint after rigid alignment of "
    "the whole track, as a share of its annotated path (tracks of 0.1 m and more). ATE: RMSE of the hip midpoint after "
    "Sim(3), after SE(3), or with the first frames made equal. Means over frames. Jitter and acceleration use the "
    "sequence's own frame rate.",
    "Baselines: {baselines}",
)
VIDEOS = (
    "Sequences are processed as videos: the network's memory is carried from frame to frame. In the world, people "
    "start where they were first found and follow the network's world motion."
)
SINGLE = (
    "The network sees single frames. Its positions in the camera are taken as positions in the world, as if the camera "
    "stood still."
)
FITTED = (
    "`mean pose` (with the mean root rotation) and `mean pose in the camera` are geometric medians of the training "
    "split, scored on the same matched people. "
)
NOT_FITTED = "There is no training split to fit constant bodies on. "
STILL = (
    "`stands still` is the annotated body at the start of a track, which then never moves. In the world it and "
    "`mean pose`, which stands still too, are aligned as the prediction is."
)


def protocol(
    *, every: int, threshold: float, temporal: bool, flow: str, fitted: bool, switches: InferenceSwitches, chunk: int
) -> str:
    """The protocol of one evaluation."""
    frames = "every frame of every sequence"
    if every > 1:
        frames = f"one of {every} windows of {CHUNK_SECONDS:.2f} s, each processed from its beginning"
    seen = VIDEOS if temporal else SINGLE
    if flow != "none":
        seen += f" Optical flow by {flow.upper()}."
    if switches.bn == "chunk":
        seen += f" Batch normalisation by the statistics of each {chunk} frames of a video."
    padded = " on white" if switches.padding == "white" else ""
    baselines = (FITTED if fitted else NOT_FITTED) + STILL
    return "\n".join(PROTOCOL).format(
        frames=frames, padded=padded, threshold=threshold, input=seen, chunk=CHUNK_SECONDS, baselines=baselines
    )
