"""OpenCV for the drivers, from the one place that prepares its environment."""

from mlink.opencv import cv2

__all__ = ["cv2"]
