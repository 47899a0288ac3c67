"""How specs name keys of Secrets, and how statuses tell which version of a Secret was read."""

from typing import Annotated

from controller.apis.meta import Schema, SpecStruct


class SecretKeySelector(SpecStruct, frozen=True, kw_only=True):
    """A key of a Secret in the object's namespace."""

    name: Annotated[str, Schema(default="")] = ""
    """The Secret's name."""
    key: Annotated[str, Schema(required=True)] = ""
    """The key in its data."""
    optional: bool = False
    """Whether it may be missing."""


class SecretVersion(SpecStruct, frozen=True, kw_only=True):
    """A Secret as it was when it was read."""

    name: str = ""
    """Its name."""
    namespace: str = ""
    """Its namespace."""
    uid: str = ""
    """Which of that name it is."""
    resource_version: str = ""
    """Its version."""
