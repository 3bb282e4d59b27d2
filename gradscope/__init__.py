"""gradscope tells JAX users why their network does not learn.

    report = gradscope.check(loss_fn, params, batch)

The names below load what they need when they are first used: `import gradscope` does not import JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gradscope.display import set_display

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gradscope.errors import GradscopeError as GradscopeError
    from gradscope.integrations.assert_healthy import assert_healthy as assert_healthy
    from gradscope.integrations.saved import diff as diff, load_report as load_report
    from gradscope.load.problem import Problem as Problem
    from gradscope.records import Finding as Finding, Report as Report, Severity as Severity
    from gradscope.runs.check import check_loss as check
    from gradscope.runs.cost import cost_loss as cost
    from gradscope.runs.curvature import curvature_loss as curvature
    from gradscope.runs.fix import fix_target as fix
    from gradscope.runs.memory import memory_loss as memory
    from gradscope.runs.monitor import monitor_loss as monitor
    from gradscope.runs.optimizers import compare_loss as compare_optimizers, find_loss_rate as find_lr
    from gradscope.runs.verify import verify_loss as verify
    from gradscope.training.keras_callback import keras_callback as keras_callback
    from gradscope.training.recorded import recorded as recorded
    from gradscope.training.recorder import Recorder as Recorder
    from gradscope.training.watched_loss import Monitor as Monitor

_HOME = {
    "check": ("gradscope.runs.check", "check_loss"),
    "assert_healthy": ("gradscope.integrations.assert_healthy", "assert_healthy"),
    "verify": ("gradscope.runs.verify", "verify_loss"),
    "compare_optimizers": ("gradscope.runs.optimizers", "compare_loss"),
    "find_lr": ("gradscope.runs.optimizers", "find_loss_rate"),
    "cost": ("gradscope.runs.cost", "cost_loss"),
    "curvature": ("gradscope.runs.curvature", "curvature_loss"),
    "fix": ("gradscope.runs.fix", "fix_target"),
    "memory": ("gradscope.runs.memory", "memory_loss"),
    "monitor": ("gradscope.runs.monitor", "monitor_loss"),
    "diff": ("gradscope.integrations.saved", "diff"),
    "load_report": ("gradscope.integrations.saved", "load_report"),
    "keras_callback": ("gradscope.training.keras_callback", "keras_callback"),
    "recorded": ("gradscope.training.recorded", "recorded"),
    "Recorder": ("gradscope.training.recorder", "Recorder"),
    "Monitor": ("gradscope.training.watched_loss", "Monitor"),
    "Problem": ("gradscope.load.problem", "Problem"),
    "Report": ("gradscope.records", "Report"),
    "Finding": ("gradscope.records", "Finding"),
    "Severity": ("gradscope.records", "Severity"),
    "GradscopeError": ("gradscope.errors", "GradscopeError"),
}

__all__ = [
    "Finding",
    "GradscopeError",
    "Monitor",
    "Problem",
    "Recorder",
    "Report",
    "Severity",
    "assert_healthy",
    "check",
    "compare_optimizers",
    "cost",
    "curvature",
    "diff",
    "find_lr",
    "fix",
    "keras_callback",
    "load_report",
    "memory",
    "monitor",
    "recorded",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gradscope' has no attribute {name!r}")
    module, attribute = _HOME[name]
    found = getattr(import_module(module), attribute)
    if attribute != name:  # `help` and tracebacks call it as the user does
        found.__module__, found.__name__, found.__qualname__ = __name__, name, name
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def _shown_by(name: str) -> Any:
    """A function of `report.display` that is imported when the first report is shown."""
    return lambda *given: getattr(import_module("gradscope.report.display"), name)(*given)


def _save(report: Any, path: str) -> None:
    import_module("gradscope.integrations.saved").save(report, path)


set_display(
    text=_shown_by("as_text"),
    html=_shown_by("as_html"),
    page=_shown_by("as_page"),
    json=_shown_by("as_json"),
    changes=_shown_by("as_changes"),
    frame=_shown_by("as_frame"),
    figure=_shown_by("as_figure"),
    save=_save,
)
