"""Deliberate mistakes in the machines, each of which the simulations must notice."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Mutant:
    """One mistake: a piece of source that stands there once, and what replaces it."""

    name: str
    old: str
    new: str

    def of(self, module: ModuleType) -> ModuleType:
        """Give the module with the mistake in it."""
        source = inspect.getsource(module)
        assert source.count(self.old) == 1, f"{self.name}: the source has moved on; mend the list"
        twin = ModuleType(f"{module.__name__}__{self.name.replace('-', '_')}")
        sys.modules[twin.__name__] = twin  # dataclasses look their module up
        exec(
            compile(source.replace(self.old, self.new), f"<{self.name}>", "exec"), twin.__dict__
        )  # a mutant is source
        return twin


JOINED = "self._settled = True, False\n                "
JOIN = JOINED + "self._read_by(max(now, self._last_read + self._pacing.rumour_gap))"

WATCH = (
    Mutant(
        "believes-rumours",
        "self._read_by(self._rumour_at(status, now))",
        "self._end = status and status.terminal and type('Rumoured', (), {'status': status})()",
    ),
    Mutant("no-read-after-a-join", JOIN, JOINED + "pass"),
    Mutant(
        "no-second-read-after-a-join", "self._settled = True, False", "self._settled = True, True"
    ),
    Mutant(
        "every-join-reads-at-once",
        JOIN,
        JOINED + "self._read_by(now)",
    ),
    Mutant("deaf-to-a-loss", "self._joined = self._settled = False\n                self", "self"),
    Mutant("no-read-after-a-loss", "self._read_by(self._last_read + self._interval())", "pass"),
    Mutant("deaf-to-rumours", "self._read_by(self._rumour_at(status, now))", "pass"),
    Mutant(
        "every-rumour-reads-at-once",
        "return max(now, self._last_read + self._pacing.rumour_gap)",
        "return now",
    ),
    Mutant(
        "rumour-soon-forgotten",
        "if not self._rumours:\n            return self._interval()",
        "if True:\n            return self._interval()",
    ),
    Mutant(
        "failed-read-repeats",
        "self._read_at = self._not_before = max(self._not_before, now + pause)",
        "pass",
    ),
    Mutant(
        "reads-before-the-pause-is-over",
        "self._read_at = self._not_before = max",
        "self._read_at = max",
    ),
    Mutant(
        "never-reads-after-a-miss",
        "self._not_before = max(self._not_before, now + pause)",
        "self._not_before = inf",
    ),
    Mutant(
        "retry-after-ignored", "isinstance(error, RateLimited) and error.wait is not None", "False"
    ),
    Mutant("retry-after-0-spins", "asked_pause(error.wait, self._chance(), pause)", "error.wait"),
    Mutant("backoff-without-end", "first=min(1.0, cap), cap=cap)", "first=min(1.0, cap), cap=9e9)"),
    Mutant("no-polling-while-down", "calm = (self._joined and self._settled) or", "calm = True or"),
    Mutant(
        "no-rest-while-it-stands",
        "(self._pacing.backstop if calm else 1.0)",
        "(40.0 if calm else 1.0)",
    ),
    Mutant(
        "unknown-status-ends-it",
        "build if build.status.terminal",
        "build if build.status != 'running'",
    ),
    Mutant("deadline-forgotten", "if now >= self._until:", "if now > self._until + 60:"),
    Mutant("queue-deadline-forgotten", "if now >= queue_until:", "if False:"),
    Mutant(
        "stale-read-requeues",
        "self._started = self._started or not build.status.queued",
        "self._started = not build.status.queued",
    ),
    Mutant(
        "404-at-first-is-the-end",
        "self._absent_since >= self._pacing.absence",
        "self._absent_since >= 0",
    ),
    Mutant(
        "404-for-ever", "self._absent_since >= self._pacing.absence", "self._absent_since >= inf"
    ),
    Mutant(
        "refused-token-retried",
        "isinstance(error, Unauthorized | Forbidden",
        "isinstance(error, Forbidden",
    ),
    Mutant(
        "gives-up-on-a-500",
        "return isinstance(error, Unauthorized",
        "return not isinstance(error, RateLimited",
    ),
    Mutant(
        "outrun-answer-is-waited-for",
        "self._asked is not None, None\n        self._misses = 0",
        "self._asked is not None, self._asked\n        self._misses = 0",
    ),
    Mutant("put-off-by-others-lists", "            if own:", "            if True:"),
    Mutant("outrun-answer-counts", "since < self._reason_at", "since < -inf"),
    Mutant(
        "at-ease-after-its-deadline", "until = min(until, self._until, self._queue_end())", "pass"
    ),
    Mutant(
        "at-ease-for-too-long",
        "min(self._read_at - self._last_read, 1.1 * self._pause(), LONGEST)",
        "LONGEST",
    ),
    Mutant(
        "at-ease-as-long-as-it-was-refused",
        "min(self._read_at - self._last_read, 1.1 * self._pause(), LONGEST)",
        "min(self._read_at - self._last_read, LONGEST)",
    ),
    Mutant("asks-while-it-is-asked", "not (asked and self._asked == read)", "True"),
    Mutant(
        "listens-for-no-time",
        "min(next_at - now, self._until - now, queue_until - now, LONGEST)",
        "0.0",
    ),
)

SLEEP = (
    Mutant("sleeps-through-news", "if status != self._content or", "if self._content is None or"),
    Mutant("counts-what-is-older-than-a-rumour", "stamp.since >= self._since", "True"),
    Mutant("notes-nothing", "self._seen = stamp\n", "pass\n"),
    Mutant("sleeps-through-its-deadline", ", self._until)", ", inf)"),
    Mutant("sleeps-for-ever", "min(self._seen.at + self._pause, self._until)", "self._until"),
    Mutant("forgets-what-it-saw", "None, self._seen, None\n", "None, None, None\n"),
    Mutant(
        "learns-it-again-and-again",
        "self._content, seen, self._seen = None, self._seen, None",
        "self._content, seen = None, self._seen",
    ),
)

WHEEL = (
    Mutant("rings-early", "rings_at = ceil(at / TICK) * TICK", "rings_at = int(at / TICK) * TICK"),
    Mutant("rings-late", "rings_at = ceil(at / TICK) * TICK", "rings_at = (int(at) + 1) * 1.0"),
    Mutant("loses-the-others", "if slot is None:", "if True:"),
    Mutant("cannot-take-out", "slot.discard(item)", "pass"),
    Mutant("rings-one-slot-at-a-time", "while self.next_at() <= now:", "if self.next_at() <= now:"),
    Mutant("waits-for-the-last", "return self._order[0]", "return self._order[-1]"),
    Mutant(
        "rings-again",
        "self._slots.pop(heappop(self._order), ())",
        "self._slots[heappop(self._order)]",
    ),
)

BATCH = (
    Mutant("an-older-list-counts", "elif ask is not None and ask.at <= since:", "else:"),
    Mutant("lists-settle-nothing", "elif ask is not None and ask.at <= since:", "elif False:"),
    Mutant("waits-for-the-end-of-joins", "last + LULL), first + BURST)", "last + LULL), inf)"),
    Mutant("never-enough-of-a-few", "return first + GATHER\n", "return inf\n"),
    Mutant(
        "sweeps-without-rest", "return max(gathered, self._swept_at", "return max(gathered, -inf"
    ),
    Mutant("rests-as-if-all-were-cautious", "POLL_COST if self._polls else", ""),
    Mutant("burst-without-end", "min(last + QUIET, first + GATHER)", "last + 99.0"),
    Mutant("reads-nothing", "Round(tuple(self._calm))", "Round()"),
    Mutant(
        "forgets-the-rest",
        "if ask is not None and ask.at <= since)",
        "if ask is not None and ask.at > since)",
    ),
)

DISPATCH = (
    Mutant("repeats-without-a-look", "self._searching, self._looks = True, 0", "pass"),
    Mutant("looks-once", "if self._looks < len(LOOKS):", "if False:"),
    Mutant("repeats-after-a-timeout", "return not timed_out", "return True"),
    Mutant("repeats-after-a-504", "return status not in (408, 504, 524)", "return True"),
    Mutant(
        "repeats-after-an-accepted-request",
        "        case None:\n            return True\n",
        "        case None | UnexpectedAnswer():\n            return True\n",
    ),
    Mutant("takes-the-first-of-many", "if len(candidates) == 1:", "if candidates:"),
    Mutant("asks-without-end", "self._requests < 1 or not", "not"),
    Mutant("never-asks-again", "self._requests < 1 or not", "True or not"),
    Mutant("doubt-is-none", "if self._doubtful or self", "if self"),
    Mutant("doubt-is-forgotten", "self._doubtful |= {", "{"),
    Mutant("does-not-search", "self._searching = searching", "self._searching = False"),
    Mutant("refusal-is-a-loss", "if not uncertain(error):", "if False:"),
    Mutant("loss-is-an-answer", "self._started = build_id", "self._started = None"),
)

INTENT = (
    Mutant("adopts-pushes", "return not triggered_by.startswith(_ELSEWHERE)", "return True"),
    Mutant("doubts-nothing", "        if before.after(build)\n", "        if False\n"),
    Mutant("doubts-pushes", "        and ours(build.triggered_by)\n", ""),
    Mutant("adopts-strangers", "return triggered_by == token", "return True"),
    Mutant("adopts-what-was-there-before", "return build.id > self.newest", "return True"),
    Mutant("blind-to-new-builds", "return build.id > self.newest", "return False"),
    Mutant("forgets-the-build", "Recheck(intent.build_id) if intent.build_id else", ""),
    Mutant(
        "forgets-the-request", "if intent.build_id else Search()", "if intent.build_id else Fresh()"
    ),
    Mutant("deaf-to-a-clear", "intent.concluded and intent.generation != generation", "False"),
    Mutant("clear-before-the-end", "intent.concluded and intent.generation", "intent.generation"),
    Mutant("restarts-a-live-build", "return not build.status.terminal or build", "return build"),
    Mutant(
        "restarts-a-superseded-build",
        "build.status.succeeded or build.status.superseded",
        "build.status.succeeded",
    ),
    Mutant("restarts-a-success", "terminal or build.status.succeeded or", "terminal or"),
    Mutant("clings-to-a-failure", "if usable(build) and not (cleared", "if not (cleared"),
    Mutant(
        "clings-after-a-clear",
        "if usable(build) and not (cleared and build.status.superseded)",
        "if usable(build)",
    ),
)
