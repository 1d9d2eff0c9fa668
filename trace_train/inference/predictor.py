"""The network, loaded once, for any number of videos, and for live pictures.

    predictor = Predictor("~/.trace/runs/2026-11-22-trace")
    result = predictor.run("street.mp4")                   # a whole video
    seen = predictor.step(picture, time)                   # the next picture of a camera

docs/python.md has more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch

from trace_data.errors import ConfigError
from trace_data.files import path_of
from trace_data.frames.footage import open_footage
from trace_data.progress import SILENT, Progress
from trace_data.results.file import SUFFIX, read_result
from trace_data.results.result import Result
from trace_train.config import PredictionConfig, prediction_config
from trace_train.config.world import WorldConfig
from trace_train.inference.lens_change import PaddedSquare
from trace_train.inference.letterbox import Pixels
from trace_train.inference.model import PredictionModel
from trace_train.inference.video_prediction import VideoOptions, VideoPrediction
from trace_train.inference.video_state import BodyInCamera, VideoState
from trace_train.training.precision import whole_float32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveFrame:
    """What is known of a picture at once."""

    time: float
    """s"""
    people: Mapping[int, BodyInCamera]
    """Those in view whose identity is confirmed, by identity."""
    camera_from_world: npt.NDArray[np.float64]
    """(4, 4) rigid, m; the world is that of the first picture's camera."""


class Predictor:
    """Finds people in videos, gives them identities, and places them in one world."""

    def __init__(
        self,
        weights: Path | str,
        *,
        packs: Path | str | None = None,
        config: PredictionConfig | Sequence[str] = (),
        device: str | torch.device | None = None,
    ) -> None:
        """`weights`: a run (its last checkpoint), a checkpoint, or a folder of imported weights with a whole network.
        `packs`: folder of prepared body models; default: those of the run. `config`: settings, or assignments such as
        `tracker.remember=5`. `device`: as torch names it; default: CUDA if there is one and the run did not ask for the
        CPU.

        Raises CheckpointError, AssetError, ConfigError.
        """
        settings = config if isinstance(config, PredictionConfig) else prediction_config(config)
        self.model = PredictionModel(
            path_of(str(weights), where="weights"),
            None if packs is None else path_of(str(packs), where="packs"),
            settings,
            _device(device),
        )
        self._live: VideoState | None = None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.model.source.device

    def run(
        self,
        video: Path | str | Sequence[Path | str],
        out: Path | str | None = None,
        *,
        options: VideoOptions | None = None,
        force: bool = False,
        progress: Progress = SILENT,
    ) -> Result:
        """Predict a video file, a folder of images, or images.

        `out`: the result file, `NAME.trace.npz`; without it the result is only returned. `force`: replace an existing
        one. A run that was interrupted goes on when it is called again with the same arguments.

        Raises FootageError, ConfigError, OutputError, ResultError, InterruptedRun.
        """
        prediction = self.prepare(video, options)
        if out is not None:
            path = path_of(str(out), where="out")
            prediction.write(path, force=force, progress=progress)
            return read_result(path)
        with TemporaryDirectory(prefix="trace-") as folder:
            path = Path(folder) / f"result{SUFFIX}"
            prediction.write(path, progress=progress)
            return read_result(path)

    def prepare(
        self,
        video: Path | str | Sequence[Path | str],
        options: VideoOptions | None = None,
        *,
        world: WorldConfig | None = None,
    ) -> VideoPrediction:
        """Open a video and say what it is, without predicting it yet. `world`: where the camera path of this video
        comes from; default: as configured. Raises FootageError, ConfigError, CameraFileError.
        """
        options = options or VideoOptions()
        paths = [video] if isinstance(video, Path | str) else [*video]
        footage = open_footage([path_of(str(path), where="video") for path in paths], frame_rate=options.frame_rate)
        model = self.model if world is None else self.model.with_world(world)
        return VideoPrediction(model, footage, options)

    def step(self, picture: Pixels, time: float, *, intrinsics: npt.NDArray[np.float64] | None = None) -> LiveFrame:
        """The next picture (H, W, 3) RGB, uint8, upright, of a live camera, taken at `time`, s. The first one, and the
        first after `reset`, begins a new world; its `intrinsics` (3, 3), px, are those of all that follow, default: 50
        degrees over the longer side.
        """
        if self._live is None:
            size = picture.shape[1], picture.shape[0]
            self._live = self.model.state(size, PaddedSquare(*size).intrinsics if intrinsics is None else intrinsics)
        with whole_float32():
            frame, camera = self._live.now(time, picture)
        bodies = {identity: body for identity, (_, body) in frame.bodies.items()}
        return LiveFrame(time=time, people=bodies, camera_from_world=camera)

    def reset(self) -> None:
        """Forget the pictures so far: the next one begins another video."""
        self._live = None


def _device(name: str | torch.device | None) -> torch.device | None:
    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"{name!s} cannot be used: {str(error).splitlines()[0]}", where="device", hint="trace doctor"
        ) from error
    return device
