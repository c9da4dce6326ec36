"""Two videos in, a fused one out: frames matched by time, in constant memory."""

from ivif.inference.video.footage import Footage, FrameFolder, VideoFile, footage_of
from ivif.inference.video.fusing import VideoReport, fuse_video, sound_of
from ivif.inference.video.panel import PanelVideo
from ivif.inference.video.writing import VIDEO_FORMATS

__all__ = [
    "VIDEO_FORMATS",
    "Footage",
    "FrameFolder",
    "PanelVideo",
    "VideoFile",
    "VideoReport",
    "footage_of",
    "fuse_video",
    "sound_of",
]
