"""Which partitions are stale, and why: today's code, knobs and inputs of each, beside the receipts of what was made.

Inputs are content. The stages up to the panel rest on the stored candles themselves, a stage that reads the panel on the panel's
values, any other on the outputs that receipts name: what comes out equal makes nothing behind it stale. A dated stage takes no
input from a stage without days: that one knows later days. Behind the panel a partition whose input is stale is stale with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

from crossattn_core.candles.lake.store import Lake
from crossattn_core.days import days_between
from crossattn_core.home import Home
from crossattn_core.panel.store import chain_hash
from crossattn_core.receipts import AcceptedCode, MadeFrom, Receipt, Receipts, combined_hash, hash_of_values
from crossattn_core.stage import DayRule, Stage
from crossattn_core.stages import StageTable
from crossattn_core.tuning.ledger import read_trials
from crossattn_core.walk_forward.overrides import Override, read_overrides

__all__ = ["WHOLE", "Reason", "StaleStage", "Staleness"]

WHOLE = "all"
"""The key of a stage that has no partitions."""

Cause = Literal["missing", "code", "knobs", "inputs", "upstream"]

MAX_NAMED = 4
"""Differences that a reason spells out."""


@dataclass(frozen=True)
class Reason:
    """Why a partition is stale."""

    cause: Cause
    origin: str
    """The stage whose own code, knobs or inputs changed."""
    why: str
    """In words, for instance ``training/loss.py changed``."""


@dataclass(frozen=True)
class StaleStage:
    """A stage that has to run, and its stale days; none where it has no partitions."""

    stage: str
    days: list[date]


@dataclass(frozen=True)
class Staleness:
    """What every partition should have been made from, as of now."""

    table: StageTable
    home: Home
    lake: Lake
    receipts: Receipts
    last_day: date
    _reasons: dict[str, dict[str, Reason]] = field(default_factory=dict, repr=False)
    _alike: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)
    _differences: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)

    @cached_property
    def days(self) -> list[date]:
        """Every day of the experiment that is over."""
        return list(days_between(self.table.experiment.period.start, self.last_day))

    def expected(self, name: str) -> dict[str, MadeFrom]:
        """Partition key -> what it should be made from."""
        stage = self.table[name]
        code, knobs = self.table.code_hash(stage), hash_of_values(self.table.knobs_of(stage))
        return {key: MadeFrom(code, knobs, inputs) for key, inputs in self._inputs(stage).items()}

    def recordable(self, name: str) -> dict[str, MadeFrom]:
        """``expected``, without the partitions whose rows come from SQL tables that are stale themselves.

        A receipt names candles and SQL, not the tables between: of rows from a table that is behind both it would not be true.
        """
        behind = {key for table in self._tables_read(self.table[name]) for key in self.reasons(table.name)}
        return {key: made_from for key, made_from in self.expected(name).items() if key not in behind}

    def reasons(self, name: str, first: date | None = None, last: date | None = None) -> dict[str, Reason]:
        """Key -> why, of every stale partition of a stage, in order; days outside first..last are left out."""
        if name not in self._reasons:
            stage = self.table[name]
            self._reasons[name] = {} if stage.rule is DayRule.ON_REQUEST else dict(self._found(stage))
        after, before = (first or date.min).isoformat(), (last or date.max).isoformat()
        return {key: reason for key, reason in self._reasons[name].items() if key == WHOLE or after <= key <= before}

    def stale_days(self, name: str, first: date | None = None, last: date | None = None) -> list[date]:
        """The stale days, within first..last, of a dated stage."""
        return [date.fromisoformat(key) for key in self.reasons(name, first, last)]

    def is_stale(self, name: str) -> bool:
        """Whether anything of a stage is stale."""
        return bool(self.reasons(name))

    def stale_stages(self, first: date, last: date, job: str | None = None) -> list[StaleStage]:
        """The assets' stages (of ``job``) with something stale within first..last, each after what it reads.

        Views and whole tables are made with what reads them and are never among these.
        """
        chosen = [stage for stage in self.table if stage.is_asset and job in (None, stage.job)]
        stale = [stage for stage in chosen if self.reasons(stage.name, first, last)]
        return [StaleStage(stage.name, self.stale_days(stage.name, first, last) if stage.is_dated else []) for stage in stale]

    def lines(self, name: str, first: date | None = None, last: date | None = None) -> list[str]:
        """One line a reason: ``walk_forward: 365 days (2025-01-01 .. 2025-12-31), training/loss.py changed``."""
        lines = []
        for why, group in groupby(self.reasons(name, first, last).items(), key=lambda entry: entry[1].why):
            keys = [key for key, _ in group]
            days = f"{len(keys)} days ({keys[0]} .. {keys[-1]})" if len(keys) > 1 else f"1 day ({keys[0]})"
            lines.append(f"{name}:{'' if keys == [WHOLE] else f' {days},'} {why}")
        return lines

    def codes_like(self, name: str) -> frozenset[str]:
        """Today's code of a stage and every version that was accepted as giving the same results."""
        if name not in self._alike:
            self._alike[name] = self.receipts.codes_like(name, self.table.code_hash(self.table[name]))
        return self._alike[name]

    def accept_code(self, at: datetime, note: str) -> list[AcceptedCode]:
        """Take today's code of every stage for one that gives the same results as the code that its receipts name.

        Returns:
            what was recorded; empty where no stage's code differs.
        """
        recorded = []
        for stage in self.table:
            code, alike = self.table.code_hash(stage), self.codes_like(stage.name)
            for before in sorted({receipt.made_from.code for receipt in self.receipts.of_stage(stage.name).values()} - alike):
                accepted = AcceptedCode(stage.name, code, before, at, note)
                self.receipts.accept_code(accepted)
                self.receipts.record(stage.name, (), [self.table.code_of(stage)])
                recorded.append(accepted)
        self._reasons.clear()
        self._alike.clear()
        return recorded

    def _files_are_there(self, stage: Stage, day: str) -> bool:
        return all((self.home.root / name.format(day=day)).is_file() for name in stage.day_files)

    def _found(self, stage: Stage) -> Iterator[tuple[str, Reason]]:
        stored, behind = self.receipts.of_stage(stage.name), self._stale_before(stage)
        if stage.is_in_warehouse and not self.home.warehouse.is_file():
            stored = {}  # of a home that was restored, or whose warehouse was deleted
        if stage.day_files:
            stored = {key: receipt for key, receipt in stored.items() if self._files_are_there(stage, key)}
        codeless = self.receipts.codeless(stage.name)
        for key, made_from in self.expected(stage.name).items():
            reason = self._own_reason(stage, stored.get(key), made_from, key in codeless)
            if reason is None:
                reason = next((reason for since, reason in behind if _reaches(stage, since, key)), None)
            if reason is not None:
                yield key, reason

    def _own_reason(self, stage: Stage, receipt: Receipt | None, expected: MadeFrom, codeless: bool) -> Reason | None:
        if receipt is None:
            if codeless:
                return Reason("missing", stage.name, "made by an earlier version, whose receipts name no code")
            return Reason("missing", stage.name, "never complete" if stage.group == "candles" else "never made")
        held = receipt.made_from
        if held.code not in self.codes_like(stage.name):
            return Reason("code", stage.name, self._code_difference(stage, held.code))
        if held.knobs != expected.knobs:
            return Reason("knobs", stage.name, self._difference(held.knobs, self.table.knobs_of(stage)))
        if held.inputs != expected.inputs:
            named = [source.name for source in self._input_stages(stage)] + list(stage.external_inputs)
            return Reason("inputs", stage.name, f"inputs changed ({_one_of(named)})")
        return None

    def _stale_before(self, stage: Stage) -> list[tuple[str, Reason]]:
        """(key, reason) of stale partitions of the stages behind the panel that ``stage`` reads, earliest first."""
        found = []
        for source in self.table.parents(stage):
            if source.job == "models" and (source.is_dated or not stage.is_dated):
                for key, reason in self.reasons(source.name).items():
                    root = reason.why if reason.cause != "upstream" else reason.why.partition(": ")[2]
                    found.append((key, Reason("upstream", reason.origin, f"{source.name} is stale: {root}")))
        return sorted(found, key=lambda entry: entry[0])

    def _inputs(self, stage: Stage) -> dict[str, str]:
        sources = self._input_stages(stage)
        if not stage.is_dated:
            parts = [combined_hash(*(value for _, value in sorted(self._content(source).items()))) for source in sources]
            return {WHOLE: combined_hash(*parts, *(self._external_input(name, self.last_day) for name in stage.external_inputs))}
        contents = [self._content(source) for source in sources]
        inputs: dict[str, str] = {}
        before = ""
        for day in self.days:
            parts = [content.get(day.isoformat(), "") for content in contents]
            parts += [self._external_input(name, day) for name in stage.external_inputs]
            before = combined_hash(before, *parts) if stage.rule is DayRule.CHAINED else combined_hash(*parts)
            inputs[day.isoformat()] = before
        return inputs

    def _input_stages(self, stage: Stage) -> tuple[Stage, ...]:
        """The stages whose content is an input: SQL models are looked through, down to the candles."""
        found: list[Stage] = []
        for source in self.table.parents(stage):
            if source.sql and source.name != "feature_windows":
                found += self._input_stages(source)
            elif source.is_dated or not stage.is_dated:
                found.append(source)
        return tuple(dict.fromkeys(found))

    def _tables_read(self, stage: Stage) -> set[Stage]:
        """The SQL tables stored by the day that a stage up to the panel, or a SQL model, reads, through views."""
        read = [source for source in self.table.parents(stage) if source.is_in_warehouse] if stage.sql else []
        return {table for source in read for table in ({source} if source.is_dated else self._tables_read(source))}

    def _content(self, stage: Stage) -> Mapping[str, str]:
        """Key -> hash of what a stage's partitions hold."""
        if stage.group == "candles":
            return self._candle_days[stage.name]
        if stage.name == "feature_windows":
            return self._panel_days
        return self.receipts.outputs(stage.name)

    def _external_input(self, name: str, day: date) -> str:
        """What people recorded up to a day."""
        if name == "overrides":
            return repr([override for override in self._overrides if override.day <= day])
        return str(len(read_trials(self.home)))

    @cached_property
    def _overrides(self) -> list[Override]:
        return read_overrides(self.home)

    @cached_property
    def _candle_days(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for stage in self.table:
            if stage.group == "candles":
                venue = stage.name.removeprefix("candles/").removesuffix("_funding")
                kinds = ("funding",) if stage.name.endswith("_funding") else ("candles", "dividends")
                by_kind = [self.lake.day_hashes(venue, self.days[0], self.days[-1], kind=kind) for kind in kinds]
                found[stage.name] = {
                    day.isoformat(): combined_hash(*(days.get(day, "") for days in by_kind)) for day in self.days
                }
        return found

    @cached_property
    def _panel_days(self) -> dict[str, str]:
        """Day -> hash of the panel up to its end."""
        chain = chain_hash(self.home, self.table.experiment)
        return {day.isoformat(): value for day, value in chain.items() if day <= self.last_day}

    def _code_difference(self, stage: Stage, before: str) -> str:
        """What differs between today's code and, of all versions accepted as giving what ``before`` gives, the nearest."""
        now = self.table.code_of(stage)
        contents = {code: self.receipts.content(code) for code in sorted(self.receipts.codes_like(stage.name, before))}
        known = {code: content for code, content in contents.items() if content is not None}
        return self._difference(min(known, key=lambda code: len(known[code].items() ^ now.items()), default=before), now)

    def _difference(self, before: str, now: Mapping[str, Any]) -> str:
        """What differs between the code or knobs with the hash ``before`` and ``now``, in words."""
        compared = (before, hash_of_values(now))
        if compared not in self._differences:
            self._differences[compared] = _in_words(self.receipts.content(before), now)
        return self._differences[compared]


def _one_of(names: Sequence[str]) -> str:
    """A receipt holds one hash of all inputs: which of them changed is not known.

    >>> _one_of(["feature_windows", "walk_forward", "overrides"])
    'feature_windows, walk_forward or overrides'
    """
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _reaches(stage: Stage, since: str, key: str) -> bool:
    """Whether a stale input partition makes the partition ``key`` stale."""
    return key == WHOLE or since == key or (stage.rule is DayRule.CHAINED and since <= key)


def _in_words(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    if before is None:
        return "made by code or knobs that were not recorded"
    changes = []
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) == now.get(name):
            continue
        is_code = name.endswith(".sql") or ".py" in name
        if name not in before:
            changes.append(f"{name} is new")
        elif name not in now:
            changes.append(f"{name} is gone")
        else:
            changes.append(f"{name} changed" if is_code else f"{name} {before[name]} -> {now[name]}")
    more = f" and {len(changes) - MAX_NAMED} more" if len(changes) > MAX_NAMED else ""
    return ", ".join(changes[:MAX_NAMED]) + more
