"""From a Struct to the structural OpenAPI v3 schema that a CustomResourceDefinition carries.

Descriptions come from the string below each field, which is found in the source, so this is for build time only.
What "structural" demands: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

import ast
import inspect
import textwrap
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeAliasType, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from controller.apis.meta import JsonObject, ObjectMeta, Schema

_SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number"}


def schema_of(annotation: Any) -> JsonObject:
    """The schema of values of a type.

    Raises:
        TypeError: The type has no structural schema.
    """
    bare, constraints = _unwrap(annotation)
    schema = _type_schema(bare, constraints)
    for constraint in constraints:
        schema |= _keywords(constraint)
    return schema


def fields_of(struct: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a Struct, with their annotations as written: aliases and constraints are still in them."""
    hints = get_type_hints(struct, include_extras=True)
    return tuple(
        msgspec.structs.FieldInfo(
            name=field.name,
            encode_name=field.encode_name,
            type=hints[field.name],
            default=field.default,
            default_factory=field.default_factory,
        )
        for field in msgspec.structs.fields(struct)
    )


def is_required(annotation: Any) -> bool:
    """Whether the field with this annotation must be there."""
    return any(constraint.required for constraint in _unwrap(annotation)[1])


@cache
def descriptions(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The string below each field of a Struct, by the field's Python name; those of its bases too."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if base is msgspec.Struct or not issubclass(base, msgspec.Struct):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)  # noqa: S101 -- a class has the source of a class
        for statement, below in zip(body.body, body.body[1:], strict=False):
            match statement, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = inspect.cleandoc(text).replace("\n", " ")
    return found


def summary(struct: type[msgspec.Struct]) -> str:
    """The first paragraph of a Struct's docstring, on one line."""
    return inspect.cleandoc(struct.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _unwrap(annotation: Any) -> tuple[Any, tuple[Schema, ...]]:
    """The bare type, and the constraints around it from the inside to the outside. None in a union is dropped."""
    origin = get_origin(annotation)
    if origin is Annotated:
        bare, constraints = _unwrap(get_args(annotation)[0])
        return bare, constraints + tuple(m for m in annotation.__metadata__ if isinstance(m, Schema))
    if isinstance(annotation, TypeAliasType):
        return _unwrap(annotation.__value__)
    if isinstance(origin, TypeAliasType):
        arguments = dict(zip(origin.__type_params__, get_args(annotation), strict=True))
        return _unwrap(_substitute(origin.__value__, arguments))
    if origin in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        if len(members) == 1:
            return _unwrap(members[0])
    return annotation, ()


def _substitute(annotation: Any, arguments: dict[Any, Any]) -> Any:
    if isinstance(annotation, TypeVar):
        return arguments[annotation]
    parameters = getattr(annotation, "__parameters__", ())
    return annotation[tuple(arguments[p] for p in parameters)] if parameters else annotation


def _type_schema(bare: Any, constraints: tuple[Schema, ...]) -> JsonObject:
    if any(constraint.int_or_string for constraint in constraints):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
    for constraint in constraints:
        if constraint.like is not None:
            return _struct_schema(constraint.like)
    if bare in _SCALARS:
        return {"type": _SCALARS[bare]}
    if bare is ObjectMeta:  # the API server has its own schema for metadata and allows no other
        return {"type": "object"}
    origin, arguments = get_origin(bare), get_args(bare)
    if origin in (tuple, list):
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is dict:
        return {"type": "object"} | ({} if arguments[1] is Any else {"additionalProperties": schema_of(arguments[1])})
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return _struct_schema(bare)
    raise TypeError(f"no structural schema for {bare!r}: use a Struct, tuple, dict[str, ...], str, int, float or bool")


def _struct_schema(struct: type[msgspec.Struct]) -> JsonObject:
    texts = descriptions(struct)
    properties: JsonObject = {}
    required: list[str] = []
    for field in sorted(fields_of(struct), key=lambda field: field.encode_name):
        schema = schema_of(field.type)
        if text := with_default(texts.get(field.name, ""), field):
            schema["description"] = text
        properties[field.encode_name] = schema
        if is_required(field.type):
            required.append(field.encode_name)
    schema = {"type": "object", "description": summary(struct), "properties": properties}
    return schema | ({"required": required} if required else {})


def with_default(text: str, field: msgspec.structs.FieldInfo) -> str:
    """A field's description with its default, where that is a number or text and the field may be left out."""
    value = field.default
    told = (
        isinstance(value, int | float | str) and not isinstance(value, bool) and value and not is_required(field.type)
    )
    if not text or not told:
        return text
    return f"{text} Default: {value}."


def _keywords(constraint: Schema) -> JsonObject:
    values = {
        "nullable": constraint.nullable,
        "enum": list(constraint.enum),
        "minimum": constraint.minimum,
        "maximum": constraint.maximum,
        "minLength": constraint.min_length,
        "maxLength": constraint.max_length,
        "minItems": constraint.min_items,
        "maxItems": constraint.max_items,
        "maxProperties": constraint.max_properties,
        "pattern": constraint.pattern,
        "format": constraint.format,
        "x-kubernetes-preserve-unknown-fields": constraint.preserve_unknown,
        "x-kubernetes-list-type": constraint.list_type,
        "x-kubernetes-list-map-keys": list(constraint.list_map_keys),
        "x-kubernetes-validations": [{"rule": r.rule, "message": r.message} for r in constraint.rules],
    }
    keywords = {k: v for k, v in values.items() if v is not None and v is not False and v not in ("", [])}
    if constraint.default is not msgspec.UNSET:
        keywords["default"] = constraint.default
    return keywords
