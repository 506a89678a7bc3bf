"""Overview picture of a recording: `overview` lays out the `tracks`, drawn on a `canvas`."""
