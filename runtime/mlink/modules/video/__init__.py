"""The video recorder: codecs, containers, sections, and encoding after the run."""
