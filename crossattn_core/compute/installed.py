"""Which code and which packages a process computes with: a worker that holds others would give other numbers."""

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from crossattn_core.code_hash import NUMERIC_PACKAGES
from crossattn_core.errors import ComputeError

__all__ = ["check_installed", "installed"]

_PACKAGE = Path(__file__).parents[1]


@cache
def installed() -> dict[str, str]:
    """Python, packages that change numbers, and a hash of this package's sources."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(_PACKAGE)}\0".encode() + path.read_bytes())
    versions = {name: _version_of(name) for name in NUMERIC_PACKAGES}
    return {"python": platform.python_version(), "crossattn": digest.hexdigest()[:16], **versions}


def check_installed(expected: dict[str, str]) -> None:
    """Refuse to compute for a process that holds other code or packages.

    Raises:
        ComputeError: each difference.
    """
    here = installed()
    differences = [f"{name}: {here.get(name)} here, {value} there" for name, value in expected.items() if here.get(name) != value]
    if differences:
        raise ComputeError(
            f"the worker on {platform.node()} would give other numbers than the process that asks ({'; '.join(differences)}); "
            "install the same there"
        )


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
