"""Policies and lifecycles: grants, and what says the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from controller.ceph.rgw.policy import (
    grant,
    granted,
    is_granted,
    is_named,
    revoked,
    same_lifecycle,
    same_policy,
)

OTHERS = {
    "Sid": "theirs",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:DeleteObject",
    "Resource": "arn:aws:s3:::b/*",
}


def test_a_grant_leaves_what_others_said() -> None:
    policy = granted({"Version": "2008-10-17", "Id": "p", "Statement": OTHERS}, "obc-u", "b")
    assert policy == {"Version": "2008-10-17", "Id": "p", "Statement": [OTHERS, grant("obc-u", "b")]}
    assert granted(policy, "obc-u", "b") == policy
    assert is_granted(policy, "obc-u", "b")
    assert not is_granted(policy, "obc-u", "c")
    assert not is_granted(None, "obc-u", "b")
    assert not is_granted(policy, "obc-v", "b")


def test_a_grant_is_taken_back_alone() -> None:
    policy = granted(granted({"Statement": [OTHERS]}, "u", "b"), "v", "b")
    assert revoked(policy, "u") == granted({"Statement": [OTHERS]}, "v", "b")
    assert revoked(granted(None, "u", "b"), "u") is None
    assert is_named(policy, "u")
    assert not is_named(policy, "w")


def test_a_list_of_one_is_the_same_as_the_one_and_order_does_not_count() -> None:
    one: dict[str, Any] = {"Statement": [{"Action": ["s3:Get", "s3:Put"], "Resource": ["r"]}]}
    other = {"Statement": {"Action": ["s3:Put", "s3:Get"], "Resource": "r"}}
    assert same_policy(one, other)
    assert not same_policy(one, {"Statement": {"Action": "s3:Put", "Resource": "r"}})
    assert not same_policy(one, None)
    assert same_policy(None, None)


def rules(*found: dict[str, Any]) -> dict[str, Any]:
    return {"Rules": list(found)}


@pytest.mark.parametrize(
    ("asked", "live"),
    [
        ({"ID": "a", "Filter": {"Prefix": ""}}, {"ID": "a", "Prefix": ""}),
        ({"Status": "Enabled"}, {"ID": "abc", "Prefix": "", "Status": "Enabled"}),
        ({"Filter": {"Prefix": "x"}}, {"ID": "abc", "Filter": {"Prefix": "x"}}),
        ({"Filter": {"Tag": {"Key": "k"}}}, {"Filter": {"And": {"Tags": [{"Key": "k"}]}}}),
        ({"Expiration": {"Date": "2027-01-01T00:00:00Z"}}, {"Expiration": {"Date": datetime(2027, 1, 1, tzinfo=UTC)}}),
        ({"Expiration": {"Date": "2027-01-01"}}, {"Expiration": {"Date": datetime(2027, 1, 1, tzinfo=UTC)}}),
    ],
)
def test_lifecycles_that_say_the_same(asked: dict[str, Any], live: dict[str, Any]) -> None:
    assert same_lifecycle(rules(asked), rules(live))


@pytest.mark.parametrize(
    "live",
    [
        rules(),
        rules({"ID": "a", "Expiration": {"Days": 2}}),
        rules({"ID": "a", "Expiration": {"Days": 3}, "Filter": {"Prefix": "x"}}),
        rules({"ID": "a", "Expiration": {"Days": 3}}, {"ID": "b", "Expiration": {"Days": 3}}),
        None,
    ],
)
def test_lifecycles_that_do_not(live: dict[str, Any] | None) -> None:
    assert not same_lifecycle(rules({"ID": "a", "Expiration": {"Days": 3}}), live)


def test_the_order_of_rules_does_not_count() -> None:
    first, second = {"ID": "a", "Expiration": {"Days": 1}}, {"ID": "b", "Expiration": {"Days": 2}}
    assert same_lifecycle(rules(first, second), rules(second, first))
