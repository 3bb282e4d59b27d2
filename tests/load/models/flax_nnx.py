"""Flax NNX: BatchNorm and dropout, shared weights, LoRA."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from tests.load.models.case import Case, Made

X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4)
Y = np.sin(X.sum(1, keepdims=True))


class Block(nnx.Module):
    def __init__(self, width, rngs):
        self.linear = nnx.Linear(width, width, rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return nnx.relu(self.dropout(self.norm(self.linear(x))))


class Net(nnx.Module):
    def __init__(self, rngs):
        self.blocks = nnx.List([Block(4, rngs) for _ in range(2)])
        self.head = nnx.Sequential(nnx.Linear(4, 8, rngs=rngs), nnx.relu, nnx.Linear(8, 1, rngs=rngs))
        self.gain = nnx.Param(jnp.ones(()))
        self.table = np.ones(3)

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.gain * self.head(x)


class Tied(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(4, 4, rngs=rngs)
        self.again = self.first
        self.out = nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.tanh(self.again(nnx.tanh(self.first(x)))))


class Adapted(nnx.Module):
    def __init__(self, rngs):
        self.backbone = nnx.Linear(4, 4, rngs=rngs)
        self.lora = nnx.LoRA(4, 2, 1, b_initializer=nnx.initializers.normal(), rngs=rngs)

    def __call__(self, x):
        return self.lora(nnx.tanh(self.backbone(x)))


def loss_fn(model, batch):
    x, y = batch
    return jnp.mean((model(x) - y) ** 2)


def loss_with_key(model, batch, rngs: nnx.Rngs):
    x, y = batch
    return jnp.mean((model(x + jax.random.normal(rngs.noise(), x.shape)) - y) ** 2), {"y": y}


def made(model, kinds, parameters, wrt=nnx.Param, loss=loss_fn, optimizer=None, rngs=()):
    twin = nnx.clone(model)
    extra = [each() for each in rngs]
    aux = loss is loss_with_key
    value, found = nnx.value_and_grad(loss, argnums=nnx.DiffState(0, wrt), has_aux=aux)(twin, (X, Y), *extra)
    gradients = nnx.clone(model)
    nnx.update(gradients, found)
    return Made(
        model,
        loss,
        (X, Y),
        loss=float(value[0] if aux else value),
        weight=lambda name: eval(f"model.{name}", {"model": model})[...],
        gradient=lambda name: eval(f"model.{name}", {"model": gradients})[...],
        kinds=kinds,
        parameters=parameters,
        optimizer=optimizer,
    )


def blocks(loss=loss_fn, rngs=()):
    kinds = {
        f"blocks[{i}].{name}": kind
        for i in (0, 1)
        for name, kind in (("linear", "Linear"), ("norm", "BatchNorm"))
    }
    kinds |= {"head.layers[0]": "Linear", "head.layers[2]": "Linear", "gain": "Net"}
    parameters = ("gain", *(f"head.layers[{i}].{leaf}" for i in (0, 2) for leaf in ("kernel", "bias")))
    parameters += tuple(f"blocks[{i}].linear.{leaf}" for i in (0, 1) for leaf in ("kernel", "bias"))
    parameters += tuple(f"blocks[{i}].norm.{leaf}" for i in (0, 1) for leaf in ("scale", "bias"))
    return made(Net(nnx.Rngs(0)), kinds, parameters, loss=loss, rngs=rngs)


def tied():
    kinds = {"again": "Linear", "out": "Linear"}
    parameters = ("again.kernel", "again.bias", "out.kernel", "out.bias")
    return made(Tied(nnx.Rngs(0)), kinds, parameters)


def lora():
    model = Adapted(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.LoRAParam)
    kinds = {"lora.lora_a": "LoRA", "lora.lora_b": "LoRA"}
    return made(model, kinds, tuple(kinds), wrt=nnx.LoRAParam, optimizer=optimizer)


def first_draw():
    return nnx.Rngs(jax.random.fold_in(jax.random.PRNGKey(0), 0))


CASES = [
    Case("blocks", "flax.nnx", blocks),
    Case("rngs and aux", "flax.nnx", lambda: blocks(loss_with_key, (first_draw,))),
    Case("tied weights", "flax.nnx", tied),
    Case("LoRA", "flax.nnx", lora),
]
