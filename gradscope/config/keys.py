"""Every key of the configuration: its type, its default, and whether it can be set per target."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gradscope import rules
from gradscope.config.places import Place
from gradscope.errors import GradscopeError
from gradscope.gate import policy as gate_policy
from gradscope.language import LANGUAGES
from gradscope.records.options import AXES, PRECISIONS, mesh_text

Value = str | int | float | bool | tuple[str, ...] | tuple[int, ...] | None
"""A tuple is a list of names or paths; `None` is a setting that was not given."""


class Unfit(Exception):
    """A value of the wrong type for its key."""


@dataclass(frozen=True, slots=True)
class Key:
    """One setting; its name is that of the option on the command line."""

    name: str
    read: Callable[[Any], Value]
    """Raises `Unfit`, or a `GradscopeError` with a more specific message."""
    takes: str
    """What the key takes, in words, for errors."""
    example: str
    """An example in TOML."""
    default: Value = None
    per_target: bool = True
    """False: the setting is for the whole run."""
    paths: bool = False
    """The value is a path or paths, relative to the folder of the file."""

    def value(self, given: Any, place: Place) -> Value:
        """The checked value of a file. Raises `GradscopeError` with the place of the key."""
        try:
            return self.read(given)
        except Unfit:
            raise GradscopeError(
                f"{place} is {shown(given)}.",
                why=f"It must be {self.takes}.",
                fix=f"For example, write `{self.name} = {self.example}`.",
                slug="unusable-setting",
            ) from None
        except GradscopeError as error:
            raise place.error(error.what, why=error.why, fix=error.fix, slug=error.slug) from None


def count(given: Any) -> int:
    # `True` is an int to Python, and a mistake in a file.
    if type(given) is not int or given < 1:
        raise Unfit
    return given


def whole(given: Any) -> int:
    if type(given) is not int or given < 0:
        raise Unfit
    return given


def sizes(given: Any) -> tuple[int, ...]:
    """Two whole numbers or more, rising."""
    if not isinstance(given, list):
        raise Unfit
    found = sorted({count(each) for each in given})
    if len(found) < 2:
        raise Unfit
    return tuple(found)


def seconds(given: Any) -> float:
    if type(given) not in (int, float) or not (math.isfinite(given) and given > 0):
        raise Unfit
    return float(given)


def flag(given: Any) -> bool:
    if type(given) is not bool:
        raise Unfit
    return given


def text(given: Any) -> str:
    # No path has a NUL, and the system's functions raise on one.
    if not isinstance(given, str) or not given.strip() or "\0" in given:
        raise Unfit
    return given.strip()


def texts(given: Any) -> tuple[str, ...]:
    """A list, or a single string; an empty list overrides the value of a lower layer."""
    if isinstance(given, str):
        return (text(given),)
    if not isinstance(given, list):
        raise Unfit
    return tuple(dict.fromkeys(text(item) for item in given))


def names(given: Any) -> tuple[str, ...]:
    """As `texts`; a string may hold several names, separated by commas."""
    found = (name.strip() for item in texts(given) for name in item.split(","))
    return tuple(dict.fromkeys(name for name in found if name))


def rule_names(given: Any) -> tuple[str, ...]:
    return tuple(rules.get(name).name for name in names(given))


def policy(given: Any) -> tuple[str, ...]:
    """A policy as `--fail-on` takes it; empty for never."""
    return gate_policy.parse(",".join(names(given))).fail_on


def shown(given: Any) -> str:
    """A value of a file, as errors show it."""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, dict):
        return "a table"
    if isinstance(given, list):
        return f"[{', '.join(map(shown, given))}]" if len(given) < 5 else f"a list of {len(given)}"
    return f'"{given}"' if isinstance(given, str) else str(given)


def precision(given: Any) -> str:
    if given not in PRECISIONS:
        raise Unfit
    return str(given)


def language(given: Any) -> str:
    if given not in LANGUAGES:
        raise Unfit
    return str(given)


def mesh(given: Any) -> str:
    """A mesh as `--mesh` takes it, checked."""
    return mesh_text(axes_of(str(given)))


def axes_of(given: str) -> dict[str, int]:
    """`data=4,model=2` as names and sizes; any of `AXES`, each once."""
    found: dict[str, int] = {}
    for part in given.split(","):
        name, _, size = (each.strip() for each in part.partition("="))
        if name not in AXES or name in found or not size.isdecimal() or not 1 <= int(size) <= MOST_DEVICES:
            raise GradscopeError(
                f'"--mesh {given}" is not a mesh.',
                why=f'"{part.strip()}" is not an axis with its size: the axes are `data`, over which rows '
                "of the batch are split, `model`, over which parameters are, and `fsdp`, over which both "
                "are, each once.",
                fix="Write data=4, model=2 or data=4,model=2.",
                slug="bad-option",
            )
        found[name] = int(size)
    return found


MOST_DEVICES = 2**16
LIST = '["a", "b"]'
KEYS = (
    Key("fail-on", policy, 'a list of severities and names of rules, or "never"', '["error"]', ("error",)),
    Key("select", rule_names, "a string or a list of strings, the names of rules", '["non-finite"]', ()),
    Key("ignore", rule_names, "a string or a list of strings, the names of rules", '["non-finite"]', ()),
    Key("batches", count, "an integer of at least 1, without quotes", "4", 1),
    Key("seeds", count, "an integer of at least 1, without quotes", "3", 1),
    Key("verify", flag, "true or false, without quotes", "true", False),
    Key("steps", whole, "an integer of at least 0, without quotes", "50"),
    Key("after-steps", whole, "an integer of at least 0, without quotes", "20", 0),
    Key("histograms", flag, "true or false, without quotes", "true", False),
    Key("through-time", flag, "true or false, without quotes", "true", False),
    Key("inputs", flag, "true or false, without quotes", "true", False),
    Key("what-if", precision, f"one of {', '.join(PRECISIONS)}", '"bf16"'),
    Key("replicas", flag, "true or false, without quotes", "true", False),
    Key("overfit-batch", flag, "true or false, without quotes", "true", False),
    Key("truncate", count, "an integer of at least 1, without quotes", "20"),
    Key("widths", sizes, "a list of two integers or more, each at least 1", "[64, 128, 256]", ()),
    Key("batch-size", count, "an integer of at least 1, without quotes", "32"),
    Key("seed", whole, "an integer of at least 0, without quotes", "7", 0),
    Key("timeout", seconds, "a number of seconds above 0, without quotes", "120"),
    Key("data", texts, "the path of a file, or a list of paths", '["train.npz"]', (), paths=True),
    Key("x", names, "a string or a list of strings, the names of arrays or columns", LIST, ()),
    Key("y", names, "a string or a list of strings, the names of arrays or columns", LIST, ()),
    Key("loss", text, "the name of a loss", '"cross-entropy"'),
    Key("params", text, "the path of a checkpoint", '"best.npz"', paths=True),
    Key("mesh", mesh, "a text with axes and their sizes", '"data=4,model=2"'),
    Key("devices", count, "an integer of at least 1, without quotes", "8"),
    Key("baseline", text, "the path of a file", '"baseline.json"', per_target=False, paths=True),
    Key("jobs", count, "an integer of at least 1, without quotes", "2", per_target=False),
    Key("lang", language, f"one of {', '.join(LANGUAGES)}", '"ja"', per_target=False),
)
BY_NAME = {key.name: key for key in KEYS}
