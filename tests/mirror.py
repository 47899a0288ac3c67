"""What an informer's user knows from the deltas alone, to be compared with the truth."""

from informers import Delta, JsonObject, Key


def plain(obj: JsonObject) -> JsonObject:
    """The object as a cache keeps it."""
    return {**obj, "metadata": {name: value for name, value in obj["metadata"].items() if name != "managedFields"}}


class Mirror:
    """Follows the deltas alone, and checks that each fits to what came before."""

    def __init__(self) -> None:
        self.objects: dict[Key, JsonObject] = {}

    def __call__(self, delta: Delta[JsonObject]) -> None:
        key = (delta.namespace, delta.name)
        present = self.objects.get(key)
        if delta.type == "deleted":
            del self.objects[key]
            return
        new = delta.new
        assert new is not None
        assert delta.old == present
        assert (delta.type == "added") == (present is None)
        if present is not None:
            assert new["metadata"]["uid"] == present["metadata"]["uid"], "made anew, but told as an update"
            assert int(new["metadata"]["resourceVersion"]) > int(present["metadata"]["resourceVersion"])
        self.objects[key] = new
