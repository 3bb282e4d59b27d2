"""The language of this process: `--lang`, else that of the terminal, else the one of the configuration.

It is chosen before the command line is read, since help and errors are in it too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from gradscope import language
from gradscope.cli.options import one_of
from gradscope.language import configured

OPTION = "--lang"


def choose(arguments: Sequence[str]) -> None:
    """Raises `GradscopeError` for a language that there is not."""
    language.speak(language.ENGLISH)
    asked = _value(OPTION, arguments)
    if asked is not None:
        language.speak(one_of(OPTION, asked, language.LANGUAGES))
        return
    found = language.of_environment()
    if found == language.ENGLISH:
        found = configured.language(os.getcwd(), _value("--config", arguments)) or found
    language.speak(found)


def forget() -> None:
    """For a program that calls the command line and goes on afterwards."""
    language.speak(language.ENGLISH)


def _value(option: str, arguments: Sequence[str]) -> str | None:
    """The last that is given, with a blank or with `=`."""
    found = None
    for place, argument in enumerate(arguments):
        if argument == option and place + 1 < len(arguments):
            found = arguments[place + 1]
        elif argument.startswith(f"{option}="):
            found = argument.partition("=")[2]
    return found
