"""Where the gradient of a leaf ends: the cuts on its paths, and those of them that block it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradscope.records import Connection, Cut
from gradscope.trace import jaxprs
from gradscope.trace.domains.mending import Mending, mending
from gradscope.trace.graph import Graph
from gradscope.trace.jaxprs import Body
from gradscope.trace.leaves import is_array, path_name
from gradscope.trace.sites import CutSite
from gradscope.trace.sources import source_of
from gradscope.trace.straight_through import estimators


def cuts_of(sites: Iterable[CutSite]) -> tuple[Cut, ...]:
    """Each operation and line once."""
    found = (Cut(cut.eqn.primitive.name, source_of(cut.eqn, cut.calls), cut.on_weight) for cut in sites)
    return tuple(dict.fromkeys(found))


def blocking_cuts(
    body: Body, sites: Sequence[CutSite], connections: Sequence[Connection], integers: Mapping[str, str]
) -> tuple[tuple[Cut, ...], ...]:
    """By leaf, what blocks it: the cuts that would each reconnect it alone, or else all on its paths.

    `sites` are the cuts that the loss reads through; `integers` the dtype of each such array of the batch.
    """
    if Connection.BLOCKED not in connections:
        return ((),) * len(connections)
    domain, mended = mending(body, [site.eqn for site in sites], len(connections))
    stopped = any(site.eqn.primitive.name == "stop_gradient" for site in sites)
    found_there = estimators(Graph(body, len(connections))) if stopped else []
    by_stop = {id(stop.eqn): each for each in found_there for stop in each.stops}

    def alone(site: CutSite, leaf: int) -> bool:
        bit = domain.bits[id(site.eqn)]
        return bool(mended & bit and domain.lost[bit] >> leaf & 1)

    def told(site: CutSite) -> Cut:
        into, estimator = _into(site, domain), by_stop.get(id(site.eqn))
        compared = next(iter(estimator.compared), None) if estimator else None
        return Cut(
            op=site.eqn.primitive.name,
            source=source_of(site.eqn, site.calls),
            on_parameter=site.on_weight,
            into=into,
            like=tuple(name for name, dtype in integers.items() if into and dtype == into),
            straight_through=estimator is not None,
            compared=source_of(compared.eqn, compared.calls) if compared else None,
        )

    found: list[tuple[Cut, ...]] = []
    for leaf, connection in enumerate(connections):
        mine = [site for site in sites if site.leaves >> leaf & 1] if connection is Connection.BLOCKED else []
        blocking = [site for site in mine if alone(site, leaf)] or mine
        found.append(tuple(dict.fromkeys(told(site) for site in blocking)))
    return tuple(found)


def _into(site: CutSite, domain: Mending) -> str:
    """The dtype of the integers that a function of a library makes of the result."""
    cast = domain.casts.get(domain.bits[id(site.eqn)])
    if cast is None:
        return ""
    author = jaxprs.author(*cast)
    return "" if not author or jaxprs.is_user_file(author) else str(cast[0].outvars[0].aval.dtype)  # type: ignore[attr-defined]


def integer_leaves(batch: Any) -> dict[str, str]:
    """The dtype of each array of integers in a batch, by the name that the user knows it by."""
    found = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(batch)[0]:
        if is_array(leaf) and jnp.issubdtype(jnp.result_type(leaf), jnp.integer):
            found[batch_name(path_name(path))] = str(jnp.result_type(leaf))
    return found


def batch_name(leaf: str) -> str:
    """`batch[0]`, `batch.image`, or `batch` where it is one array."""
    return f"batch{'' if not leaf or leaf.startswith('[') else '.'}{leaf}"
