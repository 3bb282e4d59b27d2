"""What a command is asked for, by the command line or a configuration file; standard library only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field

from gradscope.records.record import record


@record
class LoadOptions:
    """What wins over the names in the user's file."""

    batch_size: int | None = None
    seed: int = 0
    timeout: float | None = None
    """[seconds] for the user's code to load."""
    data: tuple[str, ...] = ()
    """Files that take the place of the batches in the user's file."""
    x: tuple[str, ...] = ()
    """Names of the arrays or columns that are the inputs."""
    y: tuple[str, ...] = ()
    """Those that are the targets."""
    loss: str | None = None
    """A loss of outputs and targets, in place of the file's `loss_fn`."""
    params: str | None = None
    """A checkpoint whose parameters take the place of the initial ones."""
    width: int | None = None
    """Given to the functions that make the network."""
    depth: int | None = None
    """Likewise."""
    usual_width: int | None = None
    """Given where they need a width and none is given."""
    mesh: Mapping[str, int] = field(default_factory=dict)
    """Names and sizes of axes over which the arrays of a file are laid out that knows of one device."""
    devices: int | None = None
    """CPU devices that JAX is to make."""
    shapes: bool = False
    """The shapes of parameters are enough: what makes them is traced and not run."""


AUTO = "auto"
"""In the place of a coordinator: what SLURM, Open MPI, Kubernetes or a TPU pod says of the processes."""


@record
class Peers:
    """The processes that are to measure one target together, as one of them is told."""

    coordinator: str = AUTO
    """HOST:PORT of process 0, or `AUTO`."""
    count: int | None = None
    """How many there are; `None` with `AUTO`."""
    process: int | None = None
    """Which one this is; `None` for all of them, or with `AUTO`."""
    one_machine: bool = False
    """All of them run on this machine, started by one command."""


AXES = ("data", "fsdp", "model")
"""Those that `--mesh` may have: over the first two rows are split, over the last two parameters."""


def mesh_text(axes: Mapping[str, int]) -> str:
    """As `--mesh` takes it: `data=4,model=2`."""
    return ",".join(f"{name}={size}" for name, size in axes.items())


PRECISIONS = ("bf16", "f16", "fp8", "mxfp8")


@record
class CheckOptions:
    """What is measured, and which rules judge it."""

    batches: int = 1
    seeds: int = 1
    """Initializations, from `LoadOptions.seed` on."""
    select: tuple[str, ...] = ()
    """Names of rules; empty for all of them."""
    ignore: tuple[str, ...] = ()
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By rule and name: numbers that take the place of the rule's own."""
    verified: bool = False
    """Verify the gradients, too."""
    steps: int | None = None
    """Of the short training; `None`: as many as the work of one allows, 0 for none."""
    after_steps: int = 0
    """Optimizer steps that are taken before anything is measured."""
    histograms: bool = False
    """Count weights and gradients by size, too."""
    through_time: bool = False
    """Follow the gradient through the steps of loops over time, too."""
    inputs: bool = False
    """Look at the gradient with respect to the inputs, too."""
    what_if: str | None = None
    """One of `PRECISIONS`: also compare with the program rounded to it."""
    replicas: bool = False
    """Take the gradient of the rows of each replica, too."""
    overfit_batch: bool = False
    """Train on the first batch alone, too, to see whether it can be learned by heart."""
    truncate: int | None = None
    """Steps after which backpropagation through time is cut, to see what is lost."""
    widths: tuple[int, ...] = ()
    """Widths of the network at which a few steps are trained, too."""
    baseline: str | None = None
    """A file of known findings and profiles: only what is new or worse fails."""


@record
class MonitorOptions:
    """How a training is watched, and which rules judge it."""

    steps: int = 200
    every: int | None = None
    """The layers are measured at every so many steps; `None`: so that at most 1,000 steps are measured."""
    validate_every: int | None = None
    """Steps between two looks at the validation batch; `None`: twenty in all."""
    repeat: bool = False
    """Go through the batches of an iterator again after its end."""
    record: str | None = None
    """A new file to which every record is appended."""
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@record
class FixOptions:
    """How remedies are tried."""

    steps: int | None = None
    """Of each training; `None`: 100, and fewer where one is expensive."""
    seeds: int = 3
    """Starts from which each is trained."""
    everything: bool = False
    """Try every remedy that is known, also where others help already or nothing was found."""
    budget_s: float | None = 300.0
    """[seconds] for the whole command; what was not tried by then is said. `None`: no limit."""


@record
class MemoryOptions:
    """What is asked of the memory of a training step."""

    limit: int | None = None
    """[bytes] below which the largest batch is looked for."""
    gate: int | None = None
    """[bytes] above which the run fails; `None`: the limit."""
    checkpoints: bool = True
    """Try gradient checkpointing."""


@record
class CostOptions:
    """What is asked of the cost of a training step."""

    limit: float | None = None
    """Operations of a step above which the run fails."""
    widths: tuple[int, ...] = ()
    """Widths of the network at which it is counted and timed, too."""
    depths: tuple[int, ...] = ()
    """Depths of the network, likewise."""
    time: bool = True
    """Compile and run it."""
    growth: bool = True
    """Look at other batches and lengths."""
    whole: bool = False
    """Compile the loss as one program, also where that takes long."""
    meshes: tuple[Mapping[str, int], ...] = ()
    """Others with which that of `LoadOptions` is compared."""


@record
class CurvatureOptions:
    """What is asked of the curvature of the loss."""

    batches: int = 1
    """Whose mean loss is looked at."""
    budget_s: float | None = None
    """[seconds] for products with the Hessian; `None`: a usual one."""
    layers: bool = True
    """Find the sharpness of each layer."""


@record
class Task:
    """One target of a run with all that is asked of it."""

    target: str
    """As reports name it: relative to the folder of the configuration."""
    path: str
    """As it is loaded from the working directory."""
    loading: LoadOptions = LoadOptions()
    checking: CheckOptions = field(default_factory=CheckOptions)
    fail_on: tuple[str, ...] = ("error",)

    @property
    def other_name(self) -> str:
        """The path, where reports call the target otherwise; else empty."""
        return "" if self.path == self.target else self.path


def in_ci() -> bool:
    """Whether this is a job of a CI system: they set this variable."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


SCHEDULES = ("constant", "cosine", "warmup-cosine", "wsd")
VMAP = ("auto", "on", "off")


@record
class CompareOptions:
    """On which terms optimizers are compared; `None` where gradscope is to choose within the budget."""

    optimizers: tuple[str, ...] = ()
    """Empty: the seven usual ones."""
    steps: int | None = None
    seeds: int | None = None
    grid: int | None = None
    """Learning rates of each optimizer to begin with; a fixed number of further settings follows."""
    budget_s: float | None = None
    target: float | None = None
    """[loss]"""
    schedule: str = "constant"
    """One of `SCHEDULES`."""
    clip: float | None = None
    """Largest global norm of a gradient."""
    exhaustive: bool = False
    """Every learning rate runs to the end."""
    vmap: str = "auto"
    """One of `VMAP`: whether all runs of an optimizer are trained at once."""
    updates: bool = False
    """Measure the update of each layer at the start and at the end."""
    starts: int = 0
    """From so many starts the best optimizer is trained again, to compare where it ends."""
    widths: tuple[int, ...] = ()
    """Compare at each of these widths of the network; empty: at its own."""
