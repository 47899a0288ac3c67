"""Views of objects' JSON."""

import msgspec
import orjson
import pytest

from controller.runtime import kube
from controller.testkit.topology import table
from informers.decode import decoder


def test_a_null_is_as_good_as_nothing() -> None:
    read = decoder(kube.Pod)
    pod = {
        "metadata": {"name": "a", "labels": None},
        "spec": {"nodeName": "n", "containers": None},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": None}]},
    }

    found = read(orjson.dumps(pod))

    assert (found.metadata.name, found.metadata.labels, found.spec.node_name) == ("a", {}, "n")
    assert found.spec.containers == ()
    assert found.status.conditions[0].status == "True"
    with pytest.raises(msgspec.ValidationError, match="nodeName"):
        read(orjson.dumps({"spec": {"nodeName": 1}}))


def test_views_name_fields_that_there_are() -> None:
    """Of the kinds that a Struct stands for, at least one has the field."""
    named: dict[tuple[type, str], bool] = {}

    def check(message: str, annotation: msgspec.inspect.Type) -> None:
        match annotation:
            case msgspec.inspect.UnionType(types=types):
                for found in types:
                    check(message, found)
            case msgspec.inspect.VarTupleType(item_type=item) | msgspec.inspect.ListType(item_type=item):
                check(message, item)
            case msgspec.inspect.DictType(value_type=item):
                check(message, item)
            case msgspec.inspect.StructType(cls=struct, fields=fields):
                known = table().messages[message].fields
                for field in fields:
                    there = field.encode_name in known
                    first = next(base for base in reversed(struct.__mro__) if field.name in base.__dict__)
                    origin = (first, field.encode_name)
                    named[origin] = there or named.get(origin, False)
                    if there and known[field.encode_name].type:
                        check(known[field.encode_name].type, field.type)

    for resource in kube.BUILT_IN.values():
        if resource != kube.CSI_DRIVER:  # of which nobody reads anything
            view = getattr(kube, resource.kind.replace("CSI", "Csi"))
            check(table().kinds[f"{resource.api_version}/{resource.kind}"], msgspec.inspect.type_info(view))
    assert [f"{struct.__name__}.{name}" for (struct, name), there in named.items() if not there] == []
