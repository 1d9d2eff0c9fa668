"""The tracker that a configuration asks for."""

from __future__ import annotations

from trace_train.config.tracker import TrackerConfig
from trace_train.inference.frame_detections import Tracker
from trace_train.inference.tracking.published import PublishedTracker
from trace_train.inference.tracking.tracker import PeopleTracker


def build_tracker(config: TrackerConfig) -> Tracker:
    """A tracker for one video."""
    return PublishedTracker(config.published) if config.kind == "published" else PeopleTracker(config)
