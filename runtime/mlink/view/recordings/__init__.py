"""Recordings for the pages of a view, each read by a process of its own.

library   which recordings may be read
reader    the process that reads one recording, and its end in the program
recorded  what a page sees of a recording
archive   a folder as a tar archive, for a download
"""
