"""`gradscope doctor`: what a report of a bug needs to know of a machine."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from gradscope import __version__
from gradscope.cli import screen
from gradscope.cli.options import PAGE_FORMATS, PageFormat, check_format, examples
from gradscope.language import heading
from gradscope.report.shared.glyphs import visible
from gradscope.report.terminal.lines import pad, width_of

EPILOG = examples(
    "gradscope doctor",
    "gradscope doctor --format json",
    "JAX_PLATFORMS=cpu gradscope doctor",
)
PACKAGES = (
    "jax", "jaxlib", "numpy", "optax", "rich", "typer",
    "flax", "equinox", "dm-haiku", "keras", "pyarrow", "safetensors", "orbax-checkpoint",
    "pandas", "polars", "matplotlib", "mcp",
)  # fmt: skip
PREFIXES = ("JAX_", "XLA_", "GRADSCOPE_", "CUDA_VISIBLE_DEVICES", "KERAS_BACKEND", "NO_COLOR", "FORCE_COLOR")
Facts = dict[str, dict[str, str]]


def doctor(format: PageFormat = "terminal") -> None:
    """Show what is installed: JAX, devices, frameworks, the compilation cache. For a report of a bug."""
    check_format(format, PAGE_FORMATS)
    found = facts()
    if format == "json":
        screen.emit(json.dumps(found, indent=1) + "\n")
        return
    width = max(width_of(heading(name)) for part in found.values() for name in part)
    for title, part in found.items():
        screen.emit(f"{heading(title)}\n")
        for name, value in part.items():
            screen.emit(f"  {pad(visible(heading(name)), width)}  {visible(heading(value))}\n")


def facts() -> Facts:
    packages = {name: installed(name) for name in PACKAGES}
    return {
        "gradscope": {
            "version": __version__,
            "Python": f"{platform.python_version()} ({sys.executable})",
            "system": platform.platform(),
            "cores": str(os.cpu_count()),
        },
        "packages": packages,
        "JAX": _devices() if packages["jax"] != MISSING else {},
        "compilation cache": _cache(),
        "variables": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(PREFIXES)},
    }


MISSING = "not installed"


def installed(name: str) -> str:
    """The version, read from its metadata: importing it would take seconds."""
    try:
        return version(name)
    except PackageNotFoundError:
        return MISSING


def _devices() -> dict[str, str]:
    from gradscope.runs.devices import devices

    return devices()


def _cache() -> dict[str, str]:
    from gradscope.processes import compilation_cache

    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", compilation_cache.folder())
    if not folder:
        return {"folder": "none"}
    try:
        sizes = [entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()]
    except OSError as error:
        return {"folder": f"{folder} ({error.strerror})"}
    return {"folder": str(folder), "entries": str(len(sizes)), "size": f"{sum(sizes) / 2**20:.1f} MiB"}
