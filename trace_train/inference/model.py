"""What predictions are made with: network, body model and settings, loaded once for any number of videos."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trace_data.errors import AssetError, CheckpointError, ConfigError
from trace_data.text_files import content_of, parse_json
from trace_train.build import body_layers
from trace_train.config import PredictionConfig
from trace_train.config.world import WorldConfig
from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.inference.camera.camera_path import CameraPath
from trace_train.inference.camera.given import GivenPath
from trace_train.inference.cuts import CutDetector
from trace_train.inference.lens_change import PaddedSquare
from trace_train.inference.letterbox import Letterbox
from trace_train.inference.source import open_source
from trace_train.inference.stream import NetworkStream, use_chunk_statistics
from trace_train.inference.tracking.build import build_tracker
from trace_train.inference.video_state import VideoState
from trace_train.training.precision import autocast_dtype
from trace_train.weights.checkpoint import describe_run

PEAK_SCORE = 0.05
"""Score of a peak that the published tracker still looks at (docs/reference/inference.md#peak-detection)."""
Floats = npt.NDArray[np.float64]


class PredictionModel:
    """A network that is ready for videos."""

    def __init__(
        self, weights: Path, packs: Path | None, config: PredictionConfig, device: torch.device | None
    ) -> None:
        """See `Predictor`."""
        self.config = config
        self.source = open_source(weights, device)
        self.packs = packs or own_packs(self.source.folder)
        self.layer = body_layers(self.packs, ("neutral",), self.source.device)["neutral"]
        switches = self.source.switches
        self.padding = switches.padding if config.padding == "weights" else config.padding
        self.bn = switches.bn if config.bn == "weights" else config.bn
        if self.bn == "chunk":
            use_chunk_statistics(self.source.network)
        if config.compile:
            self.source.network.compile()

    def with_world(self, world: WorldConfig) -> PredictionModel:
        """The same network with other settings of the camera path."""
        changed = copy(self)
        changed.config = self.config.model_copy(update={"world": world})
        return changed

    def state(
        self, size: tuple[int, int], intrinsics: npt.NDArray[np.float64], given: GivenPath | None = None
    ) -> VideoState:
        """The state of a new video of upright frames of `size`, width and height in px, seen through `intrinsics`
        (3, 3). `given`: its camera path."""
        config, network = self.config, self.source.network
        published = config.tracker.kind == "published"
        stream = NetworkStream(
            network,
            self.source.flow,
            self.layer,
            Letterbox(width=size[0], height=size[1], size=4 * network.map_size, padding=self.padding),
            threshold=PEAK_SCORE if published else config.tracker.keep_score,
            duplicates=published,
            dtype=autocast_dtype(config, self.source.device),
        )
        camera = CameraPath(config.world, PaddedSquare(*size), intrinsics, given)
        cuts = CutDetector(config.cuts.model_copy(update={"detect": False}) if published else config.cuts)
        return VideoState(stream, build_tracker(config.tracker), camera, cuts, intrinsics)

    @torch.inference_mode()
    def body(self, pose: npt.NDArray[np.floating[Any]], betas: npt.NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
        """Joints (N, 44, 3) relative to the hip midpoint, and the pelvis at rest (N, 3), m, of poses (N, 24, 3),
        axis-angle, and betas (N, 10), by the neutral body."""
        device = self.source.device
        rotations = matrix_from_axis_angle(torch.from_numpy(np.asarray(pose, np.float64)).to(device))
        shape = torch.from_numpy(np.asarray(betas, np.float32)).to(device)
        found = self.layer(rotations.float(), shape).joints, self.layer.rest_pelvis(shape)
        joints, rest = (value.double().cpu().numpy() for value in found)
        return joints, rest

    def body_model(self) -> dict[str, Any]:
        """Name, version and gender of the body model, for a result."""
        file = self.packs / "SMPL_NEUTRAL.json"
        try:
            said = parse_json(content_of(file, error=AssetError), where=file, error=AssetError)
        except (AssetError, OSError):
            said = {}
        said = said if isinstance(said, Mapping) else {}
        name = f"{said.get('model', 'SMPL')}{' (synthetic)' if said.get('synthetic') else ''}"
        return {"name": name, "version": said.get("version"), "gender": "neutral"}


def own_packs(folder: Path) -> Path:
    """The body models that a run was trained with."""
    try:
        return describe_run(folder).packs
    except CheckpointError as error:
        raise ConfigError(
            "these weights do not say which body models to use",
            where=folder,
            hint="name the folder of prepared ones: --packs DIR, in Python packs=…",
        ) from error
