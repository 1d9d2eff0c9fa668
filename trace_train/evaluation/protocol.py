"""A protocol in words, as every result carries it."""

from __future__ import annotations

from trace_train.evaluation.measures import OF_BODIES, OF_CHUNKS, OF_IDENTITIES, OF_LABELS, OF_TIME, OF_WORLD
from trace_train.evaluation.windows import CHUNK_SECONDS
from trace_train.protocols.protocol import Protocol, WorldRules
from trace_train.weights.folder import InferenceSwitches

MATCHING = (
    "Matching: per frame, optimal assignment of projected 2D joints with a box IoU of at least 0.05, on the 14 LSP "
    "joints of people with a body and on the labelled joints of others. Recall counts annotated people in the picture. "
    "Precision counts only frames in which everyone visible is annotated, and a detection on anybody annotated is no "
    "false alarm."
)
JOINTS = {
    "lsp-14": "the 14 LSP joints of the H36M regressor on both meshes",
    "smpl-24": "the 24 joints of the kinematic chain of both bodies",
    "smpl-24-regressed": "24 joints that the joint regressor of each body's own model makes of its posed mesh",
    "smpl-24-neutral": "24 joints that the joint regressor of the neutral model makes of both posed meshes",
}
ROOTS = {"hips": "the hip midpoint", "h36m-pelvis": "the pelvis of the H36M regressor"}
POINTS = {"hips": "the hip midpoint", "pelvis": "joint 0", "translation": "SMPL's translation"}
MEANS = {
    "frames": "Means are over all matched people of all frames (micro).",
    "sequences": "Means are over the sequences' means.",
    "tracks": "Means are over all frames, and over paths, each of which counts the same.",
}
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
NOT_ASKED = "This protocol has no constant bodies. "
STILL = (
    "`stands still` is the annotated body at the start of a track, which then never moves. In the world it and "
    "`mean pose`, which stands still too, are aligned as the prediction is."
)

TRACKING = "Identities: MOTA, IDF1, HOTA and id switches are those of predicted videos, which have a tracker."


def in_words(
    rules: Protocol,
    *,
    every: int,
    threshold: float,
    temporal: bool,
    flow: str,
    stored: bool,
    fitted: bool,
    switches: InferenceSwitches,
    chunk: int,
) -> str:
    """The protocol of the evaluation of a network, a paragraph a line."""
    frames = "every frame of every sequence"
    if every > 1:
        frames = f"one of {every} windows of {CHUNK_SECONDS:.2f} s, each processed from its beginning"
    seen = VIDEOS if temporal else SINGLE
    if flow != "none":
        seen += f" Optical flow by {flow.upper()}{', stored with the frames' if stored else ''}."
    if switches.bn == "chunk":
        seen += f" Batch normalisation by the statistics of each {chunk} frames of a video."
    padded = " on white" if switches.padding == "white" else ""
    constant = FITTED if fitted else NOT_FITTED if rules.baselines else NOT_ASKED
    lines = [
        *heading(rules),
        f"Frames: {frames}. Whole frames, letter-boxed{padded}. People are the network's own detections (score > "
        f"{threshold}); no boxes or tracks are given. {seen}",
        MATCHING,
        f"Camera: {bodies_in_words(rules)}",
    ]
    if rules.defines(*OF_WORLD):
        lines.append(
            "World: tracks are linked by annotation, not by a tracker. Predicted positions are converted from the "
            f"assumed 50-degree camera to the annotated intrinsics. {world_in_words(rules)}"
        )
        lines.append(f"Baselines: {constant}{STILL}")
    if rules.defines(*OF_IDENTITIES):
        lines.append(TRACKING)
    return "\n".join(lines)


def heading(rules: Protocol) -> list[str]:
    """What the protocol is, whom it follows, and where this project cannot."""
    lines = [f"Protocol: {rules.name}: {rules.about}." + (f" Follows {rules.follows}." if rules.follows else "")]
    if rules.follows:
        lines.append(f"It counts: {rules.frames}. People: {rules.people}. Camera: {rules.camera}.")
    if rules.differs:
        lines.append(f"Otherwise than there: {'; '.join(rules.differs)}.")
    return lines


def bodies_in_words(rules: Protocol) -> str:
    """Joints, roots and means of the measures in the camera, of those that the protocol defines."""
    bodies, said = rules.bodies, []
    if rules.defines(*OF_BODIES, *OF_CHUNKS, "jitter"):
        said.append(f"{JOINTS[bodies.joints]} (annotation: gendered body; prediction: neutral body).")
    pve = ("pve",) if bodies.surface == "root" else ()
    names = {"mpjpe": "MPJPE", **dict.fromkeys(pve, "PVE"), **dict.fromkeys(OF_BODIES[-2:], "acceleration")}
    if relative := list(dict.fromkeys(name for key, name in names.items() if rules.defines(key))):
        said.append(f"Relative to {ROOTS[bodies.root]}: {', '.join(relative)}.")
    if rules.defines("pa_mpjpe"):
        said.append("PA-MPJPE is after similarity alignment of each person in each frame.")
    if rules.defines("pve") and not pve:
        said.append("PVE is of meshes in SMPL's own origin, without a root.")
    if rules.defines("error_2d"):
        said.append("2D error in px of the original frame.")
    if rules.defines(*OF_TIME):
        said.append(_time(rules))
    if rules.defines(*OF_LABELS):
        said.append(_labelled(rules))
    return " ".join([*said, MEANS[rules.mean]])


def _time(rules: Protocol) -> str:
    rate = "the sequence's own frame rate" if rules.time.rate is None else f"{rules.time.rate:g} frames a second"
    gaps = {
        "break": "over frames without a gap",
        "join": "over the frames that count, put behind one another whatever lies between them",
    }[rules.time.gaps]
    cut = rules.time.trimmed if rules.defines(*OF_BODIES[-2:]) else 0
    ends = f"; of the acceleration error {cut} at either end is cut" if cut else ""
    return f"Derivatives are taken {gaps}, with {rate}{ends}."


def _labelled(rules: Protocol) -> str:
    labelled = rules.labelled
    which = "the labelled joints" if labelled.joints is None else f"{len(labelled.joints)} labelled joints"
    root = {"hips": "the hip midpoint", "pelvis": "the pelvis"}[labelled.root]
    bones = " and predicted bones scaled to the annotated lengths" if labelled.bones == "annotated" else ""
    missed = universal = ""
    if rules.misses == "wrong":
        missed = " Joints of people who were not found count as wrong in 3DPCK and AUC, but for 3DPCK of who was found."
    if labelled.bones == "annotated" and rules.defines("pck_universal"):
        universal = " The universal skeleton is the annotated one times a factor for each person, of whom it is known."
    return (
        "For people with labelled joints and no body: MPJPE, PA-MPJPE, 3DPCK at 150 mm and AUC (0 to 150 mm in steps "
        f"of 5), on {which}, with {root} as root{bones}.{missed}{universal}"
    )


def world_in_words(rules: Protocol) -> str:
    """Chunks, alignments and means of the measures in the world, of those that the protocol defines."""
    said, point, least = [], POINTS[rules.world.point], rules.world.shortest_path
    if rules.misses == "filled":
        said.append(
            "Frames in which a person was not found are filled in the path with the place before, else the next one; a"
            " person who is never found costs ATE 2 and APE 4."
        )
    else:
        said.append(
            "Frames in which a person was not found are left out, never filled in; coverage is the share that remains."
        )
    if rules.defines(*OF_CHUNKS):
        said.append(_chunks(rules))
    if rules.defines("rte"):
        short = f" (tracks of {least:g} m and more)" if least else ""
        said.append(
            f"RTE: error of {point} after rigid alignment of the whole track, as a share of its annotated path{short}."
        )
    ways = {"ate": "after Sim(3)", "ate_rigid": "after SE(3)", "ate_start": "with the first frames made equal"}
    if aligned := [way for key, way in ways.items() if rules.defines(key)]:
        said.append(f"ATE: RMSE of {point} {', or '.join(aligned)}.")
    if "ape" in rules.measures:
        said.append("APE: RMSE of what is left of the poses after Sim(3), positions in metres and turns together.")
    return " ".join([*said, MEANS[rules.mean]])


def _chunks(rules: Protocol) -> str:
    """What W-MPJPE and WA-MPJPE are taken over."""
    world: WorldRules = rules.world
    chunks = f"{world.chunk / 30:.2f} s ({world.chunk:g} frames at 30 frames a second) from the start of each track"
    if world.unit == "frames":
        tail = {
            "short": "the last one shorter",
            "prolonged": "the last one prolonged to all but the last frame, and none in tracks of at most one",
        }[world.tail]
        chunks = f"{world.chunk:g} frames that count, {tail}"
    joints = "24 SMPL joints" if rules.bodies.joints == "lsp-14" else "The 24 joints above"
    turned = ", and root orientation after it" if rules.defines("root_orientation") else ""
    return (
        f"{joints}, in chunks of {chunks}. W-MPJPE: Sim(3) alignment of the first two frames of a chunk{turned};"
        " WA-MPJPE: Sim(3) alignment of the whole chunk."
    )
