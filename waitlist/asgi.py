"""The ASGI entry point: the express lane, and behind it the Flask app of `wsgi.py`."""

import gc
import sys

from waitlist import create_app
from waitlist.errors import SettingInvalid
from waitlist.web.lane import Lane

try:
    app = Lane(create_app())
except SettingInvalid as refusal:
    sys.exit(f"Not started: {refusal}")

gc.collect()
gc.freeze()  # what lives as long as the process isn't looked through again: that stops everyone
