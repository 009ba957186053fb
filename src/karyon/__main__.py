"""`python -m karyon` is `karyon`."""

import sys

from karyon.cli.main import main

sys.exit(main())
