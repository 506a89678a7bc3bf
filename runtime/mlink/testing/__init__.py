"""Tests of users' scripts: run a script without a bench, without hardware, without waiting.

    from mlink.testing import ScriptRunner

See docs/scripting.md for a worked example.
"""

from mlink.testing.runner import ScriptRunner

__all__ = ["ScriptRunner"]
