"""What a CephBucketTopic's spec asks for, in the gateways' terms; and what of it means nothing. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from controller.ceph.rgw.credentials import text_in, version_of
from controller.ceph.topic.sns import OPAQUE_DATA, PERSISTENT, PUSH_ENDPOINT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephBucketTopic
    from controller.apis.ceph.bucket_notification import KafkaEndpointSpec, TopicEndpointSpec
    from controller.apis.ceph.secrets import SecretKeySelector, SecretVersion
    from controller.runtime.kube import Secret
    from informers import Informer

_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_USER, _PASSWORD = "userSecretRef", "passwordSecretRef"
_SCHEMES = {"http": ("http", "https"), "amqp": ("amqp", "amqps"), "kafka": ("kafka",)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a topic should have.

    Attributes:
        attributes: As gateways take them; a password may be in the endpoint.
        digest: Of these, with the versions of Secrets in place of what is in them.
        read: The Secrets that were read.
        lacking: What is not in them, in words.
    """

    attributes: Mapping[str, str] = field(repr=False)
    digest: str
    read: tuple[SecretVersion, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def endpoint(self) -> str:
        """Where notifications go."""
        return self.attributes.get(PUSH_ENDPOINT, "")


def store_of(topic: CephBucketTopic) -> tuple[str, str]:
    """The namespace and the name of the CephObjectStore."""
    return topic.spec.object_store_namespace, topic.spec.object_store_name


def problems(topic: CephBucketTopic) -> tuple[str, ...]:
    """Why the spec cannot be carried out, in words."""
    endpoint, name = topic.spec.endpoint, topic.metadata.name
    found = []
    if not _NAME.fullmatch(name):
        found.append(f"metadata.name is {name}: gateways take letters, digits, hyphens and underscores")
    given = {kind: of for kind in _SCHEMES if (of := getattr(endpoint, kind)) is not None}
    if len(given) != 1:
        named = ", ".join(given) or "none"
        found.append(f"endpoint has {named}: expected exactly one of http, amqp and kafka")
    for kind, of in given.items():
        scheme, colon, _ = of.uri.partition("://")
        if not colon or scheme not in _SCHEMES[kind]:
            expected = " or ".join(f"{scheme}://" for scheme in _SCHEMES[kind])
            found.append(f"endpoint.{kind}.uri begins with {scheme[:10]!r}: expected {expected}")
    return tuple(found)


def secrets_named(topic: CephBucketTopic) -> frozenset[str]:
    """The names of the Secrets that a topic's spec names."""
    return frozenset(ref.name for ref in _references(topic).values() if ref.name)


def wanted(topic: CephBucketTopic, secrets: Informer[Secret]) -> Wanted:
    """What the topic should have, by its spec and the Secrets that this names."""
    spec, kafka = topic.spec, topic.spec.endpoint.kafka
    attributes = {OPAQUE_DATA: spec.opaque_data, PERSISTENT: _flag(spec.persistent), **_endpoint(spec.endpoint)}
    values: dict[str, str] = {}
    read: dict[str, SecretVersion] = {}
    lacking = []
    for name, ref in _references(topic).items():
        secret = secrets.get(topic.metadata.namespace, ref.name)
        if secret is not None:
            read[secret.metadata.name] = version_of(secret)
        values[name] = text_in(secret, ref)
        if not values[name] and not ref.optional:
            lacking.append(f"endpoint.kafka.{name}: Secret {ref.name} has no text in its key {ref.key}")
    versions = tuple(read[name] for name in sorted(read))
    told = [sorted(attributes.items()), [[of.name, of.uid, of.resource_version] for of in versions]]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    if kafka is not None and any(values.values()):
        attributes[PUSH_ENDPOINT] = _with_credentials(kafka, values.get(_USER, ""), values.get(_PASSWORD, ""))
    return Wanted(attributes, digest, versions, tuple(lacking))


def has_password(wanted: Wanted) -> bool:
    """Whether a user or password is in the endpoint: gateways take it over TLS alone."""
    return "@" in urlsplit(wanted.endpoint).netloc


def _references(topic: CephBucketTopic) -> dict[str, SecretKeySelector]:
    kafka = topic.spec.endpoint.kafka
    found = {} if kafka is None else {_USER: kafka.user_secret_ref, _PASSWORD: kafka.password_secret_ref}
    return {name: ref for name, ref in found.items() if ref is not None}


def _endpoint(endpoint: TopicEndpointSpec) -> dict[str, str]:
    found: dict[str, str] = {}
    if endpoint.http is not None:
        http = endpoint.http
        found = {
            PUSH_ENDPOINT: http.uri,
            "verify-ssl": _flag(not http.disable_verify_ssl),
            "cloudevents": _flag(http.send_cloud_events),
        }
    if endpoint.amqp is not None:
        amqp = endpoint.amqp
        found = {
            PUSH_ENDPOINT: amqp.uri,
            "amqp-exchange": amqp.exchange,
            # Ceph knows the first spelling only.
            "amqp-ack-level": "routable" if amqp.ack_level == "routeable" else amqp.ack_level,
            "verify-ssl": _flag(not amqp.disable_verify_ssl),
        }
    if endpoint.kafka is not None:
        kafka = endpoint.kafka
        found = {
            PUSH_ENDPOINT: kafka.uri,
            "use-ssl": _flag(kafka.use_ssl),
            "kafka-ack-level": kafka.ack_level,
            "verify-ssl": _flag(not kafka.disable_verify_ssl),
            "mechanism": kafka.mechanism,
        }
    return found


def _with_credentials(kafka: KafkaEndpointSpec, user: str, password: str) -> str:
    parts = urlsplit(kafka.uri)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"))


def _flag(value: bool) -> str:
    return str(value).lower()
