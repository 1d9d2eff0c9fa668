"""Training targets from annotations, in one batched pass on the device."""

from trace_train.losses.targets import Targets, WorldTargets
from trace_train.targets.make import make_targets

__all__ = ["Targets", "WorldTargets", "make_targets"]
