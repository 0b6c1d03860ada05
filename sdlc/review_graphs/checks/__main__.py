"""`python -m sdlc.review_graphs.checks SUBJECT`: see `program`."""

import sys
from pathlib import Path

from sdlc.review_graphs.checks.program import main

main(Path(sys.argv[1]))
