"""Video recorder: codecs, containers, sections, encoding after the run."""
