"""Draws docs/augmentation-synthetic.jpg: one synthetic clip through every kind of augmentation.

`python tools/augmentation_sheet.py` takes the scene from the sample world, with its camera made to stand still.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from trace_data.drawing import contact_sheet, draw_skeleton
from trace_data.sample_world.people import Role
from trace_data.sample_world.scene import Scene, draw_scene, render_scene
from trace_data.schema.clip import FRAME_MASKS, PERSON_MASKS, ClipAnnotations
from trace_train.config import DataConfig
from trace_train.streaming.augment import ViewPlan, plan
from trace_train.streaming.occluders import picture_of
from trace_train.streaming.pixels import crop_pictures, occluded, recolored
from trace_train.streaming.views import mirror_map

PAGE = Path(__file__).parent.parent / "docs" / "augmentation-synthetic.jpg"
TITLE = (
    "SYNTHETIC scene, camera standing still. Left: the first frame as it is shown, with the window of that frame",
    "(white) and those of the later ones (yellow to red). Then what the network sees, with the annotated joints.",
)
INDEX, PEOPLE, HEIGHT, FRAMES, STRIDE = 32, (4,), 480, 10, 4
BACK = 2.4
"""How far the camera stands behind where the sample world has it, metres."""
SIZE, SHOWN = 150, (0, 2, 4, 6, 9)
OFF = {"crop_probability": 0, "camera_probability": 0, "color_jitter_probability": 0, "crop_scale": (1.05, 1.25)}
ROWS: tuple[tuple[str, int, dict[str, object]], ...] = (
    ("whole frame", 0, {}),
    ("crop", 3, {"crop_probability": 1}),
    ("camera that tracks", 1, {"camera_probability": 1, "tracking_probability": 1}),
    ("camera that pans", 7, {"camera_probability": 1, "tracking_probability": 0, "crop_probability": 1}),
    ("mirrored crop", 3, {"flip_probability": 1, "crop_probability": 1}),
    ("colours (up to 40 % here)", 2, {"color_jitter_probability": 1, "color_jitter": 0.4}),
    ("something in front", 8, {"occlusion_probability": 1, "camera_probability": 1, "tracking_probability": 1}),
)


def main() -> None:
    """Draw the page."""
    scene, pictures = filmed()
    known = annotations(scene)
    tiles = []
    for label, seed, settings in ROWS:
        view = plan(known, np.random.default_rng(seed), DataConfig.model_validate(OFF | settings))
        crops, maps = seen(view, pictures)
        tiles.append((label, overview(view, pictures[SHOWN[0]])))
        for t in SHOWN:
            for points in view.annotations.kp2d[:, t].astype(np.float64):
                points[:, :2] = points[:, :2] @ maps[t, :2, :2].T + maps[t, :2, 2]
                draw_skeleton(crops[t], points, annotated=True)
            tiles.append((f"frame {t + 1} of {FRAMES}", crops[t]))
    sheet = contact_sheet(tiles, columns=1 + len(SHOWN), tile_width=SIZE)
    banner = np.full((8 + 18 * len(TITLE), sheet.shape[1], 3), (24, 26, 30), np.uint8)
    for line, text in enumerate(TITLE):
        at = (8, 20 + 18 * line)
        cv2.putText(banner, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (235, 235, 235), 1, cv2.LINE_AA)
    page = np.concatenate([banner, sheet])
    cv2.imwrite(str(PAGE), page[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 76])
    print(f"{PAGE}  {page.shape[1]} x {page.shape[0]} px, {PAGE.stat().st_size:,} bytes")


def filmed() -> tuple[Scene, list[npt.NDArray[np.uint8]]]:
    """A scene with its camera held where it was in the middle, and every `STRIDE`-th picture of it, RGB."""
    scene = draw_scene(0, INDEX, Role("train", PEOPLE), FRAMES * STRIDE, HEIGHT)
    poses = scene.camera.camera_from_world
    held = poses[len(poses) // 2].copy()
    held[2, 3] += BACK
    scene = replace(scene, camera=replace(scene.camera, camera_from_world=np.tile(held, (len(poses), 1, 1))))
    return scene, [image[..., ::-1].copy() for image, _ in list(render_scene(scene))[::STRIDE]]


def annotations(scene: Scene) -> ClipAnnotations:
    """The scene's kinematic joints as a clip: what planning and drawing need, no bodies."""
    world = np.stack([p.joints[::STRIDE] for p in scene.performances])
    pixels = np.stack([scene.camera.pixels(p.joints)[0][::STRIDE] for p in scene.performances])
    people, frames = world.shape[:2]
    kp2d, kp3d = np.zeros((people, frames, 44, 3), np.float32), np.zeros((people, frames, 44, 4), np.float32)
    kp2d[:, :, :24], kp3d[:, :, :24] = np.insert(pixels, 2, 1, axis=-1), np.insert(world, 3, 1, axis=-1)
    there = np.ones((people, frames), bool)
    nothing = np.zeros((people, frames, 24, 3), np.float32)
    width, height = scene.camera.size
    return ClipAnnotations(
        dataset="synthetic",
        moving=False,
        frame_ids=np.arange(frames),
        fps=25.0,
        width=width,
        height=height,
        intrinsics=np.tile(scene.camera.intrinsics, (frames, 1, 1)).astype(np.float32),
        camera_from_world=scene.camera.camera_from_world[::STRIDE].astype(np.float32),
        identity=np.arange(people),
        gender=np.zeros(people, np.uint8),
        present=there,
        pose=nothing,
        betas=nothing[:, :, :10, 0],
        betas_neutral=nothing[:, :, :10, 0],
        translation=nothing[:, :, 0],
        kp2d=kp2d,
        kp3d=kp3d,
        center=pixels[:, :, [0, 12, 16, 17]].mean(2).astype(np.float32),
        box=np.concatenate([pixels.min(2), pixels.max(2)], axis=-1).astype(np.float32),
        masks=dict.fromkeys(PERSON_MASKS, there) | dict.fromkeys(FRAME_MASKS, np.ones(frames, bool)),
    )


def seen(
    view: ViewPlan, pictures: list[npt.NDArray[np.uint8]]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """(T, SIZE, SIZE, 3) what the network sees, and (T, 3, 3) the maps from the frame as it is shown."""
    maps = view.crop_from_frame(SIZE)
    from_stored = maps @ mirror_map(view.annotations.width) if view.flip else maps
    crops = crop_pictures([torch.from_numpy(picture) for picture in pictures], from_stored, SIZE)[None]
    crops = recolored(crops, torch.tensor([view.color]))
    if view.occluder is not None:
        picture = torch.from_numpy(picture_of(view.occluder, None))[None]
        crops = occluded(crops, (0,), picture, torch.from_numpy(view.occluder.place(maps))[None])
    return crops[0].numpy(), maps


def overview(view: ViewPlan, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The first frame with all windows."""
    shown = (picture[:, ::-1] if view.flip else picture).copy()
    for t in reversed(range(len(view.windows))):
        window = view.windows[t]
        corner = (round(window.left), round(window.top))
        opposite = (round(window.left + window.side) - 1, round(window.top + window.side) - 1)
        colour = (255, 255, 255) if t == 0 else (255, 215 - 18 * t, 40)
        cv2.rectangle(shown, corner, opposite, colour, 4 if t == 0 else 2, cv2.LINE_AA)
    return shown


if __name__ == "__main__":
    main()
