"""What of a large translation is done: written beside the results, so that a restart goes on where it stopped."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Mapping, Sequence

from open_tunit.files import json_objects
from open_tunit.scale.result_shards import numbers_of
from open_tunit.scale.storage import Storage

FOLDER = "manifest"
JOB = f"{FOLDER}/job.json"
DEAD_LETTERS = "dead-letters.jsonl"


class Manifest:
    """The sources that are done, with their outputs, and those that were left out, with the reason.

    OUT/manifest/ has job.json, which tells what was asked for, and files of JSON lines, each written whole: a source
    and its outputs, or a source and the reason. OUT/dead-letters.jsonl repeats the latter. A result whose source is in
    no line is written again; a line of a shard that is there no more is forgotten.
    """

    def __init__(self, out: Storage) -> None:
        self.done: set[str] = set()
        self.dead: dict[str, str] = {}
        """Source -> why it was left out."""
        self.shards: set[int] = set()
        """The numbers of those that hold outputs."""
        self._out, self._job = out, out.read_text(JOB)
        self._run, self._parts = uuid.uuid4().hex[:12], 0
        self._lines: list[str] = []
        self._dead_changed = False

    @property
    def exists(self) -> bool:
        """Whether a translation into this place was begun."""
        return bool(self._job)

    def begin(self, job: Mapping[str, str], *, overwrite: bool) -> None:
        """Read what is done of this job; with `overwrite` begin anew.

        Raises ValueError where another job, or an unreadable one, was begun here, and OSError.
        """
        if self.exists and overwrite:
            self._out.delete(self._out.files(FOLDER))
            self._dead_changed = True
        elif self.exists:
            before = next(json_objects([self._job]), {})
            changed = ", ".join(key for key, value in job.items() if before.get(key) != value)
            if changed:
                raise ValueError(f"{self._out} has translations of another {changed}; name another --out")
            self._read()
        self._out.write_text(JOB, json.dumps(dict(job), indent=1) + "\n")

    def add(self, done: Mapping[str, Sequence[str]], dead: Mapping[str, str]) -> None:
        """Take in sources with their outputs, and those left out with the reason; `flush` writes them."""
        self._lines += [_line(source, outputs=outputs) for source, outputs in done.items()]
        self.done |= done.keys()
        self.shards |= numbers_of(itertools.chain.from_iterable(done.values()))
        news = {source: reason for source, reason in dead.items() if self.dead.get(source) != reason}
        self._lines += [_line(source, reason=reason) for source, reason in news.items()]
        self._dead_changed |= bool(news) or any(source in self.dead for source in done)
        self.dead = {source: reason for source, reason in (self.dead | news).items() if source not in done}

    def flush(self) -> None:
        """Write what was added. Raises OSError."""
        if self._lines:
            self._out.write_text(f"{FOLDER}/{self._run}-{self._parts:06d}.jsonl", _text(self._lines))
            self._parts, self._lines = self._parts + 1, []
        if self._dead_changed:
            letters = [json.dumps({"path": path, "reason": reason}) for path, reason in sorted(self.dead.items())]
            self._out.write_text(DEAD_LETTERS, _text(letters))
            self._dead_changed = False

    def _read(self) -> None:
        names = [name for name in self._out.files(FOLDER) if name.endswith(".jsonl")]
        names = [name for name in names if not name.startswith(f"{FOLDER}/.")]
        done: list[tuple[str, list[str]]] = []
        for line in (line for name in names for line in json_objects(self._out.read_text(name).splitlines())):
            match line:
                case {"source": str(source), "reason": str(reason)}:
                    self.dead[source] = reason
                case {"source": str(source), "outputs": [*outputs]}:
                    done.append((source, list(map(str, outputs))))
        self._dead_changed = bool(self.dead)
        kept = self._still_there(done)
        self.shards = numbers_of(output for _, outputs in kept for output in outputs)
        self.done = {source for source, _ in kept}
        self.dead = {source: reason for source, reason in self.dead.items() if source not in self.done}
        if len(kept) < len(done):  # on disk too: other sources may get the number
            self._lines = [_line(source, outputs=outputs) for source, outputs in kept]
            self._lines += [_line(source, reason=reason) for source, reason in self.dead.items()]
            self.flush()
            self._out.delete(names)

    def _still_there(self, done: Sequence[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
        """Sources and outputs, less those in a shard that is gone."""
        named = numbers_of(output for _, outputs in done for output in outputs)
        gone = named - numbers_of(self._out.files()) if named else set()
        return [(source, outputs) for source, outputs in done if not gone or gone.isdisjoint(numbers_of(outputs))]


def _line(source: str, **about: str | Sequence[str]) -> str:
    return json.dumps({"source": source, **about})


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
