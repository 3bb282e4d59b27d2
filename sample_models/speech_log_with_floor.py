"""Spoken words told apart by a convolution and a GRU over log mel energies (Flax Linen). Healthy.

The clips are padded with digital silence, whose energy is exactly 0: the floor in the logarithm keeps
those frames finite. The twin of `speech_log_of_silence.py`.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax

RATE, CLIP, FRAME, HOP, BANDS = 8000, 4096, 256, 128, 20
FORMANTS = ((730, 1090), (270, 2290), (300, 870), (530, 1840))
"""Hertz, of the vowels in "father", "see", "boot" and "bed" (Peterson and Barney 1952)."""
FLOOR = 1e-5


def mel_filters():
    """Triangles that are evenly spaced in mel, as a matrix from frequencies to bands."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    hertz = np.linspace(0, RATE / 2, FRAME // 2 + 1)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def log_mel(waves):
    starts = np.arange(0, CLIP - FRAME + 1, HOP)
    frames = waves[:, starts[:, None] + np.arange(FRAME)] * np.hanning(FRAME).astype(np.float32)
    power = jnp.square(jnp.abs(jnp.fft.rfft(frames)))
    return jnp.log(power @ mel_filters() + FLOOR)


class Words(nn.Module):
    @nn.compact
    def __call__(self, waves):
        x = log_mel(waves)
        x = (x - x.mean((1, 2), keepdims=True)) / x.std((1, 2), keepdims=True)
        x = nn.relu(nn.Conv(32, (3,), name="conv")(x))
        x = nn.RNN(nn.GRUCell(32), name="gru")(x)
        return nn.Dense(len(FORMANTS), name="word")(x.mean(axis=1))


model = Words()


def loss_fn(params, batch):
    logits = model.apply({"params": params}, batch["wave"])
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["word"]).mean()
    return loss, {"accuracy": (logits.argmax(-1) == batch["word"]).mean()}


def say(rng, vowel):
    """Half a second: silence, a vowel of a random voice and length, silence."""
    length = rng.integers(CLIP // 4, CLIP // 2)
    start = rng.integers(0, CLIP - length)
    time, pitch = np.arange(length) / RATE, rng.uniform(90, 240)
    harmonics = pitch * np.arange(1, RATE / 2 // pitch)
    near = [np.exp(-(((harmonics - f * rng.normal(1, 0.04)) / 150) ** 2)) for f in FORMANTS[vowel]]
    voice = np.sin(2 * np.pi * harmonics[:, None] * time).T @ (near[0] + 0.5 * near[1] + 0.01)
    clip = np.zeros(CLIP, np.float32)
    clip[start : start + length] = np.hanning(length) * (voice + 0.05 * rng.normal(size=length))
    return clip / np.abs(clip).max()


def data():
    rng = np.random.default_rng(0)
    word = rng.integers(0, len(FORMANTS), 96)
    return {"wave": np.stack([say(rng, w) for w in word]), "word": word.astype(np.int32)}


optimizer = optax.adam(3e-3)
