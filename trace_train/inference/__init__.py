"""From videos to people with identities in one world: `Predictor`; decoding of the network's maps."""

from trace_train.inference.predictor import LiveFrame, Predictor
from trace_train.inference.video_prediction import PredictionReport, VideoOptions, VideoPrediction

__all__ = ["LiveFrame", "PredictionReport", "Predictor", "VideoOptions", "VideoPrediction"]
