"""`[tool.gradscope]`: the targets and settings of a project; nothing here runs a model."""

from gradscope.config.files import nearest, read
from gradscope.config.keys import Value, axes_of, mesh
from gradscope.config.planning import Planned, Setting, TargetPlan, loading, plan
from gradscope.config.showing import as_json, as_text
from gradscope.config.tables import Config

__all__ = [
    "Config",
    "Planned",
    "Setting",
    "TargetPlan",
    "Value",
    "as_json",
    "as_text",
    "axes_of",
    "loading",
    "mesh",
    "nearest",
    "plan",
    "read",
]
