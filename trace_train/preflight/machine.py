"""Checks of packs, versions, device and disk."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import tempfile
from pathlib import Path

import torch

from trace_data.assets.verify import check_packs
from trace_data.errors import AssetError, ConfigError, OutputError, TraceError
from trace_data.progress import counted, size_in_words
from trace_train.build import build_network, choose_device
from trace_train.config import Config, at_stage
from trace_train.health.boards import missing_packages, wants_tensorboard
from trace_train.network.model import TraceNetwork
from trace_train.preflight.parts import PreflightItem
from trace_train.train import check_unused
from trace_train.training.parameter_groups import NetworkParameters
from trace_train.training.precision import autocast_dtype
from trace_train.training.threads import busy_cores, fixed_threads, free_threads, own_cores
from trace_train.weights.checkpoint import finished
from trace_train.weights.pose_prior import read_pose_prior

DISTRIBUTION = "trace-5d"
ALL_PACKS = "trace prepare-smpl --gender all"
ADULTS = ("SMPL_FEMALE.pth", "SMPL_MALE.pth", "SMPL_NEUTRAL.pth")
"""Training uses the last; the others are compared to detect a renamed pack."""
EVENT_BYTES = 100
"""Size of one number in TensorBoard's files and in `metrics.jsonl` together."""
NUMBERS = 60
"""Maximum count of numbers in a log line."""
BEST = 2
"""Maximum number of best checkpoints kept in addition to the latest."""


def check_bodies(packs: Path, config: Config) -> PreflightItem:
    """Check that the neutral pack exists, is valid and is neutral; also the other packs if the run evaluates, and the
    pose prior if used."""
    part = PreflightItem(name="packs")
    if config.uses_pose_prior and config.supervision.pose_prior_file is not None:
        try:
            read_pose_prior(config.supervision.pose_prior_file)
        except TraceError as error:
            part.errors.append(error)
    scored = config.evaluation.every > 0
    reports = check_packs(packs, ADULTS)
    for report in reports:
        for finding in report.findings:
            needed = scored or report is reports[-1] or ADULTS[-1] in finding.what
            if finding.severity == "error" and needed:
                part.errors.append(
                    AssetError(
                        finding.what if finding.key in (report.name, "") else f"{finding.key} {finding.what}",
                        where=packs / report.name,
                        hint=finding.hint or f"{ALL_PACKS} --force",
                    )
                )
            elif finding.severity == "warning" and needed:
                part.warnings.append(f"{report.name}: {finding.key} {finding.what}")
    part.errors += [
        AssetError("is missing, and scores compare with bodies of all genders", where=packs / name, hint=ALL_PACKS)
        for name in ADULTS[:-1]
        if scored and not (packs / name).exists()
    ]
    neutral = reports[-1]
    part.found = " ".join(
        filter(None, [neutral.name, neutral.model and f"({neutral.model})", "(synthetic)" * neutral.synthetic])
    )
    return part


def check_versions(config: Config) -> PreflightItem:
    """Check that all required packages, and those the run asks for, are installed in a suitable version."""
    part = PreflightItem(name="versions", found=f"torch {torch.__version__}")
    part.errors += missing_packages(config)
    for requirement in importlib.metadata.requires(DISTRIBUTION) or ():
        match = re.fullmatch(r"([\w.-]+)>=([\d.]+)", requirement.strip())
        if match is None:
            continue  # of an extra, or of another Python
        name, least = match.groups()
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if _numbers(version) < _numbers(least):
            have = f"is {version}, expected {least} or newer" if version else f"is missing, expected {least} or newer"
            part.errors.append(ConfigError(have, where=name, hint=f"pip install --upgrade '{name}>={least}'"))
    return part


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def busy_with_others(load: float, cores: int, threads: int) -> list[str]:
    """A warning if other processes keep the cores busy, which slows down a fixed number of threads."""
    free = free_threads(threads, cores, load)
    if free == threads:
        return []
    return [
        f"{load:.1f} of {cores} cores are busy with other work, and {threads} threads of this run would wait for each"
        f" other: OMP_NUM_THREADS={free} trace train …  may be several times faster"
    ]


def check_device(config: Config, local_rank: int = 0) -> tuple[PreflightItem, torch.device | None]:
    """Check that the device exists and supports the requested precision."""
    part = PreflightItem(name="device")
    try:
        device = choose_device(config, local_rank)
    except TraceError as error:
        part.errors.append(error)
        return part, None
    part.found = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    if device.type == "cpu" and fixed_threads():  # otherwise the run itself takes what is free
        part.warnings += busy_with_others(busy_cores(), len(own_cores()), torch.get_num_threads())
    amp_dtype = autocast_dtype(config, device)
    part.found += {torch.float16: ", fp16", torch.bfloat16: ", bf16", None: ", fp32"}[amp_dtype]
    if amp_dtype is torch.bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        part.errors.append(
            ConfigError(
                "this GPU does not compute in bfloat16",
                where="precision",
                hint="--set precision=auto takes what it can",
            )
        )
    return part, device


def check_network(config: Config) -> tuple[PreflightItem, TraceNetwork]:
    """Check parameter rules and the split into micro-batches, without changing random states."""
    with torch.random.fork_rng(devices=[]):  # torch's meta device would cost as much time, and import a compiler
        network = build_network(config.network)
    part = PreflightItem(name="network")
    parts = NetworkParameters(network)
    try:
        for number in range(len(config.stages)):
            groups = parts.groups(at_stage(config, number).optim)
        trained, frozen = (sum(g.numbers for g in groups if g.frozen is still) for still in (False, True))
        part.found = f"trains {trained / 1e6:.1f} M" + (f", {frozen / 1e6:.1f} M frozen" if frozen else "")
    except TraceError as error:
        part.errors.append(error)
    return part, network


def checkpoint_bytes(config: Config, network: TraceNetwork) -> int:
    """Size of one checkpoint: weights, averaged weights, and two optimiser values per weight."""
    state: int = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    trained = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    return state * (2 if config.optim.ema else 1) + 2 * trained


def check_disk(config: Config, network: TraceNetwork, run: Path, *, resume: bool) -> PreflightItem:
    """Check that the run folder is writable and has room for all checkpoints kept, one more, and the log, minus those
    that a resumed run already has."""
    part = PreflightItem(name="disk")
    if not resume:
        try:
            check_unused(run)
        except OutputError as error:
            part.errors.append(error)
    standing = next((folder for folder in (run, *run.absolute().parents) if folder.exists()), Path("/"))
    try:
        tempfile.TemporaryFile(dir=standing).close()
    except OSError as error:
        part.errors.append(
            OutputError(
                f"cannot be written: {error.strerror}",
                where=standing,
                hint="give another --out, or fix its permissions",
            )
        )
        return part
    kept = config.keep_checkpoints + 1 + (BEST if config.evaluation.every else 0)
    # a checkpoint is written before the oldest is deleted, so there must be room for one more
    kept = max(1, kept - (len(finished(run)) if resume else 0))
    size = checkpoint_bytes(config, network)
    log = config.steps // config.log_every * NUMBERS * EVENT_BYTES if wants_tensorboard(config) else 0
    free = shutil.disk_usage(standing).free
    part.found = f"{size_in_words(free)} free, a checkpoint takes {size_in_words(size)}"
    if free < kept * size + log:
        part.errors.append(
            OutputError(
                f"{size_in_words(free)} are free, {counted(kept, 'checkpoint')} of {size_in_words(size)} and the log"
                f" need {size_in_words(kept * size + log)}",
                where=standing,
                hint="free some space, give an --out on another disk, or keep fewer: --set keep_checkpoints=1",
            )
        )
    return part
