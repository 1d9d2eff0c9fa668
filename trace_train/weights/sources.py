"""Opens `init.weights`: a folder of imported weights, a network to share, a run or a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import asdict
from pathlib import Path

from trace_data.errors import CheckpointError, ConfigError, NoCheckpointError, quoted
from trace_data.files import path_of
from trace_train.config import Config, NetworkConfig
from trace_train.weights.checkpoint import open_checkpoint
from trace_train.weights.flow import flow_folder
from trace_train.weights.folder import DESCRIPTION, Switches, open_weights
from trace_train.weights.shared import DESCRIPTION as SHARED
from trace_train.weights.shared import open_shared, resolve
from trace_train.weights.starting import Start

PARTS = ("image", "head", "flow")


def open_start(config: Config) -> Start | None:
    """Open `init.weights`; None if it is not set.

    Raises CheckpointError if it is not a known folder or is damaged, ConfigError if RAFT flow has no weights.
    """
    given = config.init.weights
    start = None if given is None else _opened(path_of(str(given), where="init.weights"), config.init.parts)
    if config.network.computed_flow == "raft" and (start is None or start.flow is None):
        stored = ", which computes it in prediction," if config.network.flow == "stored" else ""
        raise ConfigError(
            f"flow by RAFT (network.flow){stored} needs its weights, and "
            + ("init.weights is not set" if start is None else f"{start.where} gives none"),
            hint="trace import-weights --flow raft-things.pth --out weights  then  --set init.weights=weights;"
            " --set network.flow=dis  needs none",
        )
    return start


def _opened(where: Path, parts: Sequence[str] | None) -> Start:
    where, taken = resolve(where), set(PARTS if parts is None else parts)
    if where.is_file():
        raise CheckpointError(
            "is a file; init.weights takes a folder of imported weights, a run or a checkpoint",
            where=where,
            hint=f"trace import-weights --head {quoted(where)} --out weights  (or --image, --flow)",
        )
    if (where / DESCRIPTION).is_file():
        start = _imported(where, taken)
    else:
        start = _shared(where, taken) if (where / SHARED).is_file() else _of_run(where, taken)
    there = {*start.files, *(["flow"] if start.flow else [])}
    if missing := sorted(set(parts or ()) - there):
        raise CheckpointError(
            f"holds no {' or '.join(missing)} weights, only {', '.join(sorted(there)) or 'none of init.parts'}",
            where=where,
            hint="leave them out of init.parts, or import them: trace import-weights --help",
        )
    return start


def _imported(where: Path, taken: Set[str]) -> Start:
    weights = open_weights(where)
    heads = "head" if "head" in weights.parts else "start"
    files = {
        part: where / f"{name}.safetensors"
        for part, name in (("image", "image"), ("head", heads))
        if part in taken and name in weights.parts
    }
    switches = weights.switches
    hashes = {part: weights.facts["parts"][file.stem]["sha256"] for part, file in files.items()}
    return Start(
        where=where,
        files=files,
        flow=where if "flow" in taken and "flow" in weights.parts else None,
        form=asdict(switches) if switches is not None and "head" in files else {},
        sizes=NetworkConfig(),
        frozen=("backbone",) if "image" in files else (),
        facts={"weights": str(where), "sha256": hashes},
        partial="head" in files and heads == "start",
    )


def _shared(where: Path, taken: Set[str]) -> Start:
    shared = open_shared(where)
    network = shared.config.network
    return Start(
        where=where,
        files={part: shared.file for part in ("image", "head") if part in taken},
        flow=None,
        form={key: getattr(network, key) for key in asdict(Switches())} if "head" in taken else {},
        sizes=network,
        frozen=(),
        facts={"weights": str(where), "sha256": shared.sha256},
        partial=False,
    )


def _of_run(where: Path, taken: Set[str]) -> Start:
    try:
        checkpoint = open_checkpoint(where)
    except NoCheckpointError as error:
        raise CheckpointError(
            "holds neither imported weights nor a network nor a finished checkpoint",
            where=where,
            hint="init.weights names a folder of trace import-weights, a run, or a step-… folder of one",
        ) from error
    network, file = checkpoint.config.network, checkpoint.weights_file()
    flow = flow_folder(checkpoint.run)
    return Start(
        where=where,
        files={part: file for part in ("image", "head") if part in taken},
        flow=flow if "flow" in taken and flow.is_dir() else None,
        form={key: getattr(network, key) for key in asdict(Switches())} if "head" in taken else {},
        sizes=network,
        frozen=checkpoint.config.optim.frozen or () if "image" in taken else (),
        facts={"weights": str(checkpoint.folder), "sha256": checkpoint.facts["sha256"][file.name]},
        partial=False,
    )
