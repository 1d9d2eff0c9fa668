"""From videos to people with identities in one world: `Predictor`; decoding of the network's maps.

`detections.py` decodes single frames and `tracked_bodies.py` tracks, whose world translation is added up in
`trace_train/network/world_trajectory.py`. `camera/` finds the camera of a video, with which
`trace_data/results/world_placement.py` puts people into the video's world.
"""

from trace_train.inference.predictor import LiveFrame, Predictor
from trace_train.inference.video_prediction import PredictionReport, VideoOptions, VideoPrediction

__all__ = ["LiveFrame", "PredictionReport", "Predictor", "VideoOptions", "VideoPrediction"]
