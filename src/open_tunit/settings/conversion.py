"""Nested plain values to frozen dataclasses and back, with errors that name the setting."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal


class ConfigError(ValueError):
    """A setting that cannot be: the message names it, what came and what was expected."""


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def plain(value: Any) -> Any:
    """`value` with dicts copied and tuples as lists, ready for YAML or JSON."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def with_dotted(values: Mapping[str, Any], dotted: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested `values` with dotted names set: {"training.batch": 16}. Raises ConfigError."""
    result: dict[str, Any] = plain(dict(values))
    for name, value in dotted.items():
        *parents, last = name.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
            require(isinstance(place, dict), f"{name} is not a setting")
        place[last] = value
    return result


def build(cls: type, values: Any, path: str) -> Any:
    """The dataclass `cls` of a nested mapping; `path` is how errors call it. Raises ConfigError."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path} is {values!r}; expected a mapping of settings")
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(set(values) - set(names), key=str)
    if unknown:
        nested = {field: f"{part}.{field}" for part in names for field in _fields_of(hints[part])}
        near = [difflib.get_close_matches(str(name), [*nested, *names], n=1) for name in unknown]
        meant = [nested.get(name, name) for found in near for name in found]
        hint = f"did you mean {', '.join(meant)}?" if len(meant) == len(unknown) else f"it has {', '.join(names)}"
        raise ConfigError(f"{path} has no setting {', '.join(map(repr, unknown))}; {hint}")
    missing = [f.name for f in dataclasses.fields(cls) if _is_required(f) and f.name not in values]
    require(not missing, f"{path} lacks {', '.join(missing)}")
    return cls(**{name: _convert(hints[name], value, f"{path}.{name}") for name, value in values.items()})


def _fields_of(hint: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(hint)] if dataclasses.is_dataclass(hint) else []


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(hint: Any, value: Any, path: str) -> Any:
    """`value` as the type `hint` says, or a ConfigError naming `path`. Handles the hints used in config.py."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, path)
    if origin is Literal:
        expected = ", ".join(map(str, arguments))
        require(value in arguments, f"{path} is {value!r}; expected one of {expected}")
        return value
    if origin is types.UnionType or origin is typing.Union:
        if value is None:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, path)
    if origin is tuple:
        require(isinstance(value, (list, tuple)), f"{path} is {value!r}; expected a list")
        return tuple(_convert(arguments[0], item, path) for item in value)
    return _convert_scalar(hint, value, path)


def _convert_scalar(hint: Any, value: Any, path: str) -> Any:
    if hint is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            value = float(value)
        except ValueError:
            pass
    fits = isinstance(value, hint) and not (hint in (int, float) and isinstance(value, bool))
    require(fits, f"{path} is {value!r}; expected {hint.__name__}")
    if hint is float:
        require(math.isfinite(value), f"{path} is {value}; expected a finite number")
    return value
