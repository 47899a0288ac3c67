"""Topics by their name in the store: objects of several namespaces may ask for the same one, and the first has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.topic.spec import store_of

if TYPE_CHECKING:
    from controller.apis.ceph import CephBucketTopic
    from informers import Informer

BY_NAME, BY_STORE = "rgw-topic", "rgw-store"
"""The indices of CephBucketTopics: by store and name in it, and by store."""


def _key(topic: CephBucketTopic) -> str:
    return "/".join((*store_of(topic), topic.metadata.name))


class Topics:
    """Finds topics by name. There is one for an informer, whose indices it adds.

    Args:
        objects: The cache of CephBucketTopics.
    """

    def __init__(self, objects: Informer[CephBucketTopic]) -> None:
        self._objects = objects
        objects.add_index(BY_NAME, lambda topic: (_key(topic),))
        objects.add_index(BY_STORE, lambda topic: ("/".join(store_of(topic)),))

    def alike(self, topic: CephBucketTopic) -> list[tuple[str, str]]:
        """Namespace and name of each object that asks for the same topic."""
        return list(self._objects.keys_by_index(BY_NAME, _key(topic)))

    def of_store(self, namespace: str, name: str) -> list[tuple[str, str]]:
        """Namespace and name of each topic of a store."""
        return list(self._objects.keys_by_index(BY_STORE, f"{namespace}/{name}"))

    def taken_by(self, topic: CephBucketTopic) -> str:
        """The other object that has the topic, in words: the oldest that asks for it; empty: none."""
        found = (self._objects.get(*key) for key in self.alike(topic))
        holder = min((other for other in found if other is not None), key=_age, default=topic)
        if holder.metadata.uid == topic.metadata.uid:
            return ""
        return f"CephBucketTopic {holder.metadata.namespace}/{holder.metadata.name}"


def _age(topic: CephBucketTopic) -> tuple[str, str, str]:
    meta = topic.metadata
    return meta.creation_timestamp or "", meta.namespace, meta.name
