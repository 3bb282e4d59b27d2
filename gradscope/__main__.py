"""`python -m gradscope`, where the installed command is not on the path."""

from gradscope.cli.app import main

main()
