"""Evaluation during training, as a hook (`train.py: standard_hooks`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from trace_data.errors import CheckpointError, ConfigError
from trace_data.progress import SILENT, Progress
from trace_data.schema.body import GENDERS
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers
from trace_train.evaluation.baselines import ConstantPredictor
from trace_train.evaluation.result import data_hashes
from trace_train.evaluation.score import score
from trace_train.evaluation.sums import MODEL
from trace_train.evaluation.windows import every_within
from trace_train.protocols.loading import load_protocol, sequences_of
from trace_train.training.hooks import RunSnapshot


class HeldOutScores:
    """Evaluates the current (averaged) weights on `evaluation.split` and writes the result into the run folder.

    Body layers and constant baselines are created once and reused.
    """

    def __init__(self, progress: Progress = SILENT) -> None:
        self.progress = progress
        self._layers: dict[str, BodyLayer] = {}
        self._constants: ConstantPredictor | None = None
        self._data: tuple[str, str] | None = None
        self._told = False

    def __call__(self, snapshot: RunSnapshot) -> Mapping[str, float | None]:
        """The network's scores by name; empty, with one message, if the shards have nothing to score in the split."""
        reader, settings = snapshot.stream.reader, snapshot.config.evaluation
        try:
            sequences_of(reader.index, load_protocol(), settings.split)
        except ConfigError as error:
            if not self._told:
                self.progress.log(f"no evaluation: {error.message}")
            self._told = True
            return {}
        if not self._layers:
            self._layers = body_layers(snapshot.packs, GENDERS, snapshot.loss_module.layer.weights.device)
        if self._constants is None:
            self._constants = ConstantPredictor.fit(reader, self._layers)
        try:
            with snapshot.scored_network() as network:
                report = score(
                    network,
                    self._layers,
                    reader,
                    snapshot.config,
                    split=settings.split,
                    every=every_within(reader, settings.split, settings.frames),
                    flow=snapshot.loss_module.flow,
                    constants=self._constants,
                    checkpoint=str(snapshot.run),
                    step=snapshot.step,
                )
        except CheckpointError as error:  # the next step says more
            self.progress.log(f"no evaluation of step {snapshot.step:,}: {error.message}")
            return {}
        self._data = self._data or data_hashes(reader, snapshot.packs)
        report = report.of_data(*self._data)
        report.write(snapshot.run / report.file_name)
        if report.advice:
            self.progress.log(f"evaluation of step {snapshot.step:,}: {report.advice}")
        return asdict(report.rows[MODEL])
