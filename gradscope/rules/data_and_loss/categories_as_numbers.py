"""Whole numbers that name things go into the network as if their order and distance meant something.

## What it does
Reports a column of whole numbers among the inputs, such as the ids of users or places, that is multiplied by
weights as a number, where the target depends on which number it is and not on where it stands.

## Why is this bad
A network is smooth in its inputs: it takes number 17 to be like 16 and 18. Where these are three people who
have nothing in common, it has to bend at each of them, and what it learns of one is wrong for the next.

## How it is measured
On the batches that were drawn, without the network: the mean of the target for each of the numbers, how far
apart these means are in all (one-way analysis of variance, F), and how far apart those of neighbouring
numbers are (von Neumann's ratio). Of labels each class is looked at.

## Limits
`sure = 4` standard deviations by which the means of the target vary more than by chance, and by which the
means of neighbouring numbers are further apart than where the target depends on the number smoothly: then
chance alone is left of their ratio, 1 over F. `apart = 0.75`: that ratio, the mean square difference of the
means of neighbours over that of any two; it is 1 on average where the order says nothing. At least 20
numbers, with 5 rows each. Source: four deviations are one in thirty thousand; the other limit is a choice.

## Example
    x = jnp.stack([user_id / n_users, movie_id / n_movies], axis=-1)
    rating = mlp(x)

Use instead an embedding, or one-hot columns where there are few:

    x = jnp.concatenate([users[user_id], movies[movie_id]], axis=-1)

## What it does not say
Numbers whose means do not differ, as where only the pair of two of them tells the target, are passed over.
Whether the network learns it all the same was not tried: one that is wide enough can, slowly. Arrays of more
than 256 columns, or of more than two axes, are not looked at; nor are coordinates that go through sines.

## Source
Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems* (missing encoding of categories);
Guo and Berkhahn 2016, *Entity Embeddings of Categorical Variables*, arXiv:1604.06737; von Neumann 1941,
*Distribution of the Ratio of the Mean Square Successive Difference to the Variance*.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule("categories-as-numbers", severity=Severity.WARNING, needs=("training",), sure=4.0, apart=0.75)
def categories_as_numbers(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    for found in training.categories:
        if min(found.sure, found.rough) < limits["sure"] or found.apart < limits["apart"]:
            continue
        one = found.column is None
        where = f"`{found.name}`" if one else f"column {found.column} of `{found.name}`"
        yield Hit(
            message=f"The {found.values:,} whole numbers in {where} go into the network as numbers, and "
            f"their order says nothing of the target `{found.target}`: over {found.rows:,} rows the means of "
            f"the target for each of them vary {number(found.ratio)} times as much as by chance, and those "
            f"of neighbouring numbers are {number(found.apart)} times as far apart as any two (mean squares; "
            f"limit {number(limits['apart'])}). They may be names, as ids are.",
            remedy="Give each of them a vector of its own, `table[ids]` with a trained table, or one-hot "
            "columns where they are few.",
            evidence={
                "values": found.values,
                "rows": found.rows,
                "share": found.share,
                "ratio": found.ratio,
                "apart": found.apart,
                "sure": found.sure,
                "rough": found.rough,
                "limit": limits["sure"],
            },
        )
