"""`gradscope.cost`: what a training step computes, by layer, how long each takes, and how both grow.

JAX is imported inside the functions, as in `check`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradscope.records import Communication, Cost, LayerCost, PassCost, RepeatedBlock, Report, Skipped, Timing
from gradscope.records.options import CostOptions, LoadOptions
from gradscope.records.progress import Progress, silent
from gradscope.rules import Parts
from gradscope.runs.common import judged_report, loaded, problem_of
from gradscope.runs.cost_growth import grown, grown_with_network
from gradscope.runs.cost_layouts import enough_devices, over_mesh, over_others
from gradscope.runs.cost_timing import UPDATE, timed

if TYPE_CHECKING:
    from gradscope.load.problem import Problem
    from gradscope.load.usercode.fault import Looks
    from gradscope.trace.program import Inputs, Program, Tracer
    from gradscope.workload.account import Account
    from gradscope.workload.counting import CountedWork
    from gradscope.workload.update import Update

Wider = tuple[Cost, Sequence[Skipped]]
"""With more in it than there was, and what of that could not be looked at."""
NO_OPTIMIZER = "The file gives no optimizer: its part of a step is not counted."


def cost(
    target: str,
    loading: LoadOptions | None = None,
    options: CostOptions | None = None,
    *,
    progress: Progress = silent,
) -> Report:
    """Load a target, count and time one of its training steps."""
    loading, options = loading or LoadOptions(), options or CostOptions()
    loading = enough_devices(loading, options)
    with loaded(target, loading, progress) as (problem, load_s):
        report = cost_of(problem, target=target, options=options, progress=progress, load_s=load_s)
    if options.meshes:
        report = _wider(
            report, "other meshes", lambda found: _beside_others(found, target, loading, options, progress)
        )
    if options.widths or options.depths:

        def grow(found: Cost) -> Wider:
            growth, skipped = grown_with_network(target, loading, options, progress)
            return replace(found, growth=(*found.growth, *growth)), skipped

        report = _wider(report, "other widths and depths", grow)
    return report


def _wider(report: Report, what: str, look: Callable[[Cost], Wider]) -> Report:
    """With what is found by loading the target again; as it is where it was interrupted before."""
    if report.cost is None or not report.cost.complete:
        return report
    try:
        found, skipped = look(report.cost)
    except KeyboardInterrupt:
        found, skipped = replace(report.cost, complete=False), (Skipped(what, "interrupted"),)
    return replace(report, cost=found, skipped=(*report.skipped, *skipped))


def _beside_others(
    found: Cost, target: str, loading: LoadOptions, options: CostOptions, progress: Progress
) -> Wider:
    """With what devices send each other over the other meshes."""

    def counted(other: LoadOptions, looks: Looks) -> tuple[Communication, ...]:
        with loaded(target, other, progress) as (problem, _):
            at = _traced(problem)
            update = looks.taken(UPDATE, lambda: _update(problem, at, []), None)
            return over_mesh(at.program, at.inputs, update, looks, progress)

    others, skipped = over_others(loading, options, counted, progress)
    return replace(found, communication=(*found.communication, *others)), skipped


def cost_loss(
    loss_fn: Callable[..., Any] | Problem,
    params: Any = None,
    batch: Any = None,
    *,
    optimizer: Any = None,
    batches: Any = None,
    data: Any = None,
    batch_size: int | None = None,
    seed: int = 0,
    limit: float | None = None,
    time: bool = True,
    growth: bool = True,
    whole: bool = False,
) -> Report:
    """`gradscope.cost`: operations and seconds of a loss and its gradient, by layer, and how both grow.

    `report.cost.layers` has each layer forward and backward, `report.cost.lines` each operation at each line,
    `report.cost.compiled` XLA's own count, `report.cost.growth` the exponents. Without `time` nothing is
    compiled or run, without `growth` no other size is looked at. A loss of many operations is compiled in
    blocks unless `whole` is true. A step of more than `limit` operations is an error. The other arguments are
    those of `check`. Raises `GradscopeError` where the loss cannot be differentiated.
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
        options = CostOptions(limit, time=time, growth=growth, whole=whole)
        return cost_of(problem, target=problem.name, options=options)


def cost_of(
    problem: Problem,
    *,
    target: str,
    options: CostOptions | None = None,
    progress: Progress = silent,
    load_s: float = 0.0,
) -> Report:
    """The cost of a step of a problem at hand. Ctrl-C ends it with what is known once it is counted."""
    options = options or CostOptions()
    start = perf_counter()
    progress("tracing")
    at = _traced(problem)
    found = _counted(at)
    traced = perf_counter()
    notes = problem.notes if problem.optimizer is not None else (*problem.notes, NO_OPTIMIZER)
    skipped: list[Skipped] = []
    compiled_s = 0.0
    from gradscope.load.usercode.fault import Looks

    looks = Looks()
    try:
        update = looks.taken(UPDATE, lambda: _update(problem, at, skipped), None)
        found = replace(found, update=None if update is None else update.record, limit=options.limit)
        found = replace(found, communication=over_mesh(at.program, at.inputs, update, looks, progress))
        step = None
        if options.time:
            found, step, compiled_s = timed(
                found,
                at.program,
                at.inputs,
                at.account,
                update,
                looks,
                skipped,
                progress,
                whole=options.whole,
            )
        if options.growth:
            growth = grown(at.tracer, at.program, at.batch, found, step, skipped, progress)
            found = replace(found, growth=growth)
    except KeyboardInterrupt:
        found = replace(found, complete=False)
        skipped.append(Skipped("what else is measured", "interrupted"))
    timing = Timing(load_s, traced - start, compiled_s, perf_counter() - traced - compiled_s)
    return judged_report(target, Parts(cost=found), timing, notes=notes, skipped=(*skipped, *looks.failed))


@dataclass(frozen=True)
class _TracedStep:
    tracer: Tracer
    program: Program
    inputs: Inputs
    batch: Any
    account: Account


def _traced(problem: Problem) -> _TracedStep:
    from gradscope.footprint.account import shapes_of
    from gradscope.load.usercode.user_code import user_code
    from gradscope.trace.compiling import users_errors
    from gradscope.trace.program import Tracer
    from gradscope.workload.account import Account

    with user_code("drawing batches"):
        batch = next(problem.batches())
    tracer = Tracer(problem)
    program, inputs = tracer.trace(batch), tracer.inputs(batch)
    with users_errors("differentiating the loss", lambda: program.differentiate_plain(inputs)):
        account = Account(program, shapes_of(inputs.weights), shapes_of(inputs.others))
    return _TracedStep(tracer, program, inputs, batch, account)


def _counted(at: _TracedStep) -> Cost:
    from gradscope.footprint.limits import rows_of

    account = at.account
    sources = dict(zip((group.name for group in at.program.layers), at.program.sources, strict=True))
    names = [name for name in sources if name in account.by_layer]
    rest = [name for name in account.by_layer if name not in sources]
    layers = [
        LayerCost(name, sources.get(name or ""), _pass(both.forward), _pass(both.backward))
        for name in [*names, *rest]
        for both in [account.by_layer[name]]
        if both.operations or both.forward.size
    ]
    return Cost(
        batch_size=rows_of(at.batch),
        layers=tuple(layers),
        lines=account.line_costs(),
        kinds=account.kind_costs(),
        uncounted=account.uncounted,
        open_loops=len(account.opened),
        repeated=_repeated(at.program, account),
    )


def _pass(half: CountedWork) -> PassCost:
    return PassCost(half.operations, half.transcendental, half.size)


def _repeated(program: Program, account: Account) -> RepeatedBlock | None:
    """The block that computes most of those that come again."""
    from gradscope.footprint.naming import named
    from gradscope.footprint.wrapped import repeats

    found = []
    for repeat in repeats(program.body):
        blocks = [eqn for block in repeat.blocks for eqn in block.eqns]
        owners = {id(eqn) for eqn in blocks} if repeat.loop is None else {id(repeat.loop)}
        where = named(repeat)
        costs = account.operations_within(owners)
        loop = repeat.loop is not None
        found.append(RepeatedBlock(where.text, where.source, repeat.count, loop, *costs))
    return max(found, key=lambda each: each.operations, default=None)


def _update(problem: Problem, at: _TracedStep, skipped: list[Skipped]) -> Update | None:
    """Of the file's own optimizer."""
    if problem.optimizer is None:
        return None
    import jax

    from gradscope.training.optimizer import RefusedStep, StepRule, stepped
    from gradscope.workload.update import update_of

    rule = StepRule.of(problem, at.tracer)
    others, consts = at.inputs.others, list(at.program.body.consts)

    def function(weights: Any, gradients: Any, state: Any, loss: Any) -> Any:
        def loss_of(leaves: Any) -> Any:
            return at.program.loss(leaves, others, consts)

        updates, state = rule(weights, gradients, state, loss, loss_of)
        return [stepped(w, u) for w, u in zip(weights, updates, strict=True)], state

    try:
        state = jax.eval_shape(rule.fresh, at.inputs.weights)
        return update_of(rule.name, function, at.inputs.weights, state)
    except RefusedStep as error:
        skipped.append(Skipped(UPDATE, error.why_not))
        return None
