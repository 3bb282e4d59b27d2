"""Advice for a file that gives the model object of a framework and no params.

Adapters that open such models themselves will stand beside this file, one per framework, and replace
their line here.
"""

from __future__ import annotations

_EQUINOX = """  params, static = eqx.partition(model, eqx.is_inexact_array)
  def loss_fn(params, batch):
      model = eqx.combine(params, static)"""
_NNX = """  graph, params, rest = nnx.split(model, nnx.Param, ...)
  def loss_fn(params, batch):
      model = nnx.merge(graph, params, rest, copy=True)"""
_LINEN = """  def init(key):
      return model.init(key, x)
  def loss_fn(params, batch):
      y = model.apply(params, x)"""
_HAIKU = """  def init(key):
      return model.init(key, x)
  def loss_fn(params, batch, key):
      y = model.apply(params, key, x)"""
_KERAS = """  params = [v.value for v in model.trainable_variables]
  fixed = [v.value for v in model.non_trainable_variables]
  def loss_fn(params, batch):
      y, _ = model.stateless_call(params, fixed, x)"""

_ADVICE = {
    "equinox": ("Equinox", _EQUINOX),
    "flax.nnx": ("Flax NNX", _NNX),
    "flax.linen": ("Flax Linen", _LINEN),
    "haiku": ("Haiku", _HAIKU),
    "keras": ("Keras", _KERAS),
}


def framework_of(model: object) -> tuple[str, str] | None:
    """The framework's name and the lines that make params and loss_fn of its model, or `None`."""
    for kind in type(model).__mro__:
        for prefix, advice in _ADVICE.items():
            if f"{kind.__module__}.".startswith(f"{prefix}."):
                return advice
    return None
