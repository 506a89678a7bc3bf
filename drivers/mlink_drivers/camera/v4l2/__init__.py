"""Camera backend for the Linux kernel's video devices (V4L2)."""
