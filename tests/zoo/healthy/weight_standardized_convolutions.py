"""Convolutions with standardized weights, drawn of unit normals, each before a group norm."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax


class WSConv(hk.Module):
    def __init__(self, channels, stride=1, name=None):
        super().__init__(name=name)
        self.channels, self.stride = channels, stride

    def __call__(self, x):
        w = hk.get_parameter("w", (3, 3, x.shape[-1], self.channels), init=hk.initializers.RandomNormal(1.0))
        gain = hk.get_parameter("gain", (self.channels,), init=jnp.ones)
        mean, var = w.mean((0, 1, 2)), w.var((0, 1, 2))
        fan_in = w[..., 0].size
        w = gain * (w - mean) / jnp.sqrt(var * fan_in + 1e-4)
        return jax.lax.conv_general_dilated(
            x, w, (self.stride,) * 2, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )


@hk.without_apply_rng
@hk.transform
def net(x):
    for i, stride in enumerate([1, 2, 2]):
        x = WSConv(16, stride)(x)
        x = jax.nn.relu(hk.GroupNorm(4)(x))
    return hk.Linear(3, w_init=jnp.zeros)(x.mean((1, 2)))


def loss_fn(params, images, labels):
    return optax.softmax_cross_entropy_with_integer_labels(net.apply(params, images), labels).mean()


rng = np.random.default_rng(0)
labels = rng.integers(0, 3, 256)
y, x = np.mgrid[0:12, 0:12]
waves = np.stack([np.sin(x), np.sin(y), np.sin(x + y)])
images = (waves[labels] + 0.7 * rng.normal(size=(256, 12, 12)))[..., None].astype(np.float32)
batches = [(images[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
params = net.init(jax.random.PRNGKey(0), images[:1])
optimizer = optax.sgd(0.05, momentum=0.9)

EXPECTED = {"fault": None, "like": "wrong weight initialization"}
