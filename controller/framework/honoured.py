"""Which fields of a spec are set but not served: nothing that a user writes is dropped in silence.

A field that is set to what it would be anyway asks for nothing, and is not named: a condition that names it would not
be worth an alert. The default that its type declares is what a field would be anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import msgspec.inspect

from controller.apis.meta import Condition
from controller.apis.served import Honoured, Moot, Only, find
from controller.framework.text import some

TYPE = "FieldsHonoured"
HONOURED, NOT_SERVED, INVALID = "AllFieldsHonoured", "FieldsNotServed", "FieldsInvalid"
DIFFERING = "ImmutableFieldsDiffer"
"""Reasons of the condition."""
MAX_NAMED = 20
"""Fields that the condition names; more are counted."""


def unhonoured(
    spec: Mapping[str, Any], honoured: Mapping[str, Honoured], struct: type[msgspec.Struct]
) -> tuple[str, ...]:
    """The paths, such as "mon.zones[1].arbiter", that are set in `spec` and not in `honoured`, in the spec's order.

    Args:
        spec: What the user wrote, as JSON.
        honoured: What is served of it.
        struct: The type of `spec`, for its fields' defaults. A field that has the default's value is not named, and
            nothing below a field `enabled` that is off by default and not set. A field without a default in the
            type counts as not set only if it is null or empty: `false` may mean something.
    """
    return tuple(_walk(spec, honoured, _type_info(struct), ""))


@cache
def _type_info(struct: type[msgspec.Struct]) -> msgspec.inspect.Type:
    return msgspec.inspect.type_info(struct)


def condition(
    unserved: Sequence[str], absent: Sequence[str], generation: int, *, invalid: Sequence[str] = ()
) -> Condition:
    """Condition FieldsHonoured.

    Args:
        unserved: What is set and not served, the most important first.
        absent: What upstream does where nothing is set, and this operator does not.
        generation: The object's.
        invalid: Values that mean nothing: each with its path and what counts instead.
    """
    told = f"not run by this operator, though upstream does by default: {', '.join(absent)}" if absent else ""
    status, reason = "True", HONOURED
    if unserved:
        status, reason = "False", NOT_SERVED
        named = f"set in the spec, but not served by this operator: {some(unserved, MAX_NAMED)}"
        told = f"{named}; {told}" if told else named
    if invalid:
        status, reason = "False", INVALID
        more_invalid = [f"and {len(invalid) - MAX_NAMED} more"] if len(invalid) > MAX_NAMED else []
        told = "; ".join([*invalid[:MAX_NAMED], *more_invalid, *([told] if told else [])])
    return Condition(type=TYPE, status=status, reason=reason, message=told, observed_generation=generation)


def differing(kept: Sequence[str], unserved: Sequence[str], generation: int) -> Condition:
    """Condition FieldsHonoured of an object of which something cannot be changed any more.

    Args:
        kept: What it has otherwise than its spec asks, and keeps: each with its path, and what is to be done about it.
        unserved: What is set and not served.
        generation: The object's.
    """
    found = condition(unserved, (), generation)
    if not kept:
        return found
    message = "; ".join([*kept, *([found.message] if found.message else [])])
    return msgspec.structs.replace(found, status="False", reason=DIFFERING, message=message)


def _walk(
    value: Mapping[str, Any], honoured: Mapping[str, Honoured], known: msgspec.inspect.Type, prefix: str
) -> Iterator[str]:
    fields = _fields(known)
    for name, child in value.items():
        path = f"{prefix}.{name}" if prefix else name
        field = fields.get(name)
        if _asks_for_nothing(child, field):
            continue
        served, below = find(honoured, name)
        kind = field.type if field is not None else _values(known)
        yield from _descend(child, below, kind, path) if served else _set_below(child, kind, path)


def _descend(value: object, honoured: Honoured, known: msgspec.inspect.Type, path: str) -> Iterator[str]:
    match honoured:
        case None | Moot():
            return
        case Only(values):
            if value not in values:
                yield f"{path}={value}"
        case Mapping():
            if isinstance(value, Mapping):
                yield from _walk(value, honoured, known, path)
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    yield from _descend(item, honoured, _values(known), f"{path}[{index}]")


def _set_below(value: object, known: msgspec.inspect.Type, path: str) -> Iterator[str]:
    """The paths that are set below a field that is not served, down to lists and maps whose keys are the user's."""
    fields = _fields(known)
    if not isinstance(value, Mapping) or not fields:
        yield path
        return
    for name, child in value.items():
        field = fields.get(name)
        if not _asks_for_nothing(child, field):
            yield from _set_below(child, field.type if field is not None else _ANY, f"{path}.{name}")


def _asks_for_nothing(value: object, field: msgspec.inspect.Field | None) -> bool:
    if value is None or value in ("", {}, []):
        return True
    if isinstance(value, list):
        return all(isinstance(item, Mapping) and _is_unset(item, _ANY) for item in value)
    if isinstance(value, Mapping):
        return _is_unset(value, field.type if field is not None else _ANY)
    if field is None or field.default is msgspec.NODEFAULT or field.default is None:
        return False
    if value == field.default:
        return True
    # The number zero asks for the default; see SpecStruct.
    return value == 0 and not isinstance(value, bool)


def _is_unset(value: Mapping[str, Any], known: msgspec.inspect.Type) -> bool:
    fields = _fields(known)
    switch = fields.get("enabled")
    if switch is not None and switch.default is False and not value.get("enabled"):
        return True
    return all(_asks_for_nothing(child, fields.get(name)) for name, child in value.items())


_ANY = msgspec.inspect.AnyType()


def _bare(known: msgspec.inspect.Type) -> msgspec.inspect.Type:
    if isinstance(known, msgspec.inspect.Metadata):
        return _bare(known.type)
    if isinstance(known, msgspec.inspect.UnionType):
        return next((_bare(t) for t in known.types if not isinstance(t, msgspec.inspect.NoneType)), _ANY)
    return known


def _fields(known: msgspec.inspect.Type) -> Mapping[str, msgspec.inspect.Field]:
    bare = _bare(known)
    return _by_name(bare.cls) if isinstance(bare, msgspec.inspect.StructType) else {}


@cache
def _by_name(struct: type[msgspec.Struct]) -> Mapping[str, msgspec.inspect.Field]:
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)  # noqa: S101 -- what type_info gives for a Struct
    return {field.encode_name: field for field in info.fields}


def _values(known: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """The type of what is in a list or map."""
    bare = _bare(known)
    if isinstance(bare, msgspec.inspect.DictType):
        return bare.value_type
    return bare.item_type if isinstance(bare, msgspec.inspect.VarTupleType | msgspec.inspect.ListType) else _ANY
