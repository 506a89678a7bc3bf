"""Several machines in one run: who is there (`link`), one clock (`clocks`), the run (`run`)."""
