"""Where cv2 is imported: its environment is read once, when the library loads.

Everything of ours that captures, converts or draws takes `cv2` from here, and a process that
loads it for others (the fork server) must import this module and not cv2 itself.
"""

import os

# A frame that never comes: V4L2 is waited for this many seconds (OpenCV's default is 10).
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
# We report what failed; FFmpeg's and OpenCV's own lines would only repeat it without a remedy.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
# The toolkit behind highgui warns five times of fonts that its wheel does not bring; we draw none.
os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")

import cv2

__all__ = ["cv2"]
