"""Checks everything a run needs within seconds, before the first step, and reports all problems together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from trace_data.errors import ConfigError, TraceError
from trace_data.progress import SILENT, Progress, counted, size_in_words
from trace_data.shards.index import load_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import Store, as_store
from trace_train.build import body_layers
from trace_train.config import Config
from trace_train.preflight.data import check_flow, check_shards
from trace_train.preflight.entries import count_entries, taught_by_sources, terms_without_entries
from trace_train.preflight.machine import check_bodies, check_device, check_disk, check_network, check_versions
from trace_train.preflight.memory import Fitting, Meter, meter_of
from trace_train.preflight.parts import PreflightItem, PreflightReport
from trace_train.preflight.trial import Trial
from trace_train.streaming.stored_flow import with_flow_provider
from trace_train.streaming.stream import TrainStream
from trace_train.weights.checkpoint import finished
from trace_train.weights.sources import open_start
from trace_train.weights.starting import Start


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBatch:
    """Number of clips that fit in memory."""

    clips: tuple[int, ...]
    """Clips per process for each stage."""
    assignment: str
    """Argument for `--set`, for all processes together."""


def preflight(
    config: Config,
    *,
    shards: Path | str | Store,
    packs: Path,
    run: Path,
    resume: bool = False,
    world_size: int = 1,
    local_rank: int = 0,
    memory: bool = True,
    meter: Callable[[torch.device], Meter] = meter_of,
    progress: Progress = SILENT,
) -> PreflightReport:
    """Check shards, body models, weights, versions, device, disk and, if there are no errors so far, memory.

    Writes nothing and leaves torch's random states unchanged. `memory`: run a step of the largest stage to measure its
    memory. `meter`: memory measurement for a device.
    """
    parts: list[PreflightItem] = []
    progress.log("shards, body models and weights are looked at")
    try:
        store = as_store(shards)
        parts += check_shards(store, config, world_size=world_size)
        if config.network.flow == "stored" and parts[0].ok:
            flow, config = check_flow(store, config)
            parts.append(flow)
    except TraceError as error:
        parts.append(PreflightItem(name="shards", errors=[error]))
    parts.append(check_bodies(packs, config))
    weights, start, config = _check_weights(config, run)
    progress.log("the network is made to count its parameters")
    network_part, network = check_network(config)
    device_part, device = check_device(config, local_rank)
    disk = check_disk(config, network, run, resume=resume)
    parts += [weights, network_part, check_versions(config), device_part, disk]
    if not any(part.errors for part in parts) and not store.remote:
        progress.log("a few clips are read to see which losses they have entries for")
        clips = next(part for part in parts if part.name == "clips")
        found = count_entries(config, store, packs, network)
        clips.notes += taught_by_sources(found, load_index(store))
        clips.warnings += terms_without_entries(found)
    if memory and device is not None and not any(part.errors for part in parts):
        largest = max(config.stages, key=lambda stage: stage.clips * stage.frames)
        size = f"{counted(largest.clips // world_size, 'clip')} of {counted(largest.frames, 'frame')}"
        progress.log(f"one step of {size} is done to see how much memory it takes")
        fitting = _fitting(config, store, packs, start, run, device, meter(device), world_size, progress)
        parts.append(_check_memory(config, fitting, meter(device), device, world_size))
    return PreflightReport(parts=tuple(parts))


def find_batch(
    config: Config,
    *,
    shards: Path | str | Store,
    packs: Path,
    run: Path,
    world_size: int = 1,
    local_rank: int = 0,
    meter: Callable[[torch.device], Meter] = meter_of,
    progress: Progress = SILENT,
) -> FoundBatch:
    """Find by trial the largest number of clips of each stage that fits in one process. Raises the errors of the
    preflight, and ConfigError if not even one clip fits."""
    preflight(config, shards=shards, packs=packs, run=run, resume=True, memory=False).raise_if_wrong()
    config = with_flow_provider(config, ShardReader(as_store(shards)))
    _, start, config = _check_weights(config, run)
    _, device = check_device(config, local_rank)
    assert device is not None
    fitting = _fitting(config, as_store(shards), packs, start, run, device, meter(device), world_size, progress)
    clips = []
    for stage in config.stages:
        progress.log(f"how many clips of {counted(stage.frames, 'frame')} fit {_place(device)}?")
        clips.append(fitting.largest(stage.frames))
        if not clips[-1]:
            raise ConfigError(
                f"not even one clip of {counted(stage.frames, 'frame')} fits {_place(device)}",
                hint="choose fewer frames or a smaller network.input_size",
            )
    stages = [
        {**stage.model_dump(mode="json", exclude_defaults=True), "clips": count * world_size}
        for stage, count in zip(config.stages, clips)
    ]
    text = yaml.safe_dump(stages, default_flow_style=True, width=float("inf"), sort_keys=False).strip()
    return FoundBatch(clips=tuple(clips), assignment=f"stages={text}")


def _check_weights(config: Config, run: Path) -> tuple[PreflightItem, Start | None, Config]:
    """Check the initial weights; also returns the configuration with the settings they require."""
    part = PreflightItem(name="weights", found="a fresh network")
    if finished(run):
        part.found = "those of the run"
        return part, None, config
    try:
        start = open_start(config)
        if start is not None:
            config, _ = start.follow(config)
            part.found = f"from {start.where}"
    except TraceError as error:
        part.errors.append(error)
        return part, None, config
    return part, start, config


def _fitting(
    config: Config,
    store: Store,
    packs: Path,
    start: Start | None,
    run: Path,
    device: torch.device,
    meter: Meter,
    world_size: int,
    progress: Progress,
) -> Fitting:
    stream = TrainStream(ShardReader(store, verify=config.data.verify), config, world_size=world_size)
    trial = Trial(config, stream, body_layers(packs)["neutral"], start, run, device)

    def log_size(clips: int, frames: int, peak: int) -> None:
        progress.log(f"  {counted(clips, 'clip')} of {counted(frames, 'frame')}: {size_in_words(peak)}")

    return Fitting(trial, meter, dares=device.type == "cuda", on_result=log_size)


def _check_memory(
    config: Config, fitting: Fitting, meter: Meter, device: torch.device, world_size: int
) -> PreflightItem:
    """Measure one step of the stage with the most frames per step."""
    part = PreflightItem(name="memory")
    number, stage = max(enumerate(config.stages), key=lambda item: item[1].clips * item[1].frames)
    clips, place, room = stage.clips // world_size, _place(device), meter.room()
    size = f"{counted(clips, 'clip')} of {counted(stage.frames, 'frame')}"
    if fitting.fits(clips, stage.frames):
        part.found = f"{size_in_words(fitting.peaks[clips, stage.frames])} of {size_in_words(room)}, {size}"
        return part
    few = fitting.estimate(stage.frames)
    taken = ", ".join(
        f"{count} take{'s' * (count == 1)} {size_in_words(fitting.peaks[count, stage.frames])}"
        for count in (1, 2)
        if (count, stage.frames) in fitting.peaks
    )
    part.errors.append(
        ConfigError(
            f"{size} do not fit the {size_in_words(room)} of {place}: {taken or 'not even one does'}"
            + (f"; about {few} would fit" if few else ""),
            where=f"stages[{number}].clips",
            hint="trace train --find-batch  with the same options tries how many fit, and says what to set"
            if few
            else "choose fewer frames or a smaller network.input_size",
        )
    )
    return part


def _place(device: torch.device) -> str:
    return "a GPU" if device.type == "cuda" else "this machine"
