"""`python -m nucleist` is `nucleist`."""

import sys

from nucleist.cli.main import main

sys.exit(main())
