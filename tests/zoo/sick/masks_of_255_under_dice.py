"""Masks of 0 and 255 under a Dice loss: what lies outside of the mask hardly counts.

Source: forum answers on a negative Dice loss: masks are read as 0 and 255."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax


def segmenter(images):
    hidden = jax.nn.relu(hk.Conv2D(8, 5)(images))
    hidden = jax.nn.relu(hk.Conv2D(8, 5)(hidden))
    return jax.nn.sigmoid(hk.Conv2D(1, 1)(hidden))


model = hk.without_apply_rng(hk.transform(segmenter))


def init(key):
    return model.init(key, images[:1])


def loss_fn(params, batch):
    scans, organs = batch
    found = model.apply(params, scans)
    overlap = jnp.sum(found * organs, axis=(1, 2, 3))
    both = jnp.sum(found, axis=(1, 2, 3)) + jnp.sum(organs, axis=(1, 2, 3))
    return 1 - jnp.mean((2 * overlap + 1) / (both + 1))


def metric(params):
    found = model.apply(params, images) > 0.5
    return 1 - jnp.sum(found & shapes) / jnp.sum(found | shapes)


rng = np.random.default_rng(0)
rows, columns = np.mgrid[:20, :20]
middle = rng.uniform(5, 15, (2, 24, 1, 1))
shapes = (np.abs(rows - middle[0]) + np.abs(columns - middle[1]) < 4)[..., None]
images = (0.5 * shapes + 0.25 * rng.normal(size=shapes.shape)).astype(np.float32)
masks = (255 * shapes).astype(np.float32)
batch = (images, masks)
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "targets out of range",
    "source": "forum answers on a negative Dice loss: masks are read as 0 and 255",
    "cause": ["mismatched-output"],
    "symptom": [],
    "layer": [],
    "line": "(2 * overlap",
    "twin": "masks_of_one_under_dice",
}
