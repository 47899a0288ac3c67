"""Whether an apply is needed: what is wanted of an object against what there is, by digests. Pure.

See `controller.runtime.apply`, which does what is found here.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import orjson

from controller.runtime.altered import Held
from controller.runtime.difference import difference, differences

if TYPE_CHECKING:
    from controller.runtime.program import Program
    from informers import JsonObject


def pending(obj: JsonObject, live: JsonObject, program: Program) -> str | None:
    """Why an apply of `obj` by `program` over `live` is needed, in words; None if it is not. It reads nothing else."""
    wanted = as_stored(obj)
    return why_needed(wanted, digest_of(wanted), live, program.digest_annotation)


def why_needed(wanted: JsonObject, digest: str, live: JsonObject, key: str) -> str | None:
    """The same for what is `as_stored`, with its digest and the annotation that has what was applied before."""
    found = difference(wanted, live)
    if found is None:
        before = applied_digest(live, key)
        if before == digest:
            return None
        if before is None:
            found = "it is as wanted, but was not applied by this operator"
        else:
            found = "what was applied before is not wanted any more"
    if isinstance(live, Held) and live.digest == digest and live.left in (None, left_of(wanted, digest, live, key)):
        return None
    return found


def applied_digest(live: JsonObject, key: str) -> str | None:
    """The digest of what was applied before, by the annotation of that name; None: nothing was."""
    found: str | None = (live["metadata"].get("annotations") or {}).get(key)
    return found


def left_of(wanted: JsonObject, digest: str, live: JsonObject, key: str) -> str | None:
    """A digest of everything in which `live` differs from `wanted`, which has that digest; None: nothing."""
    found: list[Any] = [(path, value) for path, _, value in differences(wanted, live)]
    if applied_digest(live, key) != digest:
        found.append(applied_digest(live, key))
    return digest_of(found) if found else None


def as_applied(obj: JsonObject, program: Program) -> JsonObject:
    """`obj` as an apply by `program` sends it: with its digest, and texts of a Secret encoded."""
    wanted = as_stored(obj)
    return with_digest(wanted, digest_of(wanted), program.digest_annotation)


def with_digest(wanted: JsonObject, digest: str, key: str) -> JsonObject:
    """What is wanted, with its digest in the annotation of that name."""
    metadata = wanted["metadata"]
    annotations = {**(metadata.get("annotations") or {}), key: digest}
    return {**wanted, "metadata": {**metadata, "annotations": annotations}}


def as_stored(obj: JsonObject) -> JsonObject:
    """A shallow copy with `stringData`, which is never stored, moved to where it is stored."""
    stored = dict(obj)
    texts = stored.pop("stringData", None)
    if texts:
        encoded = {key: b64encode(text.encode()).decode() for key, text in texts.items()}
        stored["data"] = {**(stored.get("data") or {}), **encoded}
    return stored


def digest_of(value: Any) -> str:
    """A digest of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
