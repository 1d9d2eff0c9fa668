"""Evaluation while a run goes on: the hook that `train.py: standard_hooks` names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from trace_data.progress import SILENT, Progress
from trace_data.schema.clip import GENDERS
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers
from trace_train.evaluation.baselines import ConstantPredictor
from trace_train.evaluation.score import score
from trace_train.evaluation.sums import MODEL
from trace_train.evaluation.windows import every_within
from trace_train.training.hooks import Moment


class HeldOutScores:
    """Scores the weights that a run would keep, on `evaluation.split`; the result is written into the run folder.

    What stays the same from time to time is made once: body layers and constant predictors.
    """

    def __init__(self, progress: Progress = SILENT) -> None:
        self.progress = progress
        self._layers: dict[str, BodyLayer] = {}
        self._constants: ConstantPredictor | None = None
        self._told = False

    def __call__(self, moment: Moment) -> Mapping[str, float | None]:
        """The network's scores by name; none where the shards have no such split, which is said once."""
        reader, settings = moment.stream.reader, moment.config.evaluation
        if settings.split not in reader.index.splits:
            if not self._told:
                have = ", ".join(reader.index.splits)
                self.progress.say(f"no evaluation: these shards have no split {settings.split!r}, they have {have}")
            self._told = True
            return {}
        if not self._layers:
            self._layers = body_layers(moment.packs, GENDERS, moment.learner.layer.weights.device)
        if self._constants is None:
            self._constants = ConstantPredictor.fit(reader, self._layers)
        with moment.scored_network() as network:
            report = score(
                network,
                self._layers,
                reader,
                moment.config,
                split=settings.split,
                every=every_within(reader, settings.split, settings.frames),
                flow=moment.learner.flow,
                constants=self._constants,
                checkpoint=str(moment.run),
                step=moment.step,
            )
        report.write(moment.run / f"evaluation-{settings.split}-{moment.step:08d}.json")
        return asdict(report.rows[MODEL])
