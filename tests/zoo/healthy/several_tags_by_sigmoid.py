"""Questions with several tags each, by a sigmoid for each tag."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

TAGS = 6


class Tagger(nn.Module):
    @nn.compact
    def __call__(self, counts):
        h = nn.relu(nn.Dense(64)(counts))
        h = nn.LayerNorm()(h)
        return nn.Dense(TAGS)(h)


tagger = Tagger()


def loss_fn(params, batch):
    counts, tags = batch
    logits = tagger.apply(params, counts)
    return optax.sigmoid_binary_cross_entropy(logits, tags).mean()


def predict(params, counts):
    return nn.sigmoid(tagger.apply(params, counts))


def metric(params):
    """How many of the tags are wrong."""
    return jnp.mean((predict(params, counts) > 0.5) != (tags > 0.5))


rng = np.random.default_rng(0)
tags = (rng.random((768, TAGS)) < 0.4).astype(np.float32)
words_of_tag = rng.gamma(0.3, size=(TAGS, 100))
counts = np.log1p(rng.poisson(3 * tags @ words_of_tag + 0.3)).astype(np.float32)
batches = [(counts[i : i + 96], tags[i : i + 96]) for i in range(0, 768, 96)]
params = tagger.init(jax.random.PRNGKey(0), counts[:1])
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "wrong loss function"}
