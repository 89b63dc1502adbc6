"""A build, its channel and its REST on a virtual clock, and a wait that is driven through them."""

from __future__ import annotations

import heapq
from collections import deque
from datetime import UTC, datetime
from itertools import count, cycle
from math import inf
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.builds.logs import LogLine
from airflow_provider_buildpixel.channel.events import (
    Disconnected,
    Joined,
    LogEvent,
    StatusHint,
)
from airflow_provider_buildpixel.exceptions import (
    BuildPixelError,
    NotFound,
    RateLimited,
    ServerFault,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)
from airflow_provider_buildpixel.waits.actions import ReadTime
from airflow_provider_buildpixel.waits.reporter import WaitReporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from airflow_provider_buildpixel.channel.events import Event
    from airflow_provider_buildpixel.waits.reporter import LogMessage

BUILD_ID = "b" * 24
SLACK = 1e-6
LATENCY = 0.25
STEPS_PER_INSTANT = 300
TAIL = 8

FAULTS: dict[str, BuildPixelError] = {
    "500": ServerFault("broken", status_code=500),
    "reset": Unreachable("reset"),
    "truncated": UnexpectedAnswer("half an answer", status_code=200),
    "404": NotFound("not here", status_code=404),
    "401": Unauthorized("revoked", status_code=401),
    "429": RateLimited("slower", wait=20.0),
    "429 now": RateLimited("slower", wait=0.0),
    "429 mute": RateLimited("slower"),
}


class World:
    """One wait for one build. Every broken promise of the wait is an AssertionError.

    :param module: ``core.watch``, or a mutant of it.
    :param timed: whether REST gives the times of log lines.
    :param gathered: whether reads are asked for and answered later, as for many waits at once.
    :param sleep: ``core.sleep``, or a mutant of it: the wait sleeps as one of many, so that lists
        that others caused can show its build, too.
    """

    def __init__(
        self,
        module: ModuleType,
        *,
        poll: float = 30.0,
        timed: bool = True,
        gathered: bool = False,
        sleep: ModuleType | None = None,
        **wishes: Any,
    ) -> None:
        self.module: Any = module
        self.now = 1_000.0
        self.poll, self.timed, self.gathered = poll, timed, gathered or sleep is not None
        self.sleeper: Any = sleep.IdleWait() if sleep is not None else None
        self.asleep = False
        self.socket_only, self.live = (
            bool(wishes.get("socket_only")),
            bool(wishes.get("live", True)),
        )
        self.until = self.now + wishes.pop("timeout", inf)
        self.queue_until = self.now + wishes.pop("queue_timeout", inf)
        self.calm = poll * (10.0 if self.socket_only else 1.0)
        chances = cycle((0.0, 0.99, 0.5, 0.2, 0.8))
        self.tracker = self.module.BuildTracker(
            self.now,
            pacing=self.module.Pacing(poll_interval=poll),
            until=self.until,
            queue_until=self.queue_until,
            jitter=lambda: next(chances),
            **wishes,
        )
        self.reporter = WaitReporter(self.now, rate=1.0, burst=5.0)
        self.told: set[str] = set()
        self.left_out = 0
        # The build.
        self.history = [(self.now, Status("pending"))]
        self.lines: list[LogLine] = []
        self.fetched: set[str] = set()
        # REST.
        self.once: deque[str] = deque()
        self.outage: str | None = None
        self.lag = 0.0
        self.closed_until = self.held_until = -inf
        self.reads: deque[float] = deque()
        self.last_read = -inf
        self.reported: list[Status] = []
        # The channel.
        self.standing = False
        self.server_joins_at = inf
        self.events: list[tuple[float, int, Event | Callable[[], None]]] = []
        self.reason_at = self.asked_at = -inf
        self.order = count()
        # What the wait owes: the latest instants of its next read, and of its end.
        self.read_due = self.now + (3.0 if self.live else 0.0)
        self.second_due = inf
        self.joined = False
        self.clean_since = self.now
        self.down_since = self.now
        self.promised, self.doubts = False, 0
        self.absent_since = inf
        self.trouble_since = inf
        self.end: str | None = None

    # What happens in the world.

    @property
    def status(self) -> Status:
        """The build's true status."""
        return self.history[-1][1]

    def move(self, status: str, delays: tuple[float, ...] = (0.0,)) -> None:
        """Give the build a status, and tell the channel: not at all, once, twice, late."""
        if not self.status.terminal:
            self.history.append((self.now, Status(status)))
            self.emit(StatusHint(BUILD_ID, self.status), delays)

    def log(self, lines: int, delays: tuple[float, ...] = (0.0,)) -> None:
        """Let the build write log lines, each of its own text."""
        for _ in range(lines):
            at = datetime.fromtimestamp(self.now, UTC).isoformat()
            line = LogLine(f"line {len(self.lines)}", timestamp=at)
            self.lines.append(line)
            self.emit(LogEvent(BUILD_ID, line), delays)

    def emit(self, event: Event, delays: tuple[float, ...]) -> None:
        """Send to the room, if the server has the wait in it by now."""
        if self.standing and self.now >= self.server_joins_at:
            for delay in delays:
                self.deliver(event, delay)

    def deliver(self, event: Event | Callable[[], None], delay: float = 0.0) -> None:
        """Put an event into the wait's queue, whatever the truth is."""
        heapq.heappush(self.events, (self.now + delay, next(self.order), event))

    def join(self, after: float = 0.0) -> None:
        """Bring the channel up; the server handles the join some time after it was reported."""
        self.standing, self.server_joins_at = True, self.now + after
        self.deliver(Joined())

    def drop(self) -> None:
        """Cut the channel."""
        self.standing = False
        self.deliver(Disconnected("cut"))

    def heal(self) -> None:
        """End all trouble of REST."""
        self.outage, self.lag = None, 0.0
        self.once.clear()

    # What the wait does about it.

    def run(self, seconds: float) -> None:
        """Drive the wait so far, or to its end."""
        until, steps, instant = self.now + seconds, 0, self.now
        while self.end is None and self.now < until:
            self.step(until)
            steps = steps + 1 if self.now == instant else 0
            instant = self.now
            assert steps < STEPS_PER_INSTANT, "the wait spins"
            self.check()
        self.now = max(self.now, until)

    def step(self, until: float) -> None:
        """Fulfil one wish; a sleeper has none before it is due."""
        if self.asleep and (pause := self.sleeper.due() - self.now) > 0:
            self.listen(pause, until)
            return
        self.wake()
        wish = self.tracker.next_action(self.now)
        kind = type(wish).__name__
        if kind == "Done":
            self.done(wish.build)
        elif kind == "Expired":
            self.expired(queue=wish.queue)
        elif kind == "Read":
            self.read()
        else:
            assert wish.seconds > 0, "listening for no time"
            self.lie_down(wish.seconds)
            self.listen(wish.seconds, until)

    def lie_down(self, seconds: float) -> None:
        """Let the wait sleep, if it can."""
        if self.sleeper is not None:
            self.sleeper.lie_down(self.tracker.idle_terms(), self.now + seconds)
            self.asleep = True

    def wake(self) -> None:
        """End its sleep: it learns now what lists have shown meanwhile."""
        self.asleep = False
        stamp = self.sleeper.catch_up() if self.sleeper is not None else None
        if stamp is not None:
            self.tracker.on_unchanged(stamp.at, stamp.since)

    def done(self, build: Build) -> None:
        """Hold the end against what REST said."""
        assert self.reported, "done without a read"
        assert build.status == self.reported[-1], "done with another build than REST reported"
        assert build.status.terminal
        assert self.status == build.status
        assert len(self.told) + self.left_out == len(self.fetched), "lines vanished uncounted"
        self.end = "done"

    def expired(self, *, queue: bool) -> None:
        """Hold the end against the deadlines."""
        if queue:
            assert self.now >= self.queue_until, "gave up in the queue too early"
            assert all(status.queued for status in self.reported), "was out of the queue"
        else:
            assert self.now >= self.until, "gave up too early"
        self.end = "expired"

    def listen(self, seconds: float, until: float) -> None:
        """Wait for the next event."""
        wake = min(self.now + seconds, until)
        if not self.events or self.events[0][0] > wake:
            self.now = wake
            return
        at, _, event = heapq.heappop(self.events)
        self.now = max(self.now, at)
        if callable(event):
            event()
        else:
            self.on_event(event)

    def on_event(self, event: Event) -> None:
        """Pass an event on, and note what it obliges the wait to."""
        self.wake()
        self.tracker.on_event(event, self.now)
        self.tell(self.reporter.on_event(event, self.now))
        soon = max(self.now, self.last_read + 1.0, self.asked_at + 1.0, self.held_until)
        if isinstance(event, Joined | StatusHint):
            self.reason_at = self.now
        match event:
            case Joined():
                self.joined = True
                self.read_due = min(self.read_due, soon)
                self.second_due = self.read_due + 1.1 * self.calm + LATENCY
            case Disconnected():
                self.joined, self.second_due = False, inf
                self.down_since = self.now
            case LogEvent(line=line):
                self.fetched.add(line.message)
            case StatusHint(status=status) if status is not None and status.terminal:
                self.promised = True
                self.read_due = min(self.read_due, soon)

    def read(self) -> None:
        """Answer a read, well or badly."""
        assert self.now >= self.closed_until, "read before Retry-After had passed"
        self.reads.append(self.now)
        fault = self.once.popleft() if self.once else self.outage
        since = self.now
        if self.gathered:
            self.tracker.read_requested(self.now)
            self.asked_at, self.read_due = self.now, inf
            self.deliver(lambda: self.settle(fault, since), LATENCY)
        else:
            self.now += LATENCY
            self.settle(fault, since)

    def settle(self, fault: str | None, since: float) -> None:
        """Bring the answer of a read that began at ``since``."""
        self.wake()
        if fault is None:
            self.answer(since)
        else:
            self.refuse(fault)

    def is_listed(self, latency: float) -> None:
        """Begin a read of a list in which the build is, which others asked for."""
        if self.outage is None:
            since = self.now
            self.deliver(lambda: self.show(since), latency)

    def show(self, since: float) -> None:
        """Bring the list; a sleeper that knows as much sleeps on."""
        status = self.shown(since)
        if self.sleeper.shown(str(status), ReadTime(since, self.now)):
            if since >= self.reason_at:
                self.reported.append(status)
                self.counts(status)
            return
        self.wake()
        self.report(Build(BUILD_ID, status, raw={}), since)

    def shown(self, since: float) -> Status:
        """Give the build's status when a read began, or a while before."""
        at = since - self.lag
        return next(
            (status for since, status in reversed(self.history) if since <= at), Status("pending")
        )

    def answer(self, since: float) -> None:
        """Report the build as it was when the read began, or a while ago."""
        build = Build(BUILD_ID, self.shown(since), raw={"logs": self.tail})
        self.fetched |= {line.message for line in self.lines[-TAIL:]}
        self.report(build, since)

    def report(self, build: Build, since: float) -> None:
        """Let the wait learn of the build, and note what it is obliged to now."""
        status = build.status
        self.reported.append(status)
        self.tracker.on_read(build, self.now, since if self.gathered else None)
        self.tell(self.reporter.on_read(build, self.now))
        if self.gathered and since < self.reason_at and not status.terminal:
            self.absent_since = self.trouble_since = inf
            self.read_due = max(self.now + 1.0, self.held_until)
            self.stale(status)
            return
        self.counts(status)

    def stale(self, status: Status) -> None:
        """Note that nobody can know better yet."""
        if status != self.status:
            self.clean_since = self.now

    def counts(self, status: Status) -> None:
        """Note what is owed after a read that counted."""
        self.stale(status)
        self.last_read = self.now
        self.absent_since = self.trouble_since = inf
        if self.second_due < inf:  # rumours may have put off the read that counts
            self.second_due = max(self.second_due, self.now + 1.1 * self.calm)
        self.read_due, self.second_due = self.second_due, inf
        if self.promised:
            self.read_due = min(self.read_due, self.now + 1.1 * 2.0**self.doubts)
            self.doubts += 1
        self.read_due = max(self.read_due, self.held_until)

    @property
    def tail(self) -> list[Any]:
        """The recent lines that a read brings, with their times or without."""
        lines = self.lines[-TAIL:]
        if not self.timed:
            return [line.message for line in lines]
        return [{"message": line.message, "timestamp": line.timestamp} for line in lines]

    def tell(self, records: list[LogMessage]) -> None:
        """Read the log of the task, in which no line may come twice."""
        for record in records:
            if record.line is not None:
                assert record.line.message not in self.told, "a line was told twice"
                self.told.add(record.line.message)
            elif record.text.endswith("lines left out"):
                self.left_out += int(record.text.split()[1])

    def refuse(self, fault: str) -> None:
        """Let the read fail; the wait may only give up where no waiting helps."""
        error = FAULTS[fault]
        self.trouble_since = min(self.trouble_since, self.now)
        self.absent_since = min(self.absent_since, self.now) if fault == "404" else inf
        wait = error.wait or 0.0 if isinstance(error, RateLimited) else 0.0
        self.closed_until = max(self.closed_until, self.now + wait)
        try:
            self.tracker.on_read_failed(error, self.now)
        except BuildPixelError as raised:
            self.gave_up(fault, raised)
            return
        assert fault != "401", "went on with a refused token"
        self.tell(self.reporter.on_read_failed(error, self.now))
        pause = max(min(30.0, self.poll), wait + min(1.0, 0.1 + wait / 10))
        self.held_until = max(self.held_until, self.now + pause)
        self.read_due = self.clean_since = self.held_until
        self.second_due = inf

    def gave_up(self, fault: str, raised: BuildPixelError) -> None:
        """Hold a wait that raises against what it must put up with."""
        assert raised is FAULTS[fault]
        gone = self.now - self.absent_since >= 60.0
        hopeless = self.now - self.trouble_since >= 3_600.0
        assert fault == "401" or gone or hopeless, f"gave up on {fault}"
        self.end = "raised"

    # What must hold at every instant.

    def check(self) -> None:
        """Hold the wait against its bounds."""
        if self.end is not None:
            return
        assert self.now <= min(self.read_due, self.until) + 2 * LATENCY + SLACK, "a read is overdue"
        assert self.now <= self.until + LATENCY + SLACK, "goes on after its deadline"
        assert self.now - self.absent_since <= 60.0 + 30.0 + 2 * LATENCY, "waits for what is gone"
        if all(status.queued for status in self.reported):
            assert self.now <= self.queue_until + 2 * LATENCY + SLACK, "queues after its deadline"
        self.check_end()
        self.check_rate()

    def check_end(self) -> None:
        """Hold the time since the build's end against the bound of the channel's state."""
        if not self.status.terminal:
            return
        since = max(self.history[-1][0], self.clean_since, self.closed_until)
        if self.joined:
            bound = 11.0 * self.poll
        else:
            since, bound = max(since, self.down_since), 1.1 * self.calm
        assert self.now - since <= bound + 2 * LATENCY + SLACK, "the end was not noticed in time"

    def check_rate(self) -> None:
        """Hold the reads of the last ten seconds against what a storm may cause."""
        while self.reads and self.reads[0] < self.now - 10.0:
            self.reads.popleft()
        assert len(self.reads) <= 16, "a storm of reads"
