"""Module host for runs in virtual time, and playback of journals."""
