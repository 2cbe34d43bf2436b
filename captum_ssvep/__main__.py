"""``python -m captum_ssvep``."""

import sys

from .cli import main

sys.exit(main())
