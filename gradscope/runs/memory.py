"""`gradscope.memory`: what a training step holds, what checkpointing saves of it, which batch fits.

JAX is imported inside the functions, as in `check`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradscope.records import Checkpointing, Memory, MemoryLimit, Report, Skipped, Timing
from gradscope.records.options import LoadOptions, MemoryOptions
from gradscope.records.progress import Progress, silent
from gradscope.rules import Parts, judge
from gradscope.runs.common import judged_report, loaded, problem_of
from gradscope.runs.excerpts import excerpts

if TYPE_CHECKING:
    from gradscope.footprint.checkpointing import Plain
    from gradscope.load.problem import Problem
    from gradscope.trace.program import Tracer

NO_OPTIMIZER = "The file gives no optimizer: Adam would keep twice the parameters besides."
CHECKPOINTS, LARGEST = "gradient checkpointing", "the largest batch"
NUMBERS = "rules that go by numbers: sizes of values and gradients, units, NaN, training"


def memory(
    target: str,
    loading: LoadOptions | None = None,
    options: MemoryOptions | None = None,
    *,
    progress: Progress = silent,
) -> Report:
    """Load a target and account for the memory of one of its training steps."""
    with loaded(target, loading or LoadOptions(), progress) as (problem, load_s):
        return memory_of(problem, target=target, options=options, progress=progress, load_s=load_s)


def memory_loss(
    loss_fn: Callable[..., Any] | Problem,
    params: Any = None,
    batch: Any = None,
    *,
    optimizer: Any = None,
    batches: Any = None,
    data: Any = None,
    batch_size: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    checkpoints: bool = True,
) -> Report:
    """`gradscope.memory`: what the backward pass of a loss keeps, by layer, line and operation.

    `report.memory.kept` has each array, `report.memory.compiled` XLA's figures of the compiled gradient, and
    `report.memory.checkpointing` what `jax.checkpoint` saves where blocks repeat, unless `checkpoints` is
    false. With a `limit` [bytes] the largest batch below it is looked for. The other arguments are those of
    `check`. Raises `GradscopeError` where the loss cannot be traced.
    """
    from gradscope.trace.compiling import programs_kept

    problem = problem_of(
        loss_fn,
        params,
        batch,
        batches=batches,
        data=data,
        optimizer=optimizer,
        batch_size=batch_size,
        seed=seed,
    )
    with programs_kept():
        options = MemoryOptions(limit, checkpoints=checkpoints)
        return memory_of(problem, target=problem.name, options=options)


def memory_of(
    problem: Problem,
    *,
    target: str,
    options: MemoryOptions | None = None,
    progress: Progress = silent,
    load_s: float = 0.0,
) -> Report:
    """The memory of a problem that is at hand. Ctrl-C ends it with what is known once it is accounted."""
    options = options or MemoryOptions()
    start = perf_counter()
    from gradscope.load.usercode.user_code import user_code
    from gradscope.trace.compiling import users_errors
    from gradscope.trace.program import Tracer

    with user_code("drawing batches"):
        batch = next(problem.batches())
    progress("tracing")
    tracer = Tracer(problem)
    program, inputs = tracer.trace(batch), tracer.inputs(batch)
    from jax import ShapeDtypeStruct

    from gradscope.footprint.account import account, compiled_memory
    from gradscope.footprint.by_device import by_device
    from gradscope.footprint.limits import rows_of
    from gradscope.footprint.peak import size_of
    from gradscope.measure.by_shapes import STRUCTURAL, structure

    with users_errors("differentiating the loss", lambda: program.differentiate_plain(inputs)):
        state = _optimizer_state(problem, tracer, inputs)
        found = account(program, inputs, None if state is None else sum(map(size_of, state)), rows_of(batch))
    shapes_alone = any(isinstance(weight, ShapeDtypeStruct) for weight in inputs.weights)
    found = replace(found, by_device=by_device(program, inputs, state), shapes_alone=shapes_alone)
    traced = perf_counter()
    notes = problem.notes if problem.optimizer is not None else (*problem.notes, NO_OPTIMIZER)
    skipped: tuple[Skipped, ...] = ()
    compiled_s = 0.0
    try:
        progress("compiling")
        record, compiled = compiled_memory(program.body, inputs.weights, inputs.others)
        found, compiled_s = replace(found, compiled=record), compiled.compile_s
        from gradscope.footprint.checkpointing import Plain

        plain = Plain(program.body, inputs, compiled, found.working, record.peak)
        if found.by_device is None and not shapes_alone:
            found, skipped = _more(problem, tracer, batch, plain, found, options, progress)
        else:
            skipped = _untried(options, shapes_alone)
    except KeyboardInterrupt:
        found, skipped = replace(found, complete=False), (Skipped("what else is tried", "interrupted"),)
    gate = options.gate if options.gate is not None else options.limit
    if found.limit is None and gate is not None:
        found = replace(found, limit=MemoryLimit(gate))
    timing = Timing(load_s, traced - start, compiled_s, perf_counter() - traced - compiled_s)
    report = judged_report(target, Parts(memory=found), timing, notes=notes, skipped=skipped)
    if not shapes_alone:
        return report
    structural, _ = judge(Parts(flow=structure(program, inputs, batch)), select=STRUCTURAL)
    findings = (*report.findings, *structural)
    rules = (*report.rules, *STRUCTURAL)
    return replace(report, findings=findings, rules=rules, excerpts=excerpts(findings))


def _optimizer_state(problem: Problem, tracer: Tracer, inputs: Any) -> list[Any] | None:
    """The shapes of the state before the first step."""
    if problem.optimizer is None:
        return None
    import jax

    from gradscope.training.optimizer import StepRule

    return jax.tree.leaves(jax.eval_shape(StepRule.of(problem, tracer).fresh, inputs.weights))


def _untried(options: MemoryOptions, shapes_alone: bool) -> tuple[Skipped, ...]:
    """What is tried of whole arrays on one device."""
    reason = "nothing is run with --shapes" if shapes_alone else "the arrays lie on several devices"
    asked = [CHECKPOINTS] * options.checkpoints + [LARGEST] * (options.limit is not None)
    asked += [NUMBERS] * shapes_alone
    return tuple(Skipped(what, reason) for what in asked)


def _more(
    problem: Problem,
    tracer: Tracer,
    batch: Any,
    plain: Plain,
    found: Memory,
    options: MemoryOptions,
    progress: Progress,
) -> tuple[Memory, tuple[Skipped, ...]]:
    """What is tried; where one fails, the report is whole without it."""
    from gradscope.load.usercode.fault import Looks

    looks = Looks()
    if options.checkpoints:
        tried = looks.taken(CHECKPOINTS, lambda: _checkpoints(problem, plain, progress), None)
        found = replace(found, checkpointing=tried)
        if tried is None and not looks.failed:
            return _limited(tracer, batch, plain, found, options, looks, progress, CHECKPOINTS)
    return _limited(tracer, batch, plain, found, options, looks, progress)


def _checkpoints(problem: Problem, plain: Plain, progress: Progress) -> Checkpointing | None:
    from gradscope.footprint.checkpointing import try_checkpoints
    from gradscope.load.model.frameworks.table import framework_of

    return try_checkpoints(plain, framework_of(problem.model, problem.kinds), progress)


def _limited(
    tracer: Tracer,
    batch: Any,
    plain: Plain,
    found: Memory,
    options: MemoryOptions,
    looks: Any,
    progress: Progress,
    nothing: str = "",
) -> tuple[Memory, tuple[Skipped, ...]]:
    from gradscope.footprint import limits

    left = [Skipped(nothing, "no block of the program repeats")] if nothing else []
    rows = found.batch_size
    if options.limit is not None and rows is None:
        left.append(Skipped(LARGEST, "the arrays of the batch share no leading axis"))
    elif options.limit is not None and rows is not None:
        sizes = limits.Batches(tracer, batch, rows, plain.peak, found.optimizer_state or 0)
        limit = options.limit

        def look() -> MemoryLimit | None:
            try:
                return limits.largest_batch(sizes, limit, progress)
            except limits.OneSize as error:
                left.append(Skipped(LARGEST, error.reason))
                return None

        record = looks.taken(LARGEST, look, None)
        if record is not None:
            halves = looks.taken(
                "gradient accumulation",
                lambda: limits.accumulated(
                    record, rows, lambda: limits.reduction_of_halves(plain, tracer, batch, rows)
                ),
                None,
            )
            found = replace(found, limit=replace(record, accumulation=halves))
    return found, (*left, *looks.failed)
