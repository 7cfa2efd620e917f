"""The WSGI entry point: `app` and nothing else."""

import sys

from waitlist import create_app
from waitlist.errors import SettingInvalid

try:
    app = create_app()
except SettingInvalid as refusal:
    sys.exit(f"Not started: {refusal}")
