"""The reports that every format renders: healthy, deep and sick, and one with all that can go wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from gradscope.records import (
    Accumulation,
    Chance,
    Checkpointing,
    CheckpointTrial,
    Collective,
    Communication,
    Comparison,
    CompiledMemory,
    CompilerCost,
    Connection,
    Contestant,
    Contribution,
    Cost,
    CostGrowth,
    CriticalStep,
    Curvature,
    Cut,
    DensityBin,
    DerivedOperation,
    Effect,
    Eigenvalue,
    Ending,
    Finding,
    GaussNewton,
    GradientStep,
    GrowthPoint,
    History,
    KeptArray,
    KindCost,
    Layer,
    LayerCost,
    LayerSharpness,
    LayerSteps,
    LayerUpdate,
    LineCost,
    LinePoint,
    LongerTraining,
    Measurement,
    Memory,
    MemoryLimit,
    NegativeDirection,
    NonFiniteInput,
    NonFiniteValue,
    OptimizerAtWidth,
    OwnRate,
    PairOfEnds,
    Parameter,
    PassCost,
    RangeTest,
    RateSearch,
    Recurrence,
    Remedies,
    RepeatedBlock,
    Report,
    SeedEnds,
    SeveralStarts,
    Severity,
    Skipped,
    Source,
    StateJacobian,
    StateMemory,
    StepRecord,
    TimeCredit,
    Timing,
    Tool,
    Trial,
    TriedRemedy,
    TruncatedGradient,
    Truncation,
    UpdateCost,
    ValidationRecord,
)
from tests.recording import made

TOOL = Tool(gradscope="0.1.0", jax="0.10.2", backend="cpu")
TIMING = Timing(load_s=0.42, trace_s=0.031, compile_s=2.4, run_s=0.0123)
HOSTILE = "[red]enc\x1b[31m‮der/\n::error::"


def layer(name: str, delta: float | None, **changes: object) -> Layer:
    usual = Layer(
        name=name,
        parameters=(f"{name}.w", f"{name}.b"),
        size=4160,
        source=Source("model.py", 12, "h = jax.nn.sigmoid(h @ layer['w'] + layer['b'])"),
        weight_rms=0.125,
        gradient_rms=0.0 if delta is None else delta * 3.1,
        gradient_norm=0.0 if delta is None else delta * 200,
        gradient_max=0.0 if delta is None else delta * 12,
        gradient_zero_share=0.0,
        gradient_nonfinite_share=0.0,
        activation_rms=0.734,
        activation_max=2.5,
        delta_rms=delta,
        delta_max=None if delta is None else delta * 4,
        delta_norm=None if delta is None else delta * 45.3,
        depth=1,
        op="dot_general",
        fan_in=64,
        activation="logistic",
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def parameter(of: Layer, leaf: str = "w") -> Parameter:
    return Parameter(
        name=f"{of.name}.{leaf}",
        layer=of.name,
        shape=(64, 65),
        dtype="float32",
        size=of.size,
        connection=Connection.CONNECTED,
        weight_rms=of.weight_rms,
        weight_nonfinite=0,
        gradient_rms=of.gradient_rms,
        gradient_norm=of.gradient_norm,
        gradient_max=of.gradient_max,
    )


def report(target: str, layers: tuple[Layer, ...], findings: tuple[Finding, ...] = ()) -> Report:
    flow = Measurement(2.302585, layers, tuple(parameter(of) for of in layers), custom_rules=0)
    return Report(target, TOOL, flow, findings=findings, timing=TIMING)


def healthy() -> Report:
    deltas = (0.0213, 0.0198, 0.0251, 0.0307)
    return report("model.py", tuple(layer(f"layers[{i}]", delta) for i, delta in enumerate(deltas)))


def vanishing(of: Layer) -> Finding:
    return Finding(
        rule="vanishing-gradient",
        severity=Severity.ERROR,
        layer=of.name,
        parameter=None,
        source=of.source,
        message=f"δ shrinks to 0.79 of itself at every layer, down to {of.delta_rms:.3g} at `{of.name}` "
        "(limit: 0.5 over ten layers). The layers below learn next to nothing.",
        evidence={"decay_per_layer": 0.79123456, "limit": 0.5},
        remedy="Replace the sigmoid with `jax.nn.relu` and use `jax.nn.initializers.he_normal()`.",
    )


def deep(depth: int = 100) -> Report:
    """δ falls by a fifth from each layer to the one below it."""
    layers = tuple(layer(f"encoder.blocks[{i}].mlp", 0.02 * 0.79 ** (depth - i)) for i in range(depth))
    return report("deep.py:loss_fn", layers, (vanishing(layers[0]),))


def broken() -> Report:
    """Recurrence, NaN, a cut gradient, hostile names, things not seen and not judged."""
    layers = (
        layer(
            HOSTILE, 3e-9, source=Source("mo\x1b]8;;http://x\x07del.py", 3, "x = \x1b[2J [bold]table[/bold]")
        ),
        layer("embedding", 0.0004, op="gather", gradient_zero_share=0.9953, size=25_600_000),
        layer("cell", 0.0017, uses=1, activation="tanh"),
        layer("frozen.very_long_module_name.with_many_parts.attention.output_projection", None),
        layer("head", math.nan, gradient_rms=math.nan, gradient_norm=math.nan, gradient_max=math.inf),
        layer("日本語の層", math.inf, weight_rms=0.0, gradient_nonfinite_share=0.002),
    )
    findings = (
        Finding(
            "blocked-gradient",
            Severity.WARNING,
            layers[3].name,
            None,
            Source("model.py", 31, "return jax.lax.stop_gradient(x) @ w"),
            "No gradient reaches `frozen`: every path to the loss goes through `stop_gradient`.",
            {"op": "stop_gradient"},
            "Take out the `stop_gradient`, or leave these parameters out of `params`.",
        ),
        Finding(
            "non-finite",
            Severity.ERROR,
            "head",
            "head.w",
            Source("model.py", 44, "loss = -jnp.mean(jnp.log(probabilities) * labels)"),
            "The gradient of `head` has 4160 of 4160 elements that are NaN.",
            {"non_finite": 4160, "share": 1.0},
            "Use `jax.nn.log_softmax` in place of `jnp.log(jax.nn.softmax(x))`.",
        ),
        Finding(
            "exploding-through-time",
            Severity.NOTE,
            HOSTILE,
            None,
            layers[0].source,
            f"Said of {HOSTILE}.",
            {"ratio": math.inf},
            "Clip with `optax.clip_by_global_norm(1.0)`.",
        ),
    )
    base = report("weird dir/model.py:problem", layers, findings)
    cell = Recurrence(
        name="cell",
        source=Source("model.py", 23, "_, hs = jax.lax.scan(step, h0, xs)"),
        length=80,
        layers=("cell",),
        delta_norms=tuple(2e-7 * 1.2**t for t in range(80)),
        state_rms=tuple(0.5 for _ in range(80)),
        function="tanh",
    )
    burst = replace(cell, name="decoder", length=12, delta_norms=(math.inf, math.nan, *cell.delta_norms[:10]))
    cut = Cut("stop_gradient", Source("model.py", 31), on_parameter=False)
    first = replace(
        base.flow.parameters[3], connection=Connection.BLOCKED, cuts=(cut,), nonzero_after_steps=False
    )
    measurement = replace(
        base.flow,
        loss=math.nan,
        loss_spread=0.03,
        batches=4,
        parameters=(*base.flow.parameters[:3], first, *base.flow.parameters[4:]),
        recurrences=(cell, burst),
        nonfinite_inputs=(NonFiniteInput("batch.x", 3, 640),),
        nonfinite_values=(NonFiniteValue("head", False, Source("model.py", 44), step=7),),
        unseen=(Skipped("custom_call at model.py:30", "no rule for this operation: `foo`\x07"),),
    )
    return replace(
        base,
        flow=measurement,
        skipped=(Skipped("zero-gradient", "it needs an optimizer step, and the loss is not finite"),),
    )


def _trial(rate: float | None, seed: int, losses: tuple[float, ...], **more: Any) -> Trial:
    dead = next((step for step, loss in enumerate(losses) if not math.isfinite(loss)), None)
    final = math.inf if dead is not None else losses[-1]
    return Trial(rate, seed, losses, final, None, dead, stopped_early=False, **more)


def _curve(final: float) -> tuple[float, ...]:
    return tuple(2.0 + (final - 2.0) * step / 9 if math.isfinite(final) else math.nan for step in range(10))


def _contestant(name: str, final: float, **more: Any) -> Contestant:
    usual: dict[str, Any] = {
        "code": f"optax.{name}(0.01)",
        "kind": "adaptive",
        "usual_rate": 1e-3,
        "learning_rate": 0.01,
        "final_loss": final,
        "final_low": final,
        "final_high": final,
        "validation_loss": None,
        "steps_to_target": 7.0,
        "seconds_to_target": 0.021,
        "step_seconds": 0.003,
        "evaluations_per_step": 1.0,
        "state_bytes": 800,
        "state_to_parameters": 2.0,
        "tolerant_decades": 1.25,
        "loss_at_tenth": 0.4,
        "loss_at_tenfold": 1.2,
        "diverged_share": 0.0,
        "tied_with_best": False,
        "summary": "Lowest loss.",
        "trials": (_trial(0.01, 0, _curve(final)),),
        "settings": {"b1": 0.9},
    }
    return Contestant(name=name, **{**usual, **more})


def compared() -> Report:
    """Optimizers: a winner, a tie, one without a learning rate, and one with a hostile name that diverged."""
    rows = (
        _contestant(
            "adam",
            0.5,
            weight_decay=0.1,
            usual_decay=1e-4,
            tried=2,
            at_edge=("decay",),
            updates=(
                LayerUpdate("layers[0]", 1e-3, 1e-4, 0.01, 0.001, 0.31, 0.12),
                LayerUpdate(HOSTILE, 0.0, None, None, None, None, -0.2),
            ),
            trials=(
                _trial(0.01, 0, _curve(0.5), weight_decay=0.1),
                _trial(0.01, 3, _curve(0.45), weight_decay=0.1, tuning=True),
                _trial(0.01, 3, _curve(0.7), weight_decay=0.0, tuning=True),
            ),
        ),
        _contestant("sgd", 0.51, tied_with_best=True, state_bytes=0, state_to_parameters=0.0, kind="fixed"),
        _contestant("yours", 1.9, learning_rate=None, usual_rate=None, steps_to_target=math.inf),
        _contestant(
            HOSTILE, math.inf, steps_to_target=math.inf, seconds_to_target=math.inf, diverged_share=1.0
        ),
    )
    updated = LayerUpdate("head", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    rows = (*rows[:-1], replace(rows[-1], updates=(updated,)))
    found = Comparison(
        contestants=rows,
        target=0.65,
        target_is_users=False,
        initial_loss=2.0,
        steps=10,
        seeds=(0, 1, 2),
        window=1,
        schedule="cosine",
        clip=1.0,
        parameters=100,
        parameter_bytes=400,
        engine="loop: fewer than 50,000 parameters and no convolution",
        compiled=8,
        recommendation="optimizer = optax.adam(0.01)",
        reasons=(
            "With 3 seeds there is no significant difference between adam and sgd.",
            "Your optimizer ends at 1.9, adam at 0.5.",
        ),
        users="yours",
        profile_scores={"adam": 1.0},
        tuning_seeds=(3,),
        widths=(
            OptimizerAtWidth(64, 1000, "adam", 0.01, 0.1, 0.5, 1.0, 1.0, 1.0),
            OptimizerAtWidth(128, 3000, "adam", 0.003, 0.1, 0.4, 1.0, 1.0, 1.0),
            OptimizerAtWidth(64, 1000, HOSTILE, None, None, math.inf, None, None, None),
        ),
        reference="adam",
        starts=SeveralStarts(
            HOSTILE,
            (0, 1),
            4,
            2.0,
            (0.5, 0.6),
            (PairOfEnds((0, 1), 1.3, (0.5, 0.9, math.inf, 0.6), math.inf),),
        ),
    )
    return Report("model.py", TOOL, optimizers=found, timing=TIMING)


def searched() -> Report:
    """A range test over two seeds."""
    rates = tuple(1e-7 * 10 ** (step / 5) for step in range(40))
    losses = tuple(2.0 - 1.5 * math.exp(-((step - 30) ** 2) / 20) for step in range(40))
    found = RateSearch(
        optimizer="adam",
        code="optax.adam(0.01)",
        suggestion=0.01,
        low=0.008,
        high=0.02,
        others={"valley": 0.004, "steepest": 0.05},
        tests=(RangeTest(0, rates, losses), RangeTest(1, rates, losses)),
        step_seconds=0.001,
    )
    return Report("model.py", TOOL, rates=found, timing=TIMING)


MONITORED = (
    HOSTILE,
    "embedding",
    *(f"encoder.blocks[{i}].attention.output_projection" for i in range(3)),
    "head",
)


def monitored_history() -> History:
    """δ grows until it is not finite; one layer has none, one dies, one is frozen, a weight starts at 0."""

    def of(t: int) -> StepRecord:
        burst = 1.3 ** max(0, t - 70)
        deltas = [1e-6 * 4.0**place * burst for place in range(len(MONITORED))]
        if t >= 110:
            deltas = [math.inf] * len(MONITORED)
        deltas[0], deltas[1] = math.nan, deltas[1] if t < 40 else 0.0
        updates = [1e-3 * burst if t < 110 else math.inf] * len(MONITORED)
        updates[2] = 0.0
        return made.step(
            t,
            math.nan if t >= 112 else 0.5 + 1.8 * 0.97**t + 0.01 * burst,
            math.inf if t >= 110 else 2.0 * burst,
            delta_rms=deltas,
            update_rms=updates,
            weight_rms=[0.0 if place == 5 and t == 0 else 0.5 for place in range(len(MONITORED))],
        )

    found = made.history(120, of, MONITORED, Ending.NOT_FINITE)
    looks = tuple(ValidationRecord(step, 2.4 * 0.99**step) for step in range(0, 101, 20))
    return replace(found, asked=200, validation=looks)


def monitored() -> Report:
    finding = Finding(
        "learning-rate-too-high",
        Severity.ERROR,
        None,
        None,
        None,
        "The loss rises from 0.72 at step 70.",
        {"step": 70},
        "Lower the learning rate.",
    )
    return Report("model.py", TOOL, history=monitored_history(), findings=(finding,), timing=TIMING)


def remembered() -> Report:
    """What a step holds: layers and operations with hostile names, checkpoints, a limit that it exceeds."""
    mib = 2**20
    line = Source("model.py", 12, f"h = jax.nn.gelu(h @ w)  # {HOSTILE}")
    tanh = DerivedOperation("sub", "tanh", line)
    product = DerivedOperation("dot_general", "dot_general", line)
    kept = (
        KeptArray((12, 64, 1024), "float32", 3 * mib, 12, "layers[0]", tanh, product),
        KeptArray((64, 1024), "bfloat16", mib // 8, 1, "layers[0]", product, product),
        KeptArray((64, 1024), "bool", mib // 16, 1, HOSTILE, DerivedOperation(HOSTILE, HOSTILE), None),
        KeptArray((64,), "int32", 256, 1, None, DerivedOperation("gt", "gt", line), product),
    )
    xla = CompiledMemory(2 * mib, mib, 5 * mib, 0)
    trials = (
        CheckpointTrial("nothing_saveable", mib, 1.3e9, replace(xla, temporaries=mib), False, 0.013, 2e-7),
        CheckpointTrial("dots_saveable", 2 * mib, 1.1e9),
    )
    tried = Checkpointing(
        block="block",
        source=line,
        count=12,
        loop=False,
        operations=1e9,
        step_s=0.01,
        trials=trials,
        recommended="nothing_saveable",
        line="block = jax.checkpoint(block)",
    )
    halves = Accumulation(2, 32, "mean", 3e-7)
    limit = MemoryLimit(7 * mib, ((32, 6 * mib), (64, 10 * mib)), mib / 8, 32, halves)
    finding = Finding(
        rule="memory-over-limit",
        severity=Severity.ERROR,
        layer=None,
        parameter=None,
        source=line,
        message="A training step with 64 rows takes 10 MiB at its peak, and the limit is 7 MiB.",
        evidence={"peak_bytes": 10 * mib, "limit": 7 * mib},
        remedy="`block = jax.checkpoint(block)` takes the peak to 6 MiB: it fits.",
    )
    found = Memory(
        parameters=mib,
        data=mib,
        gradients=mib,
        optimizer_state=2 * mib,
        kept=kept,
        kept_arguments=mib,
        working=4 * mib,
        batch_size=64,
        compiled=xla,
        checkpointing=tried,
        limit=limit,
    )
    return Report("model.py", TOOL, memory=found, findings=(finding,), timing=TIMING)


def communications(line: Source) -> tuple[Communication, ...]:
    """Two meshes: a loop without a known number of steps, hostile names, groups that are no axes."""
    first = tuple(
        Collective("all-reduce", f"blocks[{number}].up", line, "backward", ("data",), 4, 2, 8192, 12288.0)
        for number in range(13)
    )
    rest = (
        Collective(HOSTILE, HOSTILE, None, "forward", (HOSTILE,), 2, 1, 100, 50.0),
        Collective("all-reduce", None, None, "forward", (), 8, 1, 4, 7.0),
        Collective("all-gather", None, None, "update", ("model",), 2, 1, 2048, 1024.0),
    )
    return (
        Communication({"data": 4, HOSTILE: 2}, 8, (*first, *rest), 2**20, 2**23, True, 1),
        Communication({"fsdp": 8}, 8, first[:1], 2**17, 2**22, True),
    )


def costly() -> Report:
    """What a step computes: layers alike, one with a hostile name, seconds shared out, growth, a limit."""
    line = Source("model.py", 12, f"h = jax.nn.gelu(h @ w)  # {HOSTILE}")
    layers = tuple(
        LayerCost(
            f"blocks[{number}].up",
            line,
            PassCost(2e9, 1e6, 4e6, 0.010),
            PassCost(4e9, 0.0, 8e6, 0.021),
        )
        for number in range(14)
    )
    odd = LayerCost(
        HOSTILE, None, PassCost(0.0, 0.0, 0.0, 1e-5), PassCost(3.0, 0.0, 12.0, None), estimated=True
    )
    rest = LayerCost(None, None, PassCost(1e6, 0.0, 1e6, 0.001), PassCost(0.0, 0.0, 0.0, 0.0))
    points = tuple(
        GrowthPoint(size, 5e8 * size + 1e5 * size**2, 1e9 * size + 2e5 * size**2, *times)
        for size, times in (
            (32, (0.011, 0.010, 0.012)),
            (64, (0.02, 0.019, 0.022)),
            (128, (0.042, 0.04, 0.05)),
            (5000, ()),
        )
    )
    growth = (
        CostGrowth("length", "axis 1 of batch[0]", 128, points, 1.2, 0.97, (0.0, 1.5e9, 3e5), 0.025, 5000),
        CostGrowth("batch", "rows", 8, points[:3], 1.0, None, (0.0, 1e9)),
    )
    finding = Finding(
        rule="cost-over-limit",
        severity=Severity.ERROR,
        layer=None,
        parameter=None,
        source=line,
        message="A training step with 8 rows takes 8.5e+10 operations, and the limit is 2e+10.",
        evidence={"operations": 8.5e10, "limit": 2e10},
        remedy="Use a smaller batch.",
    )
    found = Cost(
        batch_size=8,
        layers=(*layers, odd, rest),
        lines=(
            LineCost("dot_general", line, 14, 2.8e10, 5.5e10, 1.5e8),
            LineCost(HOSTILE, None, 1, 0.0, 3.0, 0.0),
        ),
        kinds=(KindCost("matrix products", 2.8e10, 5.6e10), KindCost("elementwise", 1e6, 3.0)),
        uncounted=("fft",),
        open_loops=1,
        compiled=CompilerCost(8.4e10, 8.6e10, 4e8, 8.4e10),
        whole_s=0.4,
        low_s=0.39,
        high_s=0.44,
        parts=16,
        call_s=1e-5,
        update=UpdateCost("your optimizer", 1e6, 3e6, 0.002),
        repeated=RepeatedBlock("block", line, 14, False, 2.8e10, 5.6e10),
        growth=growth,
        limit=2e10,
        communication=communications(line),
    )
    return Report("model.py", TOOL, cost=found, findings=(finding,), timing=TIMING)


def curved() -> Report:
    """Beyond the edge of stability: hostile names, a layer that was not reached, one not converged."""
    line = Source("model.py", 12, f"h = jax.nn.gelu(h @ w)  # {HOSTILE}")
    shares = (0.01, 0.0, 0.95, 0.03, 0.0, 0.0, 0.01)
    bins = tuple(DensityBin(2.0 * i - 5, 2.0 * i - 3, share) for i, share in enumerate(shares))
    points = tuple(LinePoint(d, -2 * d * d, -1.9 * d * d) for d in (-0.5, -0.1, 0.1, 0.5))
    finding = Finding(
        rule="unstable-learning-rate",
        severity=Severity.WARNING,
        layer=None,
        parameter=None,
        source=None,
        message="The largest eigenvalue of the Hessian is at least 8, and steps at a rate of 0.5 shrink on "
        "parabolas up to a curvature of 4: along that direction they overshoot.",
        evidence={
            "largest_eigenvalue": 8.0,
            "stable_curvature": 4.0,
            "rate": 0.5,
            "ratio": 2.0,
            "limit": 1.0,
        },
        remedy="Start at a rate below 0.25, or warm up to the higher one.",
    )
    found = Curvature(
        parameters=4160,
        left_out=64,
        batches=1,
        dtype="float32",
        loss=2.3,
        gradient_norm=0.5,
        noise=2e-6,
        products=120,
        asymmetry=2e-3,
        largest=Eigenvalue(8.0, 0.02, True),
        smallest=Eigenvalue(-4.0, 0.9, False),
        trace=30.0,
        trace_error=2.0,
        probes=12,
        density=bins,
        layers=(
            LayerSharpness("layers[0]", 4096, line, Eigenvalue(6.0, 0.1, True)),
            LayerSharpness(HOSTILE, 64, line, Eigenvalue(0.03, 0.02, False)),
            LayerSharpness("head", 64, None, None),
        ),
        gradient_step=GradientStep(0.5, 2.0, 0.5, 0.0625, -0.01),
        gauss_newton=GaussNewton(
            outputs=640,
            source=line,
            output_low=0.0,
            output_high=0.3,
            largest=Eigenvalue(7.5, 0.03, True),
            products=12,
            tries=7,
            damping=0.0075,
            change=-0.6,
            gradient_change=-0.2,
            gradient_rate=0.3,
        ),
        negative=NegativeDirection(-4.0, -0.01, points, 0.7, HOSTILE),
        critical=CriticalStep("your optimizer", 0.6, 0.25, 0.3),
        own=OwnRate("proportional", 0.5, 0.0, 4.0),
    )
    skipped = (Skipped("the sharpness of 1 of 3 layers", "time was up: --budget gives more"),)
    return Report("model.py", TOOL, curvature=found, findings=(finding,), skipped=skipped, timing=TIMING)


def repaired() -> Report:
    """Remedies of each effect; hostile words in a remedy, an edit and a reason."""
    finding = replace(vanishing(layer("layers[0]", 1e-6)), source=Source("model.py", 2, "y = x - 1"))
    diff = "--- a/model.py\n+++ b/model.py\n@@ -1,3 +1,4 @@\n x = 1\n-y = x - 1\n+y = x - 2\n+z = y\n # end\n"
    hostile = f"+# {HOSTILE.splitlines()[0]}\n"
    before = SeedEnds((2.3, 2.4, 2.2), (2.3, math.nan, 2.1))
    rules = ("vanishing-gradient",)
    tried = (
        TriedRemedy(
            "take ReLU for sigmoid",
            Effect.HELPS,
            SeedEnds((2.3, 2.4, 2.2), (0.2, 0.3, 0.25)),
            rules,
            beats_chance=True,
            cured=rules,
            delta_ratio=0.71,
            checked=True,
            diff=diff,
        ),
        TriedRemedy(
            f"take the last axis off `{HOSTILE}`",
            Effect.CURES,
            SeedEnds((4.0, 4.1, 4.2), (0.5, 0.6, 0.4)),
            rules,
            changes_loss=True,
            cured=("broadcast-loss",),
            caused=("zero-gradient",),
            checked=True,
            diff=diff + hostile,
        ),
        TriedRemedy("mix the rows", Effect.NO_GAIN, before, rules, diff=diff),
        TriedRemedy("clip", Effect.WORSE, SeedEnds((2.3,) * 3, (math.inf, 9.0, 8.0)), rules, diff=diff),
        TriedRemedy("add a residual", Effect.FAILED, None, rules, diff=diff, reason=f"TypeError: {HOSTILE}"),
    )
    chance = Chance(5, "learning rate times 3.1, weights times 0.2", SeedEnds((2.0,) * 3, (1.0, 1.1, 0.9)))
    found = Remedies(
        100,
        (0, 1, 2),
        4,
        "your optimizer",
        before,
        tried,
        chance,
        LongerTraining(400, 2.1, 0.05),
        2e-6,
        untried=7,
    )
    return replace(report("model.py", (layer("layers[0]", 1e-6),), (finding,)), remedies=found)


def through_time() -> Report:
    """Two layers in a loop, one that grows until it is infinite, and hostile names."""
    falling = tuple(0.5 * 0.7 ** (30 - step) for step in range(30))
    shares = (*[0.001] * 26, -0.1, 0.2, 0.3, 0.574)
    credit = TimeCredit(
        name="scan at model.py:12",
        source=Source("model.py", 12, "h, _ = jax.lax.scan(step, h, xs)"),
        length=30,
        layers=(LayerSteps("cell", falling), LayerSteps(HOSTILE, (0.0, *falling[1:]))),
        contributions=(
            Contribution(("cell.w_input", "cell.w_recurrent"), 1.25, falling, shares),
            Contribution((f"{HOSTILE}.b",), 0.0, falling, (math.nan,) * 30),
        ),
        memories=(
            StateMemory(
                2,
                29,
                falling,
                14,
                (StateJacobian(0, 0.61, 1.2, 8, exact=True), StateJacobian(29, 0.72, 1.31, 8, exact=True)),
            ),
            StateMemory(
                1, 27, (0.2,) * 27 + (0.3,), None, (StateJacobian(0, math.nan, None, None, exact=False),)
            ),
        ),
    )
    exploding = TimeCredit(
        name="scan at model.py:20",
        source=None,
        length=3,
        layers=(LayerSteps("other", (math.inf, 2e30, 1.0)),),
        contributions=(),
        memories=(StateMemory(1, 2, (math.nan, 2e30, 1.0), None),),
    )
    lost = Truncation(
        10,
        0.0553,
        0.998,
        (
            TruncatedGradient("cell.w_input", 0.08, 0.99679),
            TruncatedGradient(f"{HOSTILE}.b", 1.0, None),
            TruncatedGradient("head.w", 0.0, 1.0),
        ),
    )
    run = healthy()
    assert run.flow is not None
    return replace(run, flow=replace(run.flow, time_credit=(credit, exploding), truncation=lost))


CANNED = {
    "healthy": healthy,
    "deep": deep,
    "broken": broken,
    "compared": compared,
    "searched": searched,
    "monitored": monitored,
    "repaired": repaired,
    "remembered": remembered,
    "curved": curved,
    "costly": costly,
    "through_time": through_time,
}
