"""From a problem to its jaxpr: sites, layers, dataflow, and the tapped program."""
