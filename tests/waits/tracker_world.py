"""A simulated build, its channel and its REST API, and a wait that is driven through them."""

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
from airflow_provider_buildpixel.waits.actions import (
    Done,
    Expired,
    IdleWait,
    Listen,
    Pacing,
    Read,
    ReadTime,
)
from airflow_provider_buildpixel.waits.reporter import WaitReporter
from airflow_provider_buildpixel.waits.tracker import BuildTracker

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.channel.events import Event
    from airflow_provider_buildpixel.waits.reporter import LogMessage

BUILD_ID = "b" * 24
ROUNDING = 1e-6
LATENCY = 0.25
MAX_STEPS_PER_INSTANT = 300
RECENT_LINES = 8
PENDING = Status("pending")

FAULTS: dict[str, BuildPixelError] = {
    "500": ServerFault("broken", status_code=500),
    "reset": Unreachable("reset"),
    "truncated": UnexpectedAnswer("half an answer", status_code=200),
    "404": NotFound("not here", status_code=404),
    "401": Unauthorized("revoked", status_code=401),
    "429": RateLimited("slower", wait=20.0),
    "429 for 0 s": RateLimited("slower", wait=0.0),
    "429 without time": RateLimited("slower"),
}


class World:
    """One wait for one build. Every broken promise of the wait is an AssertionError.

    :param has_times: whether REST returns the times of log lines.
    :param reads_later: reads are requested and answered later, as in a monitor of many waits.
    :param idles: the wait idles as one of many, and lists that other waits requested show its
        build, too; its reads are answered later.
    """

    def __init__(
        self,
        *,
        poll_interval: float = 30.0,
        has_times: bool = True,
        reads_later: bool = False,
        idles: bool = False,
        uses_channel: bool = True,
        socket_only: bool = False,
        timeout: float = inf,
        queue_timeout: float = inf,
    ) -> None:
        self.now = 1_000.0
        self.poll_interval, self.has_times = poll_interval, has_times
        self.reads_later, self.uses_channel = reads_later or idles, uses_channel
        self.idle_wait = IdleWait() if idles else None
        self.is_idle = False
        self.deadline, self.queue_deadline = self.now + timeout, self.now + queue_timeout
        self.polls_every = poll_interval * (10.0 if socket_only else 1.0)
        jitters = cycle((0.0, 0.99, 0.5, 0.2, 0.8))
        self.tracker = BuildTracker(
            self.now,
            pacing=Pacing(poll_interval=poll_interval),
            deadline=self.deadline,
            queue_deadline=self.queue_deadline,
            uses_channel=uses_channel,
            socket_only=socket_only,
            jitter=lambda: next(jitters),
        )
        self.reporter = WaitReporter(self.now, rate=1.0, burst=5.0)
        self.reported_lines: set[str] = set()
        self.dropped_lines = 0
        # The build.
        self.history = [(self.now, PENDING)]
        self.lines: list[LogLine] = []
        self.fetched_lines: set[str] = set()
        # REST.
        self.next_faults: deque[str] = deque()
        self.outage: str | None = None
        self.read_lag = 0.0
        self.closed_until = self.paused_until = -inf
        self.reads: deque[float] = deque()
        self.last_read_at = -inf
        self.statuses_read: list[Status] = []
        # The channel.
        self.is_connected = False
        self.joined_at = inf  # by the server
        self.events: list[tuple[float, int, Event | Callable[[], None]]] = []
        self.last_event_at = self.requested_at = -inf
        self.order = count()
        # What the wait must do: the latest instants of its next reads, and of its end.
        self.read_due = self.now + (3.0 if uses_channel else 0.0)
        self.second_read_due = inf
        self.is_joined = False
        self.disconnected_at = self.stale_until = self.now
        self.has_hint, self.hint_reads = False, 0
        self.not_found_since = self.failing_since = inf
        self.end: str | None = None

    # What happens in the world.

    @property
    def status(self) -> Status:
        """The build's true status."""
        return self.history[-1][1]

    def set_status(self, status: str, delays: tuple[float, ...] = (0.0,)) -> None:
        """Change the build's status; send an event after each delay, or none."""
        if not self.status.terminal:
            self.history.append((self.now, Status(status)))
            self.emit(StatusHint(BUILD_ID, self.status), delays)

    def log(self, lines: int, delays: tuple[float, ...] = (0.0,)) -> None:
        """Let the build write log lines, each with a text of its own."""
        for _ in range(lines):
            at = datetime.fromtimestamp(self.now, UTC).isoformat()
            line = LogLine(f"line {len(self.lines)}", timestamp=at)
            self.lines.append(line)
            self.emit(LogEvent(BUILD_ID, line), delays)

    def emit(self, event: Event, delays: tuple[float, ...]) -> None:
        """Send an event to the room, if the server has the wait in it by now."""
        if self.is_connected and self.now >= self.joined_at:
            for delay in delays:
                self.deliver(event, delay)

    def deliver(self, event: Event | Callable[[], None], delay: float = 0.0) -> None:
        """Put an event into the wait's queue, whether it is true or not."""
        heapq.heappush(self.events, (self.now + delay, next(self.order), event))

    def join(self, after: float = 0.0) -> None:
        """Connect the channel; the server processes the join some time after it was reported."""
        self.is_connected, self.joined_at = True, self.now + after
        self.deliver(Joined())

    def disconnect(self) -> None:
        """Disconnect the channel."""
        self.is_connected = False
        self.deliver(Disconnected("cut"))

    def repair(self) -> None:
        """End all trouble of REST."""
        self.outage, self.read_lag = None, 0.0
        self.next_faults.clear()

    # What the wait does.

    def run(self, seconds: float) -> None:
        """Drive the wait for some time, or to its end."""
        until, steps, instant = self.now + seconds, 0, self.now
        while self.end is None and self.now < until:
            self.step(until)
            steps = steps + 1 if self.now == instant else 0
            instant = self.now
            assert steps < MAX_STEPS_PER_INSTANT, "the wait spins"
            self.check()
        self.now = max(self.now, until)

    def step(self, until: float) -> None:
        """Perform one action; an idle wait has none before it wakes."""
        if self.is_idle and self.idle_wait and (pause := self.idle_wait.wake_at() - self.now) > 0:
            self.listen(pause, until)
            return
        self.wake()
        match self.tracker.next_action(self.now):
            case Done(build):
                self.check_done(build)
            case Expired(queue=queue):
                self.check_expired(queue=queue)
            case Read():
                self.read()
            case Listen(seconds):
                assert seconds > 0, "listens for no time"
                if self.idle_wait is not None:
                    self.idle_wait.go_idle(self.tracker.idle_terms(), self.now + seconds)
                    self.is_idle = True
                self.listen(seconds, until)

    def wake(self) -> None:
        """Stop idling; the tracker gets the last list that showed nothing new."""
        self.is_idle = False
        read_time = self.idle_wait.take_last_read() if self.idle_wait is not None else None
        if read_time is not None:
            self.tracker.on_unchanged(read_time.at, read_time.since)

    def check_done(self, build: Build) -> None:
        """Compare the end with what REST returned."""
        assert self.statuses_read, "done without a read"
        assert build.status == self.statuses_read[-1], "done with another build than REST returned"
        assert build.status.terminal
        assert self.status == build.status
        counted = len(self.reported_lines) + self.dropped_lines
        assert counted == len(self.fetched_lines), "lines vanished uncounted"
        self.end = "done"

    def check_expired(self, *, queue: bool) -> None:
        """Compare the end with the deadlines."""
        if queue:
            assert self.now >= self.queue_deadline, "gave up in the queue too early"
            assert all(status.queued for status in self.statuses_read), "was out of the queue"
        else:
            assert self.now >= self.deadline, "gave up too early"
        self.end = "expired"

    def listen(self, seconds: float, until: float) -> None:
        """Wait for the next event."""
        wake_at = min(self.now + seconds, until)
        if not self.events or self.events[0][0] > wake_at:
            self.now = wake_at
            return
        at, _, event = heapq.heappop(self.events)
        self.now = max(self.now, at)
        if callable(event):
            event()
        else:
            self.on_event(event)

    def on_event(self, event: Event) -> None:
        """Pass an event on, and note what the wait must do."""
        self.wake()
        self.tracker.on_event(event, self.now)
        self.check_messages(self.reporter.on_event(event, self.now))
        soon = max(self.now, self.last_read_at + 1.0, self.requested_at + 1.0, self.paused_until)
        if isinstance(event, Joined | StatusHint):
            self.last_event_at = self.now
        match event:
            case Joined():
                self.is_joined = True
                self.read_due = min(self.read_due, soon)
                self.second_read_due = self.read_due + 1.1 * self.polls_every + LATENCY
            case Disconnected():
                self.is_joined, self.second_read_due = False, inf
                self.disconnected_at = self.now
            case LogEvent(line=line):
                self.fetched_lines.add(line.message)
            case StatusHint(status=status) if status is not None and status.terminal:
                self.has_hint = True
                self.read_due = min(self.read_due, soon)

    def read(self) -> None:
        """Answer a read, or let it fail."""
        assert self.now >= self.closed_until, "read before Retry-After had passed"
        self.reads.append(self.now)
        fault = self.next_faults.popleft() if self.next_faults else self.outage
        since = self.now
        if self.reads_later:
            self.tracker.read_requested(self.now)
            self.requested_at, self.read_due = self.now, inf
            self.deliver(lambda: self.answer(fault, since), LATENCY)
        else:
            self.now += LATENCY
            self.answer(fault, since)

    def answer(self, fault: str | None, since: float) -> None:
        """Deliver the answer of a read that began at ``since``."""
        self.wake()
        if fault is not None:
            self.on_read_failed(fault)
            return
        build = Build(BUILD_ID, self.status_at(since), raw={"logs": self.recent_lines})
        self.fetched_lines |= {line.message for line in self.lines[-RECENT_LINES:]}
        self.on_read(build, since)

    def read_list(self, latency: float) -> None:
        """Begin a read of a list that contains the build, for another wait."""
        if self.outage is None:
            since = self.now
            self.deliver(lambda: self.on_list(since), latency)

    def on_list(self, since: float) -> None:
        """Deliver the list; an idle wait that knows the status stays idle."""
        assert self.idle_wait is not None
        status = self.status_at(since)
        if self.idle_wait.on_status(str(status), ReadTime(since, self.now)):
            if since >= self.last_event_at:
                self.statuses_read.append(status)
                self.on_counted_read(status)
            return
        self.wake()
        self.on_read(Build(BUILD_ID, status, raw={}), since)

    def status_at(self, since: float) -> Status:
        """Return the build's status when a read began, or before if reads lag."""
        at = since - self.read_lag
        return next((status for set_at, status in reversed(self.history) if set_at <= at), PENDING)

    def on_read(self, build: Build, since: float) -> None:
        """Pass a read on, and note what the wait must do."""
        status = build.status
        self.statuses_read.append(status)
        self.tracker.on_read(build, self.now, since if self.reads_later else None)
        self.check_messages(self.reporter.on_read(build, self.now))
        if self.reads_later and since < self.last_event_at and not status.terminal:
            self.not_found_since = self.failing_since = inf
            self.read_due = max(self.now + 1.0, self.paused_until)
            self.note_stale(status)
            return
        self.on_counted_read(status)

    def note_stale(self, status: Status) -> None:
        """If a read was stale, the wait could not know better until now."""
        if status != self.status:
            self.stale_until = self.now

    def on_counted_read(self, status: Status) -> None:
        """Note what the wait must do after a read that counted."""
        self.note_stale(status)
        self.last_read_at = self.now
        self.not_found_since = self.failing_since = inf
        if self.second_read_due < inf:  # hints may have delayed the read that counts
            self.second_read_due = max(self.second_read_due, self.now + 1.1 * self.polls_every)
        self.read_due, self.second_read_due = self.second_read_due, inf
        if self.has_hint:
            self.read_due = min(self.read_due, self.now + 1.1 * 2.0**self.hint_reads)
            self.hint_reads += 1
        self.read_due = max(self.read_due, self.paused_until)

    @property
    def recent_lines(self) -> list[Any]:
        """The recent lines that a read returns, with their times or without."""
        lines = self.lines[-RECENT_LINES:]
        if not self.has_times:
            return [line.message for line in lines]
        return [{"message": line.message, "timestamp": line.timestamp} for line in lines]

    def check_messages(self, messages: list[LogMessage]) -> None:
        """Read the task's log, which must contain no line twice."""
        for message in messages:
            self.dropped_lines += message.dropped
            if message.line is not None:
                assert message.line.message not in self.reported_lines, "a line was reported twice"
                self.reported_lines.add(message.line.message)

    def on_read_failed(self, fault: str) -> None:
        """Let a read fail; the wait may only give up if waiting does not help."""
        error = FAULTS[fault]
        self.failing_since = min(self.failing_since, self.now)
        self.not_found_since = min(self.not_found_since, self.now) if fault == "404" else inf
        wait = error.wait or 0.0 if isinstance(error, RateLimited) else 0.0
        self.closed_until = max(self.closed_until, self.now + wait)
        try:
            self.tracker.on_read_failed(error, self.now)
        except BuildPixelError as raised:
            self.check_raised(fault, raised)
            return
        assert fault != "401", "went on with a refused token"
        self.check_messages(self.reporter.on_read_failed(error, self.now))
        pause = max(min(30.0, self.poll_interval), wait + min(1.0, 0.1 + wait / 10))
        self.paused_until = max(self.paused_until, self.now + pause)
        self.read_due = self.stale_until = self.paused_until
        self.second_read_due = inf

    def check_raised(self, fault: str, raised: BuildPixelError) -> None:
        """Compare an error of the wait with what it must tolerate."""
        assert raised is FAULTS[fault]
        is_gone = self.now - self.not_found_since >= 60.0
        is_too_long = self.now - self.failing_since >= 3_600.0
        assert fault == "401" or is_gone or is_too_long, f"gave up on {fault}"
        self.end = "raised"

    # What must hold at every instant.

    def check(self) -> None:
        """Compare the wait with its bounds."""
        if self.end is not None:
            return
        late = 2 * LATENCY + ROUNDING
        assert self.now <= min(self.read_due, self.deadline) + late, "a read is overdue"
        assert self.now <= self.deadline + LATENCY + ROUNDING, "goes on after its deadline"
        gone_for = self.now - self.not_found_since
        assert gone_for <= 60.0 + 30.0 + 2 * LATENCY, "waits for a missing build"
        if all(status.queued for status in self.statuses_read):
            assert self.now <= self.queue_deadline + late, "queues after its deadline"
        self.check_end()
        self.check_rate()

    def check_end(self) -> None:
        """Compare the time since the build's end with the bound of the channel's state."""
        if not self.status.terminal:
            return
        since = max(self.history[-1][0], self.stale_until, self.closed_until)
        if self.is_joined:
            bound = 11.0 * self.poll_interval
        else:
            since, bound = max(since, self.disconnected_at), 1.1 * self.polls_every
        late = 2 * LATENCY + ROUNDING
        assert self.now - since <= bound + late, "the end was not noticed in time"

    def check_rate(self) -> None:
        """Compare the reads of the last ten seconds with what a storm may cause."""
        while self.reads and self.reads[0] < self.now - 10.0:
            self.reads.popleft()
        assert len(self.reads) <= 16, "a storm of reads"
