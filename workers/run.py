"""One RQ worker on one queue: `python -m workers.run admission|mail|handover`.

One queue a process: a worker that listens on two loses a job when it is killed in between.
"""

from __future__ import annotations

import argparse
import sys

from rq import Worker
from rq.serializers import JSONSerializer

from waitlist import extensions
from waitlist.errors import SettingInvalid
from waitlist.wake import QUEUES
from workers import jobs

WORKER_TTL = 30  # seconds after which a worker that says nothing is given up
MAINTENANCE = 15  # seconds between two looks for jobs that a killed worker left


def main() -> None:
    """Work on the queue that the command line names, until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("queue", choices=sorted(QUEUES))
    queue = parser.parse_args().queue
    try:
        app = jobs.app()
    except SettingInvalid as error:
        sys.exit(str(error))
    with app.app_context():
        connection = extensions.worker_redis()
    worker = Worker(
        [queue],
        connection=connection,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL,
        maintenance_interval=MAINTENANCE,
        log_job_description=False,
    )
    worker.work(logging_level="WARNING")


if __name__ == "__main__":
    main()
