"""Hardware-in-the-loop: virtual boards and scenes, and what drives them."""
