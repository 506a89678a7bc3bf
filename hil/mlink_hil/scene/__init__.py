"""The virtual camera `virtual:scene`: what it films and how the picture is drawn."""
