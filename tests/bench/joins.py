"""The rows of joining: alone, on PostgreSQL, at half the peak, beside the workers, overloaded."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from tests import servers
from tests.bench import wrk
from tests.bench.bars import Pair, Row, Unmeasured, compared, interleaved
from tests.bench.service import Service, service
from tests.bench.stand import Stand
from tests.bench.wrk import Load

DURABLE = {"max_connections": "200", "listen_addresses": "", "synchronous_commit": "on"}
BUSY_RATE = 360_000  # people an hour
BUSY_BACKLOG = 2_000  # mails owed when a run begins
WARM_WITHIN = 20.0  # seconds
MOST_P99 = 100.0  # ms, of join-busy
OVERLOADS = (0.5, 1, 2, 4)  # times the connections of the peak


def join_sqlite(stand: Stand) -> Row:
    """New people a second at the peak."""
    return _joins("join-sqlite", stand, stand.big)


def join_postgres(stand: Stand) -> Row:
    """The same on PostgreSQL."""
    with contextlib.ExitStack() as stack:
        stand.tell(f"filling a line of {stand.scale.postgres_people:,} on PostgreSQL")
        server = stack.enter_context(servers.postgres_server(DURABLE))
        url = servers.create_database(server)
        people, mail = stand.scale.postgres_people, stand.mail_port
        one = stack.enter_context(service(people, mail, database_url=url))
        return _joins("join-postgres", stand, one)


def join_latency(stand: Stand) -> Row:
    """The p99 at half the peak rate."""
    peak = stand.peak(stand.big)
    rate = _settled(stand) / 2
    pairs = interleaved(
        stand.scale.runs,
        lambda: _paced(stand, peak.connections, rate).p99,
        lambda: stand.paced_hello(peak.connections, rate).p99,
    )
    more: dict[str, Any] = {"rate": rate, "connections": peak.connections}
    return compared("join-latency", pairs, size=stand.big.people, **more)


def join_busy(stand: Stand) -> Row:
    """Joins while ticks admit and the mail worker sends."""
    big, runs = stand.big, stand.scale.runs
    loads: list[Load] = []
    beside: list[tuple[float, float]] = []

    def busy() -> float:
        with _workers(big):
            before = big.mails_sent(), big.admitted()
            loads.append(_at_peak(stand, big))
            after = big.mails_sent(), big.admitted()
        seconds = loads[-1].seconds
        beside.append(((after[0] - before[0]) / seconds, (after[1] - before[1]) / seconds))
        return loads[-1].rate(202)

    stand.peak(big)
    big.flask("gate", "set", "--rate", str(BUSY_RATE))
    try:
        pairs = interleaved(runs, busy, stand.hello)
    finally:
        big.flask("gate", "set", "--waves-only")
    seen = _seen(loads) | {
        "mails_a_second": median(mails for mails, _ in beside),
        "admissions_a_second": median(admitted for _, admitted in beside),
    }
    slow = f"p99 is {seen['p99']:.0f} ms" if seen["p99"] >= MOST_P99 else ""
    return compared("join-busy", pairs, size=big.people, unless=slow, **seen)


def overload(stand: Stand) -> Row:
    """Joins answered at four times the connections of the peak; who is shed comes at once again."""
    big, at_peak = stand.big, stand.peak(stand.big).connections
    tried = OVERLOADS if stand.scale.is_drawn else (1, 4)
    seconds = max(1.0, stand.scale.ceiling_seconds)
    seen: dict[float, list[Load]] = {times: [] for times in tried}
    for _ in range(stand.scale.runs):
        for times, loads in seen.items():
            connections = max(1, int(at_peak * times))
            loads.append(wrk.join(big.url, connections=connections, seconds=seconds))
    pairs = [
        Pair(most.rate(202), peak.rate(202)) for most, peak in zip(seen[4], seen[1], strict=True)
    ]
    curve = [{"connections": int(at_peak * times), **_point(seen[times])} for times in tried]
    return compared("overload", pairs, size=big.people, curve=curve, **_seen(seen[4]))


def _joins(name: str, stand: Stand, one: Service) -> Row:
    stand.peak(one)
    loads: list[Load] = []

    def run() -> float:
        loads.append(_at_peak(stand, one))
        return loads[-1].rate(202)

    pairs = interleaved(stand.scale.runs, run, stand.hello)
    as_json = _at_peak(stand, one, wants="json").rate(202)
    connections = stand.peak(one).connections
    more = {"connections": connections, "asked_as_json": as_json, **_seen(loads)}
    return compared(name, pairs, size=one.people, **more)


def _at_peak(stand: Stand, one: Service, wants: str = "page") -> Load:
    connections = stand.peak(one).connections
    return wrk.join(one.url, connections=connections, seconds=stand.scale.seconds, wants=wants)


def _settled(stand: Stand) -> float:
    """The peak rate in a run of full length: the trials were short."""
    return _at_peak(stand, stand.big).rate(202)


def _paced(stand: Stand, connections: int, rate: float) -> Load:
    return wrk.join(stand.big.url, connections=connections, seconds=stand.scale.seconds, rate=rate)


@contextlib.contextmanager
def _workers(one: Service) -> Iterator[None]:
    """The workers and the clock, with mails owed, once the first of them is sent."""
    one.inside("admit", BUSY_BACKLOG)
    before = one.mails_sent()
    with one.part("worker_admission"), one.part("worker_mail"), one.part("clock"):
        deadline = time.monotonic() + WARM_WITHIN
        while one.mails_sent() == before:
            if time.monotonic() > deadline:
                raise Unmeasured("the mail worker sends nothing")
            time.sleep(0.1)
        yield


def _middle(loads: Sequence[Load], what: Callable[[Load], float]) -> float:
    return median(what(load) for load in loads)


def _point(loads: Sequence[Load]) -> dict[str, float]:
    return {
        "answered": _middle(loads, lambda load: load.rate(202)),
        "shed": _middle(loads, lambda load: load.rate(503)),
        "p99": _middle(loads, lambda load: load.p99),
    }


def _seen(loads: Sequence[Load]) -> dict[str, Any]:
    """What was seen beside the rate: p99, how many were not answered 202, wrk's own share."""
    return {
        "p99": _middle(loads, lambda load: load.p99),
        "p50": _middle(loads, lambda load: load.p50),
        "not_202": sum(sum(load.statuses.values()) - load.statuses.get(202, 0) for load in loads),
        "errors": sum(load.errors + load.timeouts for load in loads),
        "wrk_cores": _middle(loads, lambda load: load.cpu),
    }
