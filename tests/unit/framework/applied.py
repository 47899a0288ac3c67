"""Objects as the operator applies them."""

from controller.framework.program import PROGRAM
from controller.runtime import needed
from informers import JsonObject


def as_applied(obj: JsonObject) -> JsonObject:
    """The object as an apply sends it."""
    return needed.as_applied(obj, PROGRAM)
