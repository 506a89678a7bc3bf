"""The Python API that `import mlink` offers (docs/api.md).

It uses the engine as the command line does, and adds what a program needs: a run in a thread of its
own, its state at any moment, and errors instead of exit codes. It does not log, print, or handle
signals.
"""
