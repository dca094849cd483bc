"""From options to the variables of a playbook. What the options do not say is left to the inventory and the roles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line; None and empty mean: not asked for."""

    release: str | None = None
    flags: Sequence[str] = ()
    artifacts: Path | None = None
    releases_files: Sequence[Path] = ()
    directory: str | None = None
    check_releases: Sequence[str] = ()
    generation: int | None = None

    def variables(self) -> dict[str, object]:
        """Return the extra variables, paths absolute.

        Raises:
            InvalidInputError: a flag, release, file or directory that is none.
        """
        plain = {"runsc_release": self.release, "runsc_rollback_generation": self.generation}
        found: dict[str, object] = {name: value for name, value in plain.items() if value is not None}
        if self.check_releases:
            found["nvproxy_check_releases"] = list(self.check_releases)
        if self.flags:
            found["runsc_flags"] = flags(self.flags, self.release or "")
        if self.artifacts is not None:
            if not self.artifacts.is_dir():
                raise InvalidInputError(f"there is no directory {self.artifacts}", remedy="check --artifacts")
            found["runsc_artifacts_directory"] = str(self.artifacts.absolute())
        if self.releases_files:
            for file in self.releases_files:
                if not file.is_file():
                    raise InvalidInputError(f"there is no file {file}", remedy="check --releases-file")
            found["runsc_releases_files"] = [str(file.absolute()) for file in self.releases_files]
        if self.directory is not None:
            if not Path(self.directory).is_absolute():
                raise InvalidInputError(f"{self.directory!r} is no absolute path", remedy="check --directory")
            found["runsc_directory"] = self.directory
        return found


def flags(given: Sequence[str], release: str = "") -> dict[str, str]:
    """Return the flags of ``NAME=VALUE`` texts, checked against what runsc knows.

    Whether the operator's policy allows them is looked at with each host's variables, where the policy is.

    Args:
        given: the texts.
        release: the wanted release where the command names one.

    Raises:
        InvalidInputError: not NAME=VALUE, a name given twice, or a flag or value that gVisor does not have.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.removeprefix("--")
        if not equals or not name:
            raise InvalidInputError(f"--flag {text} is not NAME=VALUE", remedy="for example --flag debug=true")
        if name in found:
            raise InvalidInputError(f"--flag {name} is given twice", remedy="give every flag once")
        found[name] = value
    from orchestrator.gvisor.flag_policy import SPELLING_ONLY  # noqa: PLC0415 - not needed to print help
    from orchestrator.gvisor.flags import parse_flags  # noqa: PLC0415 - see above

    parse_flags(found, release, SPELLING_ONLY)
    return found
