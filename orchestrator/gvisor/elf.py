"""What an ELF header says about a gVisor binary: for which machine, static or not.

A dynamically linked runsc starts, and every sandbox then dies with an unrelated ``EOF``, because its re-executed copy
finds no ELF interpreter in the chroot (seen with a CGO build). So this is looked at before a node gets the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_MACHINES: Final = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}
_ALIASES: Final = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class ElfFacts:
    """What the headers say.

    Attributes:
        machine: ``x86_64``, ``aarch64``, or the ELF name of another machine; empty if the file is no ELF file.
        interpreter: the dynamic loader it asks for, empty for none.
        needed: shared libraries it asks for.
        problem: why the file could not be read as ELF, else empty.
    """

    machine: str
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    problem: str = ""

    @property
    def static(self) -> bool:
        """Neither a loader nor a shared library (a static-pie binary has a dynamic section, and that is fine)."""
        return not self.problem and not self.interpreter and not self.needed


def read_elf(path: Path) -> ElfFacts:
    """Read a file's ELF headers.

    Args:
        path: any file; one that is no ELF file gives facts with ``problem`` set, not an exception.
    """
    from elftools.common.exceptions import ELFError  # noqa: PLC0415 - costs 80 ms that only this needs
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415

    with path.open("rb") as file:
        try:
            elf = ELFFile(file)
            machine = str(elf["e_machine"])
            interpreter = ""
            needed: list[str] = []
            for segment in elf.iter_segments():
                kind = segment["p_type"]
                if kind == "PT_INTERP":
                    interpreter = str(segment.get_interp_name())
                elif kind == "PT_DYNAMIC":
                    needed.extend(str(tag.needed) for tag in segment.iter_tags("DT_NEEDED"))
        except (ELFError, ValueError, KeyError, AttributeError, UnicodeDecodeError, OverflowError) as error:
            file.seek(0)
            start = file.read(16)
            return ElfFacts("", problem=_describe(start) or str(error) or type(error).__name__)
    return ElfFacts(_MACHINES.get(machine, machine), interpreter, tuple(needed))


def host_architecture() -> str:
    """This machine's architecture under gVisor's name."""
    machine = os.uname().machine
    return _ALIASES.get(machine, machine)


def _describe(start: bytes) -> str:
    """Say what a file is that is no ELF file, where its first bytes tell."""
    if not start:
        return "the file is empty"
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is an HTML or XML document, as servers send with an error"
    if start.startswith(b"#!"):
        return "it is a script"
    if not start.startswith(b"\x7fELF"):
        return f"it starts with {start[:4]!r}, not with an ELF header"
    return ""
