"""Single words that a report shows by themselves: in the head of a column, in a cell, before a number.

No program tells a word for a reader from a word for itself, so these are listed. They are translated only
where they stand alone, or after a number (`3 layers`): within an English sentence they stay.
"""

from __future__ import annotations

WORDS = (
    "findings", "where", "connected", "run", "load", "trace", "train", "compile", "blocked",
    "disconnected", "skipped", "right", "wrong", "sorry", "starting", "reason", "median", "rest",
    "argument", "function", "weights", "gradients", "activations", "parameters", "layers", "batches",
    "steps", "seeds", "packages", "variables", "system", "cores", "version", "layer", "parameter",
    "unit", "step", "seed", "batch", "finding", "error", "warning", "note", "example", "row", "element",
    "class", "token", "device", "epoch", "site", "loop", "remedy", "edit", "rule", "target", "value",
    "loss", "gradient", "weight", "bias", "activation", "update", "optimizer", "accuracy", "time",
    "memory", "cost", "sick", "healthy", "fixed", "new", "unchanged", "stale", "params", "rms", "norm",
    "grad", "activ.", "zero", "not", "finite", "effect", "after", "highest", "gone", "cures", "helps",
    "worse", "failed", "better", "diverged", "interrupted", "total", "backward", "forward", "kept",
    "operation", "operations", "seconds", "minutes", "bytes", "share", "line", "file", "name", "kind",
    "shape", "dtype", "size", "count", "mean", "minimum", "maximum", "lowest", "start", "end", "before",
    "now", "first", "last", "Findings", "Remedies", "Layers", "Notes", "Examples", "Options",
    "Commands", "Arguments", "Usage:", "Output", "Source", "Evidence", "Limits", "Family", "Rules",
    "healthy:", "validation", "learning", "rate", "momentum", "decay", "schedule", "clipping", "state",
    "input", "output", "head", "and", "or", "none", "all", "yes", "no", "unknown", "nothing", "never",
    "always", "complete", "derivative", "same", "change", "correctness", "data-and-loss", "devices",
    "flow", "initialization", "no-gradient", "numerics", "training", "queries", "examples", "both",
    "elements",
)  # fmt: skip
