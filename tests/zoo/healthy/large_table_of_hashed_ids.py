"""A table of twenty thousand hashed ids of which a batch touches a few hundred."""

import flax.linen as nn
import jax
import numpy as np
import optax

BUCKETS, FIELDS = 20_000, 3


class FactorizationMachine(nn.Module):
    @nn.compact
    def __call__(self, ids):
        weight = nn.Embed(BUCKETS, 1, embedding_init=nn.initializers.zeros, name="weight")(ids)
        factor = nn.Embed(BUCKETS, 8, embedding_init=nn.initializers.normal(0.05), name="factor")(ids)
        bias = self.param("bias", nn.initializers.zeros, ())
        pairs = 0.5 * (factor.sum(axis=1) ** 2 - (factor**2).sum(axis=1)).sum(axis=-1)
        return bias + weight.sum(axis=(1, 2)) + pairs


fm = FactorizationMachine()


def loss_fn(params, batch):
    ids, clicked = batch
    return optax.sigmoid_binary_cross_entropy(fm.apply(params, ids), clicked).mean()


rng = np.random.default_rng(0)
fields = rng.zipf(1.6, (4096, FIELDS)) % 300
ids = (fields * 7919 + np.arange(FIELDS) * 104_729) % BUCKETS
appeal = rng.normal(size=(FIELDS, 300))
score = sum(appeal[f, fields[:, f]] for f in range(FIELDS)) - 1
clicked = (rng.random(4096) < 1 / (1 + np.exp(-3 * score))).astype(np.float32)
batches = [(ids[i : i + 256], clicked[i : i + 256]) for i in range(0, 4096, 256)]
params = fm.init(jax.random.PRNGKey(0), ids[:1])
optimizer = optax.adagrad(0.3)

EXPECTED = {"fault": None, "like": "wrong embedding"}
