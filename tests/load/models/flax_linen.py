"""Flax Linen: statistics and dropout, scanned and rematerialized blocks, boxes, values for a module."""

import jax
import numpy as np
import optax
from flax import linen as nn
from flax.core import freeze

from tests.load.models.case import Case, Made

X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 2, 2)
Y = np.arange(16) % 3


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(x))
        return nn.Dropout(0.5, deterministic=not train)(nn.relu(x))


class Net(nn.Module):
    def setup(self):
        self.layers = [Block() for _ in range(2)]
        self.head = nn.Dense(3)

    def __call__(self, x, train=False):
        for layer in self.layers:
            x = layer(x, train)
        return self.head(x)


class Step(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return nn.tanh(nn.Dense(4)(x)), None


class Deep(nn.Module):
    @nn.compact
    def __call__(self, x):
        gain = self.param("gain", nn.initializers.ones, ())
        x = nn.remat(nn.Dense)(4, name="inner")(x)
        stacked = nn.scan(Step, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        x, _ = stacked(name="steps")(x, None)
        return gain * nn.Dense(3, name="out")(x)


class Boxed(nn.Module):
    @nn.compact
    def __call__(self, x):
        init = nn.with_partitioning(nn.initializers.lecun_normal(), ("rows", "columns"))
        return nn.Dense(3, kernel_init=init, name="first")(x)


def cross_entropy(logits):
    return optax.softmax_cross_entropy_with_integer_labels(logits, Y).mean()


def at(variables, name):
    found = variables["params"]
    for step in name.split("."):
        found = found[step]
    return nn.meta.unbox(found)


def made(module, variables, of_variables, kinds, parameters, model=None, loss_fn=None):
    """`of_variables` is the loss written out, as a function of what `module.init` returns."""
    params, rest = variables["params"], {k: v for k, v in variables.items() if k != "params"}
    loss, found = jax.value_and_grad(lambda params: of_variables({**rest, "params": params}))(params)
    return Made(
        module if model is None else model,
        loss_fn,
        {"image": X, "label": Y},
        loss=float(loss),
        weight=lambda name: at(variables, name),
        gradient=lambda name: at({"params": found}, name),
        kinds=kinds,
        parameters=parameters,
    )


def dense(*names):
    return tuple(f"{name}.{leaf}" for name in names for leaf in ("bias", "kernel"))


KINDS = {"Dense_0": "Dense", "BatchNorm_0": "BatchNorm"}
BLOCKS = {f"layers_{i}.{name}": kind for i in (0, 1) for name, kind in KINDS.items()}
NET_PARAMETERS = (
    *dense("head", "layers_0.Dense_0", "layers_1.Dense_0"),
    *(f"layers_{i}.BatchNorm_0.{leaf}" for i in (0, 1) for leaf in ("bias", "scale")),
)


def net(model=None, loss_fn=None, changed=lambda variables: variables):
    module = Net()
    variables = changed(module.init(jax.random.PRNGKey(0), X.reshape(16, -1)))

    def of_variables(variables):
        rngs = {"dropout": jax.random.PRNGKey(1)}
        return cross_entropy(
            module.apply(variables, X.reshape(16, -1), train=True, mutable=["batch_stats"], rngs=rngs)[0]
        )

    def of_params(params, batch_stats, batch):
        rngs = {"dropout": jax.random.PRNGKey(1)}
        variables = {"params": params, "batch_stats": batch_stats}
        x = batch["image"].reshape(16, -1)
        logits, state = module.apply(variables, x, train=True, mutable=["batch_stats"], rngs=rngs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean(), state

    losses = {"params": of_params, "variables": lambda variables, batch: of_variables(variables)}
    return made(
        module, variables, of_variables, {"head": "Dense", **BLOCKS}, NET_PARAMETERS,
        loss_fn=losses[loss_fn or "params"],
        model=None if model is None else model(variables),
    )  # fmt: skip


def deep():
    module = Deep()
    variables = module.init(jax.random.PRNGKey(0), X.reshape(16, -1))

    def loss_fn(params, batch):
        return cross_entropy(module.apply({"params": params}, batch["image"].reshape(16, -1)))

    return made(
        module, variables, lambda variables: loss_fn(variables["params"], {"image": X}),
        {"gain": "Deep", "inner": "Dense", "out": "Dense"}
        | {f"steps[{i}].Dense_0": "Dense" for i in range(3)},
        ("gain", *dense("inner", "out", "steps.Dense_0")),
        loss_fn=jax.jit(loss_fn),
    )  # fmt: skip


def boxed(model):
    module = Boxed()
    variables = module.init(jax.random.PRNGKey(0), X.reshape(16, -1))

    def loss_fn(params, batch):
        return cross_entropy(module.apply({"params": params}, batch["image"].reshape(16, -1)))

    return made(
        module, variables, lambda variables: loss_fn(variables["params"], {"image": X}),
        {"first": "Dense"}, dense("first"), loss_fn=loss_fn, model=model(variables),
    )  # fmt: skip


CASES = [
    Case("statistics and dropout, made from the batch", "flax.linen", net),
    Case("a loss of all variables", "flax.linen", lambda: net(loss_fn="variables")),
    Case(
        "variables that the user made",
        "flax.linen",
        lambda: net(loss_fn="variables", model=lambda variables: variables),
    ),
    Case(
        "frozen variables", "flax.linen", lambda: net(loss_fn="variables", model=lambda v: v, changed=freeze)
    ),
    Case("scan, remat and a jitted loss", "flax.linen", deep),
    Case("boxed values, made from the batch", "flax.linen", lambda: boxed(lambda variables: None)),
    Case("boxed values of the user", "flax.linen", lambda: boxed(lambda variables: variables["params"])),
]
