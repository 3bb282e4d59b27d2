"""The options for several processes: which make sense, and what each process is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gradscope.cli.together import given_peers
from gradscope.errors import GradscopeError
from gradscope.processes.together import parts
from gradscope.records.options import AUTO, Peers


def test_without_an_option_there_is_one_process() -> None:
    assert given_peers() is None


def test_processes_alone_are_started_here() -> None:
    peers = given_peers(processes=3)
    assert peers is not None
    told = parts(peers)
    assert [(each.process, each.count, each.one_machine) for each in told] == [(i, 3, True) for i in range(3)]
    assert len({each.coordinator for each in told}) == 1
    assert told[0].coordinator.startswith("127.0.0.1:")


def test_one_of_a_cluster_is_started_alone() -> None:
    one = Peers("10.0.0.1:1234", 4, 2)
    assert given_peers(4, "10.0.0.1:1234", 2) == one
    assert parts(one) == [one]
    assert parts(Peers(AUTO)) == [given_peers(coordinator="auto")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((None, None, 1), "--process-id is given without --coordinator."),
        ((4, "auto", None), "--coordinator auto finds the processes by itself."),
        ((4, "host", 0), '"--coordinator host" is no address.'),
        ((4, "host:port", 0), '"--coordinator host:port" is no address.'),
        ((4, "host:99999", 0), '"--coordinator host:99999" is no address.'),
        ((4, "host:1", None), "--coordinator needs --processes and --process-id."),
        ((4, "host:1", 4), "--process-id 4 is not one of 4 processes."),
    ],
)
def test_options_that_do_not_fit_together_say_so(
    given: tuple[int | None, str | None, int | None], said: str
) -> None:
    with pytest.raises(GradscopeError) as raised:
        given_peers(*given)
    assert raised.value.what == said
    assert raised.value.fix


def test_the_command_that_watches_has_no_jax_in_it() -> None:
    """What JAX reads when it is imported is set before, and JAX's own end must not be the watcher's."""
    asked = "import sys, gradscope.processes; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
