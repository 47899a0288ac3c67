"""Objects as the operator applies them."""

from controller.framework.program import PROGRAM
from controller.runtime import apply
from informers import JsonObject


def as_applied(obj: JsonObject) -> JsonObject:
    """The object as an apply sends it."""
    return apply.as_applied(obj, PROGRAM)
