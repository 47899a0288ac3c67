"""Selectors, evaluated without the API server."""

import pytest

from informers.selector import fields_match, labels_match

LABELS = {"app": "x", "tier": "", "rook.io/node": "n1"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=x", True),
        ("app==x", True),
        ("app=y", False),
        ("absent=", False),
        ("tier=", True),
        ("app!=x", False),
        ("absent!=x", True),
        ("rook.io/node", True),
        ("absent", False),
        ("!absent", True),
        ("!app", False),
        ("app in (w, x),tier", True),
        ("app in (w,v)", False),
        ("absent in (x)", False),
        ("app notin (w,v), tier in ()", True),
        ("app notin (x)", False),
        ("absent notin (x)", True),
        ("app=x,rook.io/node=n2", False),
        ("app>1", None),
        ("app=x,app>1", None),
        ("app=y,app>1", False),
    ],
)
def test_labels(selector: str, *, matches: bool | None) -> None:
    assert labels_match(selector, LABELS) is matches


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("metadata.name=a", True),
        ("metadata.name==b", False),
        ("metadata.name!=b,metadata.namespace=ns", True),
        ("spec.nodeName=n", None),
        ("spec.nodeName=n,metadata.name=a", None),
        ("spec.nodeName=n,metadata.name=b", False),
    ],
)
def test_fields(selector: str, *, matches: bool | None) -> None:
    assert fields_match(selector, "ns", "a") is matches
