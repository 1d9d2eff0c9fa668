"""From videos to people with identities in one world: `Predictor`; decoding of the network's maps.

`detections.py` decodes single frames, `trajectories.py` tracks with their translation in the network's world, and
`world/` finds the camera of a video, with which `trace_data/results/placement.py` puts people in the video's world.
"""

from trace_train.inference.predictor import LiveFrame, Predictor
from trace_train.inference.video_prediction import PredictionReport, VideoOptions, VideoPrediction

__all__ = ["LiveFrame", "PredictionReport", "Predictor", "VideoOptions", "VideoPrediction"]
