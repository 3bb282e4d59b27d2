"""For those who write the catalogues: `python -m gradscope.language update|compile|check [CATALOGUE ...]`."""

from __future__ import annotations

import sys

from gradscope.language import catalogues, page_faults
from gradscope.language.domains import DOMAINS

PAGES = "pages"
USAGE = "python -m gradscope.language update | compile | check [CATALOGUE ...]"


def main(arguments: list[str]) -> int:
    """`update` takes new texts up from the sources, `compile` writes what the program reads, `check` lists
    what is missing or wrong in catalogues and, as `pages`, in pages; it ends with 1 if anything is."""
    match arguments:
        case ["update"]:
            catalogues.update()
        case ["compile"]:
            catalogues.COMPILED.write_bytes(catalogues.compiled())
        case ["check", *domains] if set(domains) <= {*DOMAINS, PAGES}:
            return _check(domains or [*DOMAINS, PAGES])
        case _:
            print(f"{USAGE}\ncatalogues: {', '.join((*DOMAINS, PAGES))}", file=sys.stderr)
            return 2
    return 0


def _check(domains: list[str]) -> int:
    total = 0
    for domain in domains:
        found = list(page_faults.faults() if domain == PAGES else catalogues.faults(domain))
        for fault in found:
            print(f"{domain}: {fault}")
        print(f"{domain}: {len(found)} to do", file=sys.stderr)
        total += len(found)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
