"""An ArcFace head: cosines with a margin, times thirty, so that logits and first loss are large."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

SCALE, MARGIN, PEOPLE = 30.0, 0.1, 10


class FaceNet(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.l1 = nnx.Linear(40, 64, rngs=rngs)
        self.l2 = nnx.Linear(64, 32, rngs=rngs)
        self.prototypes = nnx.Param(jax.random.normal(rngs.params(), (PEOPLE, 32)))

    def __call__(self, x):
        e = self.l2(nnx.relu(self.l1(x)))
        return unit(e) @ unit(self.prototypes[...]).T


def unit(v):
    return v / (jnp.linalg.norm(v, axis=-1, keepdims=True) + 1e-6)


def loss_fn(model, batch):
    x, who = batch
    target = jax.nn.one_hot(who, PEOPLE)
    logits = SCALE * (model(x) - MARGIN * target)
    return optax.softmax_cross_entropy(logits, target).mean()


rng = np.random.default_rng(0)
who = rng.integers(0, PEOPLE, 640)
faces = rng.normal(size=(PEOPLE, 40))[who] + 0.8 * rng.normal(size=(640, 40))
batches = [(faces[i : i + 64].astype(np.float32), who[i : i + 64]) for i in range(0, 640, 64)]
model = FaceNet(nnx.Rngs(0))
optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.sgd(0.05, momentum=0.9))

EXPECTED = {"fault": None, "like": "wrong loss function"}
