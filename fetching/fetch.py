"""Make a weights directory complete: what is there is checked, what is missing is fetched."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fetching.download import Corrupt
from fetching.files import FULL, temporaries
from fetching.manifest import Entry, WeightsError
from fetching.obtain import judge, obtain
from fetching.progress import Meter, in_bytes
from fetching.retry import NotFound, Refused, Stopped, retrying
from fetching.sources import MIRROR_VARIABLE, Hub, Mirror, Source
from fetching.store import COMPLETE, DIRECTORY_VARIABLE, MISSING, UNVERIFIED, Store
from fetching.verify import Expected, hash_file

logger = logging.getLogger(__name__)

NAMES_IN_MESSAGE = 8
STAT_BLOCK = 512  # bytes in the unit of st_blocks, whatever the file system's own is


@dataclass
class Plan:
    """What is known of a file before it is fetched."""

    entry: Entry
    expected: Expected
    source: Source | None = None  # the first that has it
    answers: list[Exception] = field(default_factory=list)  # of the sources that did not deliver it
    notes: list[str] = field(default_factory=list)

    @property
    def absent(self) -> bool:
        """Every source that was asked says that it does not exist."""
        return bool(self.answers) and all(isinstance(answer, NotFound) for answer in self.answers)


class Fetch:
    """One run over a store. `will_convert`: the pickles' copies need disk space too."""

    def __init__(self, store: Store, will_convert: bool = False):
        self.store, self.transfer = store, store.manifest.transfer
        self.will_convert = will_convert
        self.stop = threading.Event()
        self.plans: dict[str, Plan] = {}
        self.sources: list[Source] = []

    def run(self, groups: Iterable[str], retry_absent: bool = False) -> None:
        """Raises WeightsError naming what is missing, where it was looked for, and the ways to provide it."""
        groups = list(groups)
        if retry_absent:
            self.store.absent.clear()
        # Files that name another come first: then the total is known before the first large byte.
        self.bring([entry for entry in self.store.entries(groups) if entry.names_checkpoint])
        self.bring(self.store.entries(groups))
        self.conclude(self.store.entries(groups))

    def bring(self, entries: list[Entry]) -> None:
        """Check and fetch what can be; what cannot is left for `conclude`."""
        pending = [entry for entry in entries if self.store.state(entry) not in COMPLETE]
        if not pending:
            return
        if any(entry.sha256 is None or self.store.state(entry) == MISSING for entry in pending):
            self.connect()
            pending = self.pinned_by_mirror(pending)  # what is there and pinned needs no source
        with ThreadPoolExecutor(self.transfer.connections) as pool:
            plans = list(pool.map(self.plan, pending))
        self.plans.update((plan.entry.path, plan) for plan in plans)
        with ThreadPoolExecutor(self.transfer.files_at_once) as pool:
            list(pool.map(self.adopt, [plan for plan in plans if self.store.state(plan.entry) == UNVERIFIED]))
        missing = [plan for plan in plans if self.store.state(plan.entry) == MISSING]
        if missing:
            self.connect()
        for plan in missing:
            if plan.expected.hashed and plan.source is None:
                plan.source = next(self.usable(), None)
        self.check_space(missing)
        self.download_all([plan for plan in missing if plan.source])

    # --- sources --------------------------------------------------------------------------------

    def connect(self) -> None:
        """Begin to reach for the sources."""
        if not self.sources:
            mirror = os.environ.get(MIRROR_VARIABLE)
            self.sources = [*([Mirror(mirror, self.transfer)] if mirror else []), Hub(self.transfer)]

    def usable(self, first: Source | None = None) -> Iterator[Source]:
        """The sources that can be reached, in order, from `first` on."""
        start = self.sources.index(first) if first else 0
        return (source for source in self.sources[start:] if source.problem() is None)

    def pinned_by_mirror(self, entries: list[Entry]) -> list[Entry]:
        """`entries` as the mirror's own lock has them, when there is no lock here."""
        mirror = next(self.usable(), None)
        if self.store.locked or not isinstance(mirror, Mirror):
            return entries
        self.store.locked = mirror.lock(self.stop).get(self.store.model, {})
        self.store.lock_trust = "the lock of the mirror"
        return [self.store.pinned(entry) for entry in entries]

    def plan(self, entry: Entry) -> Plan:
        """What `entry` must be, by its pin or by the first source that has it."""
        if entry.sha256:
            expected = Expected(entry.size, entry.sha256, trust=entry.trust)
            return Plan(entry, expected, next(self.usable(), None))
        plan = Plan(entry, Expected())
        for source in self.usable():
            if self.announced(plan, source):
                break
        return plan

    def announced(self, plan: Plan, source: Source) -> bool:
        """Ask `source` for the plan's file; note in the plan what it says."""
        try:
            plan.entry, plan.expected = retrying(
                lambda: source.announce(plan.entry), self.transfer, self.stop
            )
        except Refused as e:
            plan.answers.append(e)
            return False
        plan.source = source
        return True

    # --- what is there --------------------------------------------------------------------------

    def adopt(self, plan: Plan) -> None:
        """Record a file that lies in the directory unrecorded, or take its name from it."""
        path = self.store.path(plan.entry)
        received = hash_file(path, plan.expected)
        wrong = judge(path, plan.entry, plan.expected, received)
        if wrong is None:
            self.store.record(plan.entry, received, plan.expected.trust)
            logger.info("%s: was there already; verified by %s", plan.entry.path, plan.expected.trust)
            return
        aside = self.store.set_aside(plan.entry)
        logger.warning(
            "%s: %s; expected %s (%s), found %s; moved to %s",
            path,
            wrong,
            plan.expected,
            plan.expected.trust,
            received,
            aside.name,
        )
        plan.notes.append(f"{path}: {wrong}")

    # --- what is missing ------------------------------------------------------------------------

    def check_space(self, plans: list[Plan]) -> None:
        """Raise WeightsError before the first byte when the disk is too small for all of them."""
        needed = 0
        for plan in plans:
            size = plan.expected.size or 0
            begun = sum(
                path.stat().st_blocks * STAT_BLOCK for path in temporaries(self.store.path(plan.entry))
            )
            copies = 2 if self.will_convert and plan.entry.rule else 1
            needed += max(0, size * copies - begun)
        free = shutil.disk_usage(self.store.directory).free
        if plans and needed + self.transfer.spare_bytes > free:
            raise WeightsError(
                f"not enough disk space in {self.store.directory}: {in_bytes(needed)} for "
                f"{len(plans)} files and {in_bytes(self.transfer.spare_bytes)} to spare are needed, "
                f"{in_bytes(free)} are free"
            )

    def download_all(self, plans: list[Plan]) -> None:
        """Fetch every planned file; small ones first, so that large ones end the run together."""
        if not plans:
            return
        plans = sorted(plans, key=lambda plan: plan.expected.size or 0)
        total = sum(plan.expected.size or 0 for plan in plans)
        logger.info("fetching %d files, %s, to %s", len(plans), in_bytes(total), self.store.directory)
        with (
            Meter(total, self.transfer.progress_seconds) as meter,
            ThreadPoolExecutor(self.transfer.connections) as parts,
            ThreadPoolExecutor(self.transfer.files_at_once) as files,
        ):
            try:
                for done in [files.submit(self.fetch_one, plan, parts, meter) for plan in plans]:
                    done.result()
            except BaseException:
                self.stop.set()
                files.shutdown(wait=False, cancel_futures=True)
                raise

    def fetch_one(self, plan: Plan, parts: Executor, meter: Meter) -> None:
        """Fetch one file from the first source that delivers it; failures are noted in the plan."""
        for source in self.usable(plan.source):
            if source is not plan.source and not plan.expected.hashed and not self.announced(plan, source):
                continue
            try:
                obtain(self.store, source, plan.entry, plan.expected, self.stop, parts, meter)
                return
            except Stopped:
                return  # whoever stopped the run says why
            except (Refused, Corrupt) as e:
                plan.answers.append(e)
                logger.warning("%s: not from %s: %s", plan.entry.path, source.label, e)
            except OSError as e:
                self.stop.set()
                raise disk_error(e, self.store.path(plan.entry), plan.expected) from e

    # --- outcome --------------------------------------------------------------------------------

    def conclude(self, entries: list[Entry]) -> None:
        """Note which optional files do not exist, and raise WeightsError for the others that are missing."""
        lacking = []
        for entry in entries:
            if self.store.state(entry) in COMPLETE:
                continue
            plan = self.plans.get(entry.path, Plan(entry, Expected()))
            if not entry.optional:
                lacking.append(plan)
            elif plan.absent or not any(self.usable()):
                self.store.record_absent(
                    entry, "not published" if plan.absent else "no source could be reached"
                )
            else:
                logger.warning(
                    "optional %s was not fetched: %s", entry.path, "; ".join(map(str, plan.answers))
                )
        if lacking:
            raise WeightsError(self.explain(lacking))

    def explain(self, plans: list[Plan]) -> str:
        """One line: what is missing, where it was looked for, what came of it, and the ways to provide it."""
        looked = [str(self.store.directory)]
        if not os.environ.get(MIRROR_VARIABLE):
            looked.append(f"no mirror ({MIRROR_VARIABLE} is not set)")
        looked += [
            source.label + (f" ({source.problem()})" if source.problem() else "") for source in self.sources
        ]
        reasons = list(
            dict.fromkeys(str(reason) for plan in plans for reason in [*plan.notes, *plan.answers])
        )
        return (
            f"model '{self.store.model}' is not complete: "
            f"missing {some([plan.entry.path for plan in plans])}; looked in {', '.join(looked)}"
            f"{': ' + some(reasons, '; ') if reasons else ''}. Three ways to provide them: put the files "
            f"into that directory ({DIRECTORY_VARIABLE} names another); set {MIRROR_VARIABLE} to a mirror "
            "that has them; or let this machine reach the hub (HF_ENDPOINT, HF_TOKEN) and run "
            f"`python weights.py fetch --model {self.store.model}`"
        )


def some(names: list[str], separator: str = ", ") -> str:
    """Names for a message, cut after a few."""
    more = len(names) - NAMES_IN_MESSAGE
    return separator.join(names[:NAMES_IN_MESSAGE]) + (f" and {more} more" if more > 0 else "")


def disk_error(error: OSError, path: Path, expected: Expected) -> WeightsError:
    if error.errno in FULL:
        free = shutil.disk_usage(path.parent).free
        return WeightsError(
            f"no room for {path}: expected {expected}, {in_bytes(free)} are free ({error.strerror})"
        )
    return WeightsError(f"cannot write {path}: {error.strerror or error}")
