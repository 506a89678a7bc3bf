"""Module types of user scripts and programs; nothing heavy is imported."""

from __future__ import annotations

from mlink.module import Category, ModuleType
from mlink.modules.script.program_settings import ProgramSettings, program_command, program_ports
from mlink.modules.script.settings import ScriptSettings, script_ports

pyscript = ModuleType(
    id="pyscript",
    title="Python Script",
    summary="Runs a user's script that does `import syntalos_mlink`.",
    category=Category.SCRIPT,
    settings=ScriptSettings,
    implementation="mlink.modules.script.pyscript:ScriptModule",
    ports=script_ports,
    virtual_time=True,
)

python = ModuleType(
    id="python",
    title="Python Program",
    summary="Runs a Python program that calls `init_link()`, in an interpreter of your choice.",
    category=Category.SCRIPT,
    settings=ProgramSettings,
    implementation="mlink.worker.standalone:StandaloneModule",
    ports=program_ports,
    program=program_command,
    virtual_time=True,
)
