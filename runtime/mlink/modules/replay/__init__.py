"""The module that replaces a source in a replay, and the recorded streams that it sends."""
