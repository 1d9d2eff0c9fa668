"""Logging to TensorBoard and Weights & Biases. Their failure affects neither `metrics.jsonl` nor the run."""

from __future__ import annotations

import hashlib
import importlib.util
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from trace_data.errors import ConfigError
from trace_train.config import Config

FOLDER = "tensorboard"
"""In the run folder; found by `tensorboard --logdir` with the run or a folder of runs."""
WANDB = "pip install wandb, or --set log.wandb=null"
TENSORBOARD = "pip install tensorboard, or --set log.tensorboard=never"


class Board(Protocol):
    """A service that plots numbers over steps."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write named numbers at a step."""

    def close(self) -> None:
        """Finish writing."""


class TensorBoard:
    """Event files in the run folder."""

    def __init__(self, run: Path, next_step: int) -> None:
        """Hides what a run that died had written for `next_step` and later."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries that TensorBoard brings along
            from torch.utils.tensorboard import SummaryWriter
        _show_no_traceback_of_its_thread()
        self._writer = SummaryWriter(str(run / FOLDER), purge_step=next_step + 1 if next_step else None)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write and flush."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def _show_no_traceback_of_its_thread() -> None:
    """What ends TensorBoard's thread, such as a full disk, is raised by its next call too, and said there."""
    others = threading.excepthook
    if getattr(others, "is_ours", False):
        return

    def hook(given: threading.ExceptHookArgs) -> None:
        if not type(given.thread).__module__.startswith("tensorboard."):
            others(given)

    hook.is_ours = True  # type: ignore[attr-defined]
    threading.excepthook = hook


class WeightsAndBiases:
    """A run at Weights & Biases, continued when the run is resumed. The server cannot delete lines, so what a run that
    died had sent for later steps stays there."""

    def __init__(self, run: Path, config: Config) -> None:
        import wandb

        place = hashlib.sha256(bytes(run.absolute())).hexdigest()[:8]  # run names need not be unique
        self._run: Any = wandb.init(
            project=config.log.wandb,
            id=f"{run.name}-{place}",
            name=run.name,
            dir=str(run),
            resume="allow",
            config=config.model_dump(mode="json"),
        )

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Send."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Wait until all is sent."""
        self._run.finish()


class Boards:
    """All boards enabled in the configuration. A board that fails is dropped with a message."""

    def __init__(self, run: Path, config: Config, *, next_step: int, log: Callable[[str], None]) -> None:
        self._say = log
        self._boards: dict[str, Board] = {}
        if wants_tensorboard(config):
            self._open("TensorBoard", lambda: TensorBoard(run, next_step))
        if config.log.wandb is not None:
            self._open("Weights & Biases", lambda: WeightsAndBiases(run, config))

    def write(self, line: Mapping[str, Any]) -> None:
        """Write one log line."""
        numbers = dict(flat(line))
        for name in list(self._boards):
            self._try(name, lambda board: board.write(line["step"], numbers))

    def close(self) -> None:
        """The run is over."""
        for name in list(self._boards):
            self._try(name, lambda board: board.close())

    def _open(self, name: str, make: Callable[[], Board]) -> None:
        try:
            self._boards[name] = make()
        except Exception as error:  # noqa: BLE001 no failure of a board may end the run
            self._give_up(name, error)

    def _try(self, name: str, act: Callable[[Board], None]) -> None:
        try:
            act(self._boards[name])
        except Exception as error:  # noqa: BLE001 as above
            del self._boards[name]
            self._give_up(name, error)

    def _give_up(self, name: str, error: Exception) -> None:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        self._say(f"{name} is given up: {reason}; metrics.jsonl and the run go on")


def wants_tensorboard(config: Config) -> bool:
    """Whether TensorBoard event files are written."""
    wanted = config.log.tensorboard
    return wanted == "always" or (wanted == "auto" and importlib.util.find_spec("tensorboard") is not None)


def missing_packages(config: Config) -> list[ConfigError]:
    """One error per package that the configuration needs and that is not installed."""
    asked = {
        "tensorboard": (config.log.tensorboard == "always", TENSORBOARD),
        "wandb": (config.log.wandb is not None, WANDB),
    }
    return [
        ConfigError(f"{name} is not installed", where=f"log.{name}", hint=how)
        for name, (wanted, how) in asked.items()
        if wanted and importlib.util.find_spec(name) is None
    ]


def flat(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a line with names such as `loss/joints3d`."""
    for key, value in line.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not (prefix == "" and key == "step"):
            yield f"{prefix}{key}", float(value)
