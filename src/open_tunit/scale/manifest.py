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
    no line is written again.
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
        self._lines += [json.dumps({"source": source, "outputs": outputs}) for source, outputs in done.items()]
        self.done |= done.keys()
        self.shards |= numbers_of(itertools.chain.from_iterable(done.values()))
        news = {source: reason for source, reason in dead.items() if self.dead.get(source) != reason}
        self._lines += [json.dumps({"source": source, "reason": reason}) for source, reason in news.items()]
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
        for name in self._out.files(FOLDER):
            if not name.endswith(".jsonl") or name.startswith(f"{FOLDER}/."):
                continue
            for line in json_objects(self._out.read_text(name).splitlines()):
                if "reason" in line:
                    self.dead[line["source"]] = line["reason"]
                else:
                    self.done.add(line["source"])
                    self.shards |= numbers_of(line["outputs"])
        self.dead = {source: reason for source, reason in self.dead.items() if source not in self.done}
        self._dead_changed = bool(self.dead)


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
