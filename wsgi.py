"""The WSGI entry point: `app` and nothing else."""

from waitlist import create_app

app = create_app()
