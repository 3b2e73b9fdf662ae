"""Send every response to this handler and to Scrapy's own, and write docs/odd_responses.md.

Exit status 1: the two differ in a case that nothing explains.
"""

from __future__ import annotations

import sys

from conformance.responses import CASES
from conformance.responses.compare import OURS, download, download_by_scrapy
from conformance.responses.explained import explanation_of
from conformance.responses.page import PAGE, page


def main() -> int:
    theirs, ours = download_by_scrapy(), download(CASES, OURS)
    PAGE.write_text(page(theirs, ours))
    unexplained = [
        f"{case.title}: Scrapy: {their} {their.text}; here: {our} {our.text}"
        for case, their, our in zip(CASES, theirs, ours, strict=True)
        if their != our and explanation_of(case) is None
    ]
    print("\n".join(unexplained), file=sys.stderr)
    return bool(unexplained)


if __name__ == "__main__":
    sys.exit(main())
