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
    "elements", "tracing", "compiling", "validating", "XLA's", "undone", "reductions", "adaptive",
    "automatic", "own", "fixed:", "infinity", "valid.",
    "activ. rms", "{0} error", "{0} errors", "{0} warning", "{0} warnings", "{0} note", "{0} notes",
    "{0} finding", "{0} findings", "{0} more finding", "{0} more findings", "{0} target", "{0} targets",
    "final", "reached", "/ weights", "elementwise", "sum", "factor", "linear", "log", "{0} or less",
    "{0} or more", "loss {0} at {1}", "validation loss {0} at {1}", "one",
    "backprop", "differences", "rel. error", "notes",
    "{0} in {1} parameter leaves: {2}", "{0} in {1} parameter leaf: {2}",
    "the {0} layers {1}", "{0} trial by {1}", "{0} trials by {1}",
    "{0} start", "{0} starts", "warnings", "Data", "tangents", "All",
    "filler", "{0} further pair", "{0} further pairs", "{0} other", "{0} others", "({0} and {1} more)",
    "Process {0} of {1} was killed with {2}", "Process {0} of {1} crashed with {2}",
    "Process {0} of {1} was ended with {2}", "Process {0} of {1} ended with exit status {2}",
    "{0} in {1} layer", "{0} in {1} layers", "{0} in a step of {1}", "{0} in the curvature over {1}",
)  # fmt: skip
VALUES = frozenset(
    (
        "time",
        "operations",
        "row",
        "mean",
        "sum",
        "loss",
        "factor",
        "linear",
        "log",
        "token",
        "unit",
        "step",
        "one",
        "right",
        "wrong",
        "gradient",
        "gradients",
        "Data",
        "tangents",
        "update",
        "rule",
        "steps",
        "seeds",
        "All",
        "starting",
        "derivative",
    )
)
"""Those that stand in a sentence of ours as a value: few, since a layer may be named so."""
AGREEING = frozenset((
    "is", "are", "was", "were", "has", "have", "does", "do", "run", "runs", "repeat", "repeats", "it", "they",
    "its", "their", "them",
))  # fmt: skip
"""Values that only say whether something is one or several: a translation stands without them."""
FOREIGN = (
    "Show this message and exit.",
    "Install completion for the current shell.",
    "Show completion for the current shell, to copy it or customize the installation.",
    "No such option: {0}",
    "No such command {0}.",
    "Missing argument {0}.",
    "Missing option {0}.",
    "Option {0} requires an argument.",
    "Option {0} does not take a value.",
    "Got unexpected extra argument ({0})",
    "Got unexpected extra arguments ({0})",
    "Invalid value for {0}: {1}",
    "{0} is not a valid integer.",
    "{0} is not a valid float.",
    "Input should be a valid integer, unable to parse string as an integer.",
    "Input should be a valid number, unable to parse string as a number.",
    "Input should be a finite number",
    "Input should be a valid boolean, unable to interpret input",
    "Input should be greater than {0}",
    "Input should be greater than or equal to {0}",
    "Input should be less than {0}",
    "Input should be less than or equal to {0}",
    "Value {0} is not a valid {1}.",
    "{0} is not one of {1}.",
    "{0} is not in the range {1}.",
)
"""What the library of the command line says of it."""
SYSTEM = (
    "No such file or directory", "Permission denied", "Is a directory", "Not a directory", "File exists",
    "No space left on device", "Read-only file system", "File name too long", "Operation not permitted",
    "Too many levels of symbolic links", "Too many open files", "Directory not empty", "Invalid argument",
    "Input/output error", "Connection refused", "Broken pipe",
)  # fmt: skip
"""Why the operating system refused something, as Python words it."""
