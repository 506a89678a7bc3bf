"""The Python API that `import mlink` offers (docs/api.md).

It stands on what the command line uses, the engine, and adds what a program needs: a run in a
thread of its own, its state at any moment, and errors instead of exit codes. It logs and prints
nothing, and leaves signals alone.
"""
