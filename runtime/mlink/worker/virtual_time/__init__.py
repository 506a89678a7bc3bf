"""Module host for runs in virtual time (today replays), and playback of journals."""
