"""What `gradscope check` must say about every file of `sample_models/`.

`rules` maps each rule that must report an error to the layers of which its findings must name at least
one; an empty tuple where the sickness belongs to the whole network or to a loop, and not to one layer.
No other error may be reported, and of a healthy file none at all.
"""

from __future__ import annotations

from typing import NamedTuple


class Expected(NamedTuple):
    verdict: str
    rules: dict[str, tuple[str, ...]]
    remark: str | None = None
    """A rule that may remark on a healthy file, as a note."""


def sick(rule: str, *layers: str) -> Expected:
    return Expected("sick", {rule: layers})


def healthy(remark: str | None = None) -> Expected:
    return Expected("healthy", {}, remark)


EXPECTED = {
    "all_layers_mlp.py": healthy(),
    "argmax_bottleneck.py": sick("blocked-gradient", "encoder.hidden", "encoder.scores"),
    "connected_parameter.py": healthy(),
    "dead_relu_mlp.py": sick("zero-gradient", "layers[2]"),
    "deep_relu_mlp.py": healthy(),
    "deep_sigmoid_mlp.py": sick("vanishing-gradient"),
    "disconnected_parameter.py": sick("disconnected-parameter", "squeeze", "expand"),
    "exploding_rnn.py": sick("exploding-through-time"),
    "frozen_backbone.py": healthy(remark="blocked-gradient"),
    "gated_rnn.py": healthy(),
    "he_init_mlp.py": healthy(),
    "huge_init_mlp.py": sick("exploding-gradient"),
    "live_relu_mlp.py": healthy(),
    "misplaced_stop_gradient.py": sick("blocked-gradient", "layers[0]", "layers[1]", "layers[2]"),
    "nan_sqrt.py": sick("non-finite"),
    "no_add_norm_transformer.py": sick("vanishing-gradient"),
    "orthogonal_rnn.py": healthy(),
    "plain_deep_convnet.py": sick("vanishing-gradient"),
    "residual_convnet.py": healthy(),
    "safe_sqrt.py": healthy(),
    "small_transformer.py": healthy(),
    "straight_through.py": healthy(),
    "vanilla_rnn.py": sick("vanishing-through-time"),
    "zero_init_head.py": healthy(),
}
