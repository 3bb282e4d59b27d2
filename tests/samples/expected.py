"""What `gradscope check` must say about every file of `sample_models/`.

Errors of the one rule named, at one of the layers named, and no other error; of a healthy file none at
all. `line` is a part of the source line that the finding must point at; empty where there is no one line:
nothing in the program reads a disconnected parameter.
"""

from __future__ import annotations

from typing import NamedTuple


class Expected(NamedTuple):
    verdict: str
    rule: str | None = None
    layers: tuple[str | None, ...] = ()
    """`None`: of no layer, but of the loss."""
    line: str = ""
    remark: str | None = None
    """A rule that may remark on a healthy file, as a note."""
    verified: bool = False
    """Said by `check --verify`."""
    warning: str | None = None
    """A rule that warns of a file which is not sick yet."""


def sick(rule: str, *layers: str | None, line: str = "") -> Expected:
    return Expected("sick", rule, layers, line)


def healthy(remark: str | None = None) -> Expected:
    return Expected("healthy", remark=remark)


def warned(rule: str, layer: str | None, line: str = "") -> Expected:
    return Expected("healthy", layers=(layer,), line=line, warning=rule)


EXPECTED = {
    "actor_critic.py": healthy(),
    "actor_critic_pairs.py": sick("broadcast-loss", "critic", line="outcome - value"),
    "all_layers_mlp.py": healthy(),
    "argmax_bottleneck.py": sick("blocked-gradient", "encoder.hidden", "encoder.scores", line="jnp.argmax("),
    "claims_in_cents.py": warned("unscaled-target", None),
    "claims_in_logs.py": healthy(),
    "connected_parameter.py": healthy(),
    "dead_relu_mlp.py": sick("zero-gradient", "layers[2]", line="x @ w + b"),
    "deep_relu_mlp.py": healthy(),
    "deep_sigmoid_mlp.py": sick("vanishing-gradient", "layers[0]", line="jax.nn.sigmoid("),
    "diffusion_new_noise.py": healthy(),
    "diffusion_same_noise.py": sick("repeated-noise", "enter", line="jax.random.key(0)"),
    "disconnected_parameter.py": sick("disconnected-parameter", "squeeze", "expand"),
    "exploding_rnn.py": sick("exploding-through-time", "w_hh", line="jax.lax.scan("),
    "feedback_alignment.py": healthy(remark="hand-made-gradient"),
    "finite_mask_softmax.py": healthy(),
    "frozen_backbone.py": healthy(remark="blocked-gradient"),
    "gated_rnn.py": healthy(),
    "he_init_mlp.py": healthy(),
    "huge_init_mlp.py": sick("exploding-gradient", "[0]", line="jnp.dot(x, w)"),
    "kept_update.py": healthy(),
    "live_relu_mlp.py": healthy(),
    "masked_softmax.py": sick("non-finite", "key", "query", "value", line="jax.nn.softmax(scores)"),
    "lost_update.py": sick("broken-train-step", None, line="optax.apply_updates(params, updates)"),
    "log_of_softmax.py": warned("unstable-expression", "w2", line="jnp.log(jax.nn.softmax("),
    "log_softmax.py": healthy(),
    "misplaced_stop_gradient.py": sick(
        "blocked-gradient", "layers[0]", "layers[1]", "layers[2]", line="stop_gradient("
    ),
    "mup_mlp.py": healthy(),
    "nan_sqrt.py": sick("non-finite", "w2", line="jnp.sqrt(squared)"),
    "nan_where.py": sick("non-finite", "embed", line="jnp.sqrt(square)"),
    "no_add_norm_transformer.py": sick("vanishing-gradient", "embed", "position", line='["table"]'),
    "one_rate_mlp.py": healthy(),
    "own_heads.py": healthy(),
    "orthogonal_rnn.py": healthy(),
    "plain_deep_convnet.py": sick("vanishing-gradient", "stem", line="conv(params"),
    "ratings_by_place.py": healthy(),
    "ratings_by_raw_id.py": sick("non-finite", "film_bias", "film_factors"),
    "readmission_sigmoid.py": healthy(),
    "readmission_softmax.py": sick("mismatched-output", "layer_2"),
    "relu_physics.py": sick("dead-loss-term", None, line="equation = "),
    "residual_convnet.py": healthy(),
    "right_rule_mlp.py": Expected("healthy", verified=True),
    "safe_sqrt.py": healthy(),
    "safe_where.py": healthy(),
    "shared_head.py": healthy(remark="conflicting-tasks"),
    "small_transformer.py": healthy(),
    "smooth_physics.py": healthy(),
    "speech_log_of_silence.py": sick("non-finite", None, line="jnp.log("),
    "speech_log_with_floor.py": healthy(),
    "spiking_net.py": healthy(),
    "spiking_net_out_of_reach.py": sick("zero-gradient", "enter", line="DECAY * v"),
    "steering_in_steps.py": sick("blocked-gradient", "hidden", "steer", line="jnp.round("),
    "steering_straight_through.py": healthy(),
    "straight_through.py": healthy(),
    "tiny_classifier.py": healthy(),
    "vanilla_rnn.py": sick("vanishing-through-time", "w_rec", line="jax.lax.scan("),
    "wrong_rule_mlp.py": Expected(
        "sick", "wrong-gradient", ("layers[1].slope",), line="def bend(x, slope)", verified=True
    ),
    "zero_init_head.py": healthy(),
}
