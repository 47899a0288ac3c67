"""From the bytes that are kept to what a reader asked for: a view, which is a msgspec Struct, or the whole object.

JSON is msgspec's and orjson's business. For protobuf a decoder is made once for each view. Of the kind's layout (see
`schema`) the protobuf library is told only the fields that the view has, so that it skips all others, in C; and a
function is generated that makes Structs of what was parsed. What comes out is what JSON of the same object would have
given: the API server's rules of what JSON leaves out are part of the layout.
"""

from __future__ import annotations

import types
from base64 import b64encode
from datetime import datetime, timedelta
from functools import lru_cache
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    NamedTuple,
    NoReturn,
    TypeAliasType,
    Union,
    get_args,
    get_origin,
)

import msgspec
import orjson

from informers.schema import Field, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

_BRACE: Final = ord("{")
"""What JSON begins with. A protobuf object begins with the tag of its first field, which is another number."""

_PACKAGE: Final = "view"
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # all times here are UTC, and have no offset to write

_OPTIONAL, _REPEATED = 1, 3
_INT, _BOOL, _STRING, _MESSAGE, _BYTES = 3, 8, 9, 11, 12
_SCALARS: Final = {"string": _STRING, "int": _INT, "bool": _BOOL, "bytes": _BYTES}
_LEAVES: Final = {
    "Time": ((1, _INT), (2, _INT)),
    "MicroTime": ((1, _INT), (2, _INT)),
    "Quantity": ((1, _STRING),),
    "IntOrString": ((1, _INT), (2, _INT), (3, _STRING)),
    "Raw": ((1, _BYTES),),
}
"""Messages that are no objects in JSON: their fields' numbers and types."""

_NATURAL: Final[dict[str, set[type]]] = {
    "string": {str},
    "Time": {str},
    "MicroTime": {str},
    "Quantity": {str},
    "int": {int},
    "bool": {bool},
    "bytes": {bytes},
    "IntOrString": {int, str},
}
"""Python types in a view for which values of a type need no conversion."""


def decoder[T](view: type[T], kind: str) -> Callable[[bytes], T]:
    """What makes a view of an object's bytes, be they JSON or protobuf.

    Args:
        view: A msgspec Struct, or `dict` for the whole object.
        kind: "apiVersion/kind" of the objects. It must be in the schema for those in protobuf.
    """
    from_json: Callable[[bytes], T] = orjson.loads if view is dict else _json_decoder(view)
    from_protobuf: Callable[[bytes], T] | None = None

    def decode(data: bytes) -> T:
        nonlocal from_protobuf
        if data[0] == _BRACE:  # as `is_json` says it
            return from_json(data)
        if from_protobuf is None:
            from_protobuf = _compile(view, kind)
        return from_protobuf(data)

    return decode


def _json_decoder[T](view: type[T]) -> Callable[[bytes], T]:
    """A decoder to which a null is as good as nothing, as it is to the API server and its Go clients."""
    strict = msgspec.json.Decoder(view).decode

    def decode(data: bytes) -> T:
        try:
            return strict(data)
        except msgspec.ValidationError:
            # Nulls are rare, and few fields of few kinds have them; only then is the longer way worth its time.
            return strict(orjson.dumps(_without_nulls(orjson.loads(data))))

    return decode


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(child) for name, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_without_nulls(child) for child in value]
    return value


def is_json(data: bytes) -> bool:
    """Whether an object's bytes are JSON; otherwise they are protobuf."""
    return data[0] == _BRACE


def message_class(kind: str, view: Any = dict) -> Any:
    """The protobuf library's class for a kind, with the fields of a view. Fields are named f1, f2, … by number."""
    return _Compiler(schema().kinds[kind], view, {}).message_class()


def _compile(view: Any, kind: str) -> Callable[[bytes], Any]:
    api_version, _, name = kind.rpartition("/")
    compiler = _Compiler(schema().kinds[kind], view, {"kind": name, "apiVersion": api_version})
    parse, make = compiler.message_class().FromString, compiler.function()
    return lambda data: make(parse(data))


class _Target(NamedTuple):
    """What is to become of a field's value.

    Attributes:
        plain: The value as JSON has it; otherwise as Python has it, in which bytes are no text.
        struct: The Struct that messages become; None: dicts.
        container: What a list of values becomes.
        convert: The annotation to which the plain value is converted at last, None where that is needless.
    """

    plain: bool = True
    struct: type[msgspec.Struct] | None = None
    container: type = list
    convert: Any = None


class _Value(NamedTuple):
    """Expressions: the value, before it is converted at last, and after."""

    plain: str
    converted: str


class _Compiler:
    """Makes the descriptor of a message with the fields of a view, and the source of the function that makes the view.

    Both have the same name, and so for each message below it. In expressions, `m` is a parsed message.
    """

    def __init__(self, message: str, view: Any, constants: dict[str, str]) -> None:
        from google.protobuf import descriptor_pb2  # megabytes, for who reads protobuf

        self._file = descriptor_pb2.FileDescriptorProto(name="view.proto", package=_PACKAGE, syntax="proto2")
        self._names: dict[tuple[str, Any], str] = {}
        self._sources: list[str] = []
        self._globals: dict[str, Any] = {
            "time": _time,
            "micro_time": _micro_time,
            "raw": _raw,
            "text": _text,
            "missing": _missing,
            "convert": msgspec.convert,
        }
        self._root = self._message(message, None if view is dict else view, constants)

    def function(self) -> Callable[[Any], Any]:
        """Makes the view of a parsed message."""
        # As dataclasses do it. What is in the source are names from our table and from the programmer's classes.
        exec("\n".join(self._sources), self._globals)  # noqa: S102
        made: Callable[[Any], Any] = self._globals[self._root]
        return made

    def message_class(self) -> Any:
        """Parses the message."""
        from google.protobuf import descriptor_pool, message_factory

        pool = descriptor_pool.DescriptorPool()
        pool.Add(self._file)
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{self._root}"))

    def _message(self, message: str, struct: type[msgspec.Struct] | None, constants: dict[str, str]) -> str:
        known = self._names.get((message, struct))
        if known is not None:
            return known
        name = self._names[message, struct] = f"M{len(self._names)}"
        descriptor = self._file.message_type.add(name=name)
        if struct is None:
            lines = [f"d = {constants!r}", *self._whole(message, descriptor, "m"), "return d"]
        else:
            lines = [self._view(message, descriptor, struct, constants)]
        self._sources.append(f"def {name}(m):\n " + "\n ".join(lines))
        return name

    def _whole(self, message: str, descriptor: DescriptorProto, path: str) -> Iterator[str]:
        """Statements that put all fields of a message into the dict `d`."""
        for field in schema().messages[message]:
            if field.presence == "inline":
                yield from self._whole(field.type, self._inline(descriptor, field), f"{path}.f{field.number}")
                continue
            value = self._value(descriptor, field, path, _Target()).plain
            key, sent = f"d[{field.name!r}]", f"{path}.HasField('f{field.number}')"
            match field.presence:
                case "required" if field.shape != "one":
                    yield f"{key} = {value} or None"
                case "nullable":
                    yield f"{key} = {value} if {sent} else None"
                case "required" | "optional" if field.shape == "one":  # what is required a server sends if it knows it
                    yield f"if {sent}: {key} = {value}"
                case _:
                    yield f"v = {value}"
                    yield f"if v: {key} = v"

    def _view(
        self, message: str, descriptor: DescriptorProto, struct: type[msgspec.Struct], constants: dict[str, str]
    ) -> str:
        """The statement that returns a Struct with those of its fields that the message has."""
        arguments: list[str] = []
        inlined: dict[tuple[Field, ...], DescriptorProto] = {(): descriptor}
        known = {field.name: (field, steps) for field, steps in _flat(message)}
        for wanted in msgspec.structs.fields(struct):
            name = wanted.encode_name
            if name in known:
                field, steps = known[name]
                for depth, step in enumerate(steps):
                    if steps[: depth + 1] not in inlined:
                        inlined[steps[: depth + 1]] = self._inline(inlined[steps[:depth]], step)
                path = ".".join(["m", *(f"f{step.number}" for step in steps)])
                target = _target(wanted.type, field)
                value = self._value(inlined[steps], field, path, target)
                arguments.append(f"{wanted.name}={self._or_default(value, field, path, wanted)}")
            elif name in constants:
                arguments.append(f"{wanted.name}={constants[name]!r}")
            elif wanted.required:
                arguments.append(f"{wanted.name}=missing({name!r})")
        return f"return {self._constant(struct)}({', '.join(arguments)})"

    def _or_default(self, value: _Value, field: Field, path: str, wanted: msgspec.structs.FieldInfo) -> str:
        """The value, or where JSON does not have the field the view's default."""
        one, converts = field.shape == "one", value.plain != value.converted
        is_time, is_message = field.type in {"Time", "MicroTime"}, field.type in schema().messages
        empty = type(wanted.default) in {str, int, bool, bytes, tuple} and not wanted.default
        if (empty or wanted.default_factory in {dict, list}) and not converts and not is_time:
            return value.plain  # a field that was not sent is parsed as just that
        if one and is_message and field.presence == "required":
            return value.converted
        if wanted.required:
            default = f"missing({wanted.encode_name!r})"
        elif wanted.default_factory is not msgspec.NODEFAULT:
            default = f"{self._constant(wanted.default_factory)}()"
        else:
            default = self._constant(wanted.default)
        if one and field.presence != "nonzero" and not is_time:
            return f"{value.converted} if {path}.HasField('f{field.number}') else {default}"
        return f"{value.converted} if {value.plain} else {default}" if converts else f"{value.plain} or {default}"

    def _value(self, descriptor: DescriptorProto, field: Field, path: str, target: _Target) -> _Value:
        """The value of a field, which is added to the descriptor."""
        place = f"{path}.f{field.number}"
        made = descriptor.field.add(
            name=f"f{field.number}",
            number=field.number,
            label=_OPTIONAL if field.shape == "one" else _REPEATED,
        )
        if field.shape == "map":  # read as the list of entries that it is on the wire: the library's maps are slow
            entry = self._file.message_type.add(name=f"{descriptor.name}_{field.number}")
            entry.field.add(name="f1", number=1, label=_OPTIONAL, type=_STRING)
            content = entry.field.add(name="f2", number=2, label=_OPTIONAL)
            element = self._element(content, field, "x.f2", target)
            self._typed(made, _MESSAGE, entry.name)
            value = f"{{x.f1: {element} for x in {place}[:]}}"
        elif field.shape == "many":
            element = self._element(made, field, "x", target)
            value = f"{place}[:]" if element == "x" else f"[{element} for x in {place}[:]]"
            if target.container is not list:
                value = f"{target.container.__name__}({value})"
        else:
            value = self._element(made, field, place, target)
        return _Value(value, f"convert({value}, {self._constant(target.convert)})" if target.convert else value)

    def _element(self, made: FieldDescriptorProto, field: Field, place: str, target: _Target) -> str:
        """The expression of the single value at a place."""
        if field.type in _SCALARS:
            self._typed(made, _SCALARS[field.type])
            return f"text({place})" if field.type == "bytes" and target.plain else place
        if field.type not in _LEAVES:
            name = self._message(field.type, target.struct, {})
            self._typed(made, _MESSAGE, name)
            return f"{name}({place})"
        if (field.type, None) not in self._names:
            self._names[field.type, None] = field.type
            leaf = self._file.message_type.add(name=field.type)
            for number, code in _LEAVES[field.type]:
                leaf.field.add(name=f"f{number}", number=number, label=_OPTIONAL, type=code)
        self._typed(made, _MESSAGE, field.type)
        return {
            "Time": f"time({place})",
            "MicroTime": f"micro_time({place})",
            "Quantity": f"{place}.f1",
            "IntOrString": f"({place}.f3 if {place}.f1 else {place}.f2)",
            "Raw": f"raw({place}.f1)",
        }[field.type]

    def _inline(self, descriptor: DescriptorProto, field: Field) -> DescriptorProto:
        """The descriptor of a message whose fields JSON shows as its parent's."""
        nested = self._file.message_type.add(name=f"{descriptor.name}_{field.number}")
        made = descriptor.field.add(name=f"f{field.number}", number=field.number, label=_OPTIONAL)
        self._typed(made, _MESSAGE, nested.name)
        return nested

    def _typed(self, made: FieldDescriptorProto, code: int, name: str = "") -> None:
        made.type = code  # type: ignore[assignment]
        if name:
            made.type_name = f".{_PACKAGE}.{name}"

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._globals)}"
        self._globals[name] = value
        return name


def _flat(message: str, steps: tuple[Field, ...] = ()) -> Iterator[tuple[Field, tuple[Field, ...]]]:
    """The fields that JSON shows in a message, and the inlined fields that lead to each."""
    for field in schema().messages[message]:
        if field.presence == "inline":
            yield from _flat(field.type, (*steps, field))
        else:
            yield field, steps


def _target(annotation: Any, field: Field) -> _Target:
    """What a view's annotation makes of a field. What is not understood here, msgspec makes of the plain value."""
    container: type = list
    members = _members(annotation)
    if field.shape != "one":
        if len(members) != 1 or get_origin(members[0]) not in {list, tuple, dict}:
            return _Target(convert=annotation)
        container, items = get_origin(members[0]) or list, get_args(members[0])
        if container is tuple and items[1:] != (...,):
            return _Target(convert=annotation)
        members = _members(items[-1 if container is dict else 0])
    if field.type not in _NATURAL and len(members) == 1 and _is_plain_struct(members[0]):
        return _Target(struct=members[0], container=container)
    if _NATURAL.get(field.type, {Any}) <= set(members):
        return _Target(plain=False, container=container)
    return _Target(convert=annotation)


def _members(annotation: Any) -> list[Any]:
    """The types that a value may have by its annotation, None not among them."""
    while isinstance(annotation, TypeAliasType):
        annotation = annotation.__value__
    origin = get_origin(annotation)
    if isinstance(origin, TypeAliasType):  # Nullable[T]: its parameter stands for the argument
        return _members(origin.__value__[get_args(annotation)])
    if origin is Annotated and not any(isinstance(note, msgspec.Meta) for note in annotation.__metadata__):
        return _members(annotation.__origin__)
    if origin in {Union, types.UnionType}:
        return [found for member in get_args(annotation) if member is not types.NoneType for found in _members(member)]
    return [annotation]


def _is_plain_struct(annotation: Any) -> bool:
    if not (isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)):
        return False
    config = annotation.__struct_config__
    return config.tag is None and not config.array_like


def _missing(name: str) -> NoReturn:
    raise msgspec.ValidationError(f"Object missing required field `{name}`")


def _text(value: bytes) -> str:
    return b64encode(value).decode()


def _raw(value: bytes) -> Any:
    return orjson.loads(value) if value else None


def _time(value: Any) -> str | None:
    seconds = value.f1
    return _rfc3339(seconds) if seconds or value.HasField("f1") else None


def _micro_time(value: Any) -> str | None:
    text = _time(value)
    return None if text is None else f"{text[:-1]}.{value.f2 // 1000:06}Z"


@lru_cache(4096)
def _rfc3339(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat() + "Z"
