"""Recordings on disk: folders and manifests (EDL), times (tsync), and names of files and folders.

docs/recordings.md and docs/tsync-format.md describe the formats.
"""
