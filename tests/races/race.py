"""Races: calls in threads of their own, each with its own connection, let go at once or in step.

`run` lets all calls go from one line. To make a race certain instead of likely, a call can be
stopped before a statement; the rest then run until each of them is done, has stopped too, or waits
for a lock, and only then does it go on. What the locks allow is so the same on every run.
"""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

# Longer than any race takes: where it shows, something waits that should not.
PATIENCE = 60.0
COMMIT = "before the commit"
POLL = 0.003

Call = Callable[[], object]
#: What a call stops before: the statement with this number, or the first that this pattern finds.
Stop = int | str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call returned, or what it raised."""

    value: object = None
    error: Exception | None = None

    @property
    def won(self) -> bool:
        """Whether it returned."""
        return self.error is None


class Stuck(AssertionError):
    """A race did not end."""


class Runner(threading.Thread):
    """Makes calls one after the other on a connection of its own, stopping where it is told."""

    def __init__(
        self, *calls: Call, stops: Sequence[Stop] = (), line: threading.Barrier | None = None
    ) -> None:
        super().__init__(name="runner", daemon=True)
        self.outcomes: list[Outcome] = []
        self.is_done = False
        self.is_stopped = False
        self.statements = 0
        self.stopped_at = 0  # the number of the statement
        self.pid = 0
        self._calls = calls
        self._stops = list(stops)
        self._line = line
        self._going = threading.Event()

    @property
    def has_stops(self) -> bool:
        """Whether it is stopped, or will be where the statement comes."""
        return self.is_stopped or bool(self._stops)

    @property
    def outcome(self) -> Outcome:
        """What became of the only call."""
        [outcome] = self.outcomes
        return outcome

    def run(self) -> None:
        """Connect, wait at the line, make the calls, hang up."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = '30s'")
                cursor.execute("SELECT pg_backend_pid()")
                self.pid = cursor.fetchone()[0]
            if self._line is not None:
                self._line.wait(PATIENCE)
            with connection.execute_wrapper(self._execute):
                for call in self._calls:
                    self.outcomes.append(_outcome(call))
        finally:
            connection.close()
            self.is_done = True

    def go(self) -> None:
        """Go on from a stop."""
        self.is_stopped = False
        self._going.set()

    def free(self) -> None:
        """Go on, and stop no more."""
        self._stops = []
        self.go()

    def _execute(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        self.statements += 1
        stops = self._stops
        if stops and _is_here(stop=stops[0], sql=sql, number=self.statements):
            stops.pop(0)
            self.stopped_at = self.statements
            self._going.clear()
            self.is_stopped = True
            if not self._going.wait(PATIENCE):
                raise Stuck(f"nobody let go: {sql}")
        return execute(sql, params, many, context)


def run(*calls: Call, before: Sequence[Stop] = ()) -> list[Outcome]:
    """Let all calls go at once, each stopping `before` these statements until the others settled.

    Each call has a thread and a connection, as long as the server has room for so many.
    """
    lanes = min(len(calls), _room())
    line = threading.Barrier(lanes)
    runners = [Runner(*calls[lane::lanes], stops=before, line=line) for lane in range(lanes)]
    with stage(*runners):
        for runner in runners:
            runner.start()
        finish(*runners)
    outcomes = [iter(runner.outcomes) for runner in runners]
    return [next(outcomes[number % lanes]) for number in range(len(calls))]


@contextmanager
def stage(*runners: Runner) -> Iterator[None]:
    """See the runners that are started in the block to their end, whatever happens.

    :raises Stuck: if one does not end.
    """
    try:
        yield
    finally:
        for runner in runners:
            runner.free()
        for runner in runners:
            if runner.ident is not None:
                runner.join(PATIENCE)
        if any(runner.is_alive() for runner in runners):
            raise Stuck("a call does not return")


def finish(*runners: Runner) -> None:
    """Let runners that have stopped go on in turn, each once the others settled, to the end."""
    if not any(runner.has_stops for runner in runners):
        return
    while not all(runner.is_done for runner in runners):
        for runner in runners:
            settle(*runners)
            if runner.is_stopped:
                runner.go()


def settle(*runners: Runner, holds_lock: bool = False) -> None:
    """Return when no runner runs: each is done, has stopped, or waits for one that has.

    With `holds_lock` they may all wait: the caller has what they wait for.

    :raises Stuck: if that does not come about.
    """
    for _ in range(int(PATIENCE / POLL)):
        before = [(runner.is_done, runner.is_stopped) for runner in runners]
        busy = [runner for runner in runners if not runner.is_done and not runner.is_stopped]
        pids = [runner.pid for runner in busy]
        if 0 not in pids and len(pids) == len(_waiting(pids=pids)):
            after = [(runner.is_done, runner.is_stopped) for runner in runners]
            # If all of them wait, they do in a ring, which the server breaks.
            if before == after and (holds_lock or len(busy) < len(runners)):
                return
        busy[0].join(POLL)
    raise Stuck("the race does not come to rest")


def waits(runner: Runner) -> bool:
    """Whether a runner waits for a lock."""
    return bool(_waiting(pids=[runner.pid]))


def overtake(first: Call, then: Call, *, before: Stop) -> list[Outcome]:
    """Stop one call before a statement, and let another go as far as it can meanwhile."""
    return _overtake(Runner(first, stops=[before]), Runner(then))


def interleave(*, first: Callable[[], Call], then: Callable[[], Call]) -> Iterator[list[Outcome]]:
    """Let one call be overtaken by another before each of its statements in turn, then not at all.

    Both are made anew for each round. Gives the two outcomes.
    """
    number = 0
    is_over = False
    while not is_over:
        one = Runner(first(), stops=[number + 1])
        yield _overtake(one, Runner(then()))
        is_over = one.stopped_at == 0
        number = one.stopped_at


def held_back(call: Call) -> Call:
    """Make a call in a transaction that can be stopped before `COMMIT`."""

    def in_transaction() -> object:
        with transaction.atomic(), connection.cursor() as cursor:
            value = call()
            cursor.execute(f"SELECT '{COMMIT}'")
        return value

    return in_transaction


def _overtake(one: Runner, other: Runner) -> list[Outcome]:
    with stage(one, other):
        one.start()
        settle(one)
        other.start()
        settle(one, other)
    return [one.outcome, other.outcome]


def deadlocks(outcomes: Sequence[Outcome]) -> int:
    """Count the calls that the server broke off because they waited for each other in a ring."""
    return sum("deadlock detected" in str(outcome.error) for outcome in outcomes)


def errors(outcomes: Sequence[Outcome]) -> set[type[Exception]]:
    """Return the kinds of error of the calls that did not return."""
    return {type(outcome.error) for outcome in outcomes if outcome.error is not None}


def _outcome(call: Call) -> Outcome:
    try:
        return Outcome(value=call())
    except Exception as error:  # what a call raises is what the race is about
        return Outcome(error=error)


def _is_here(*, stop: Stop, sql: str, number: int) -> bool:
    if "SAVEPOINT" in sql:  # changes nothing for others
        return False
    return number >= stop if isinstance(stop, int) else re.search(stop, sql) is not None


def _waiting(*, pids: Sequence[int]) -> set[int]:
    """Find those of the sessions that wait for a lock.

    pg_locks and not pg_stat_activity: a lock that was just granted counts as granted at once.
    """
    if not pids:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT pid FROM pg_locks WHERE NOT granted AND pid = ANY(%s)", [list(pids)]
        )
        return {pid for (pid,) in cursor.fetchall()}


def _room() -> int:
    """Say how many connections a race may open: other tests run at the same time."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_connections")
        return int(cursor.fetchone()[0]) * 2 // 3
