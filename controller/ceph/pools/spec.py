"""What a pool's spec asks for, in Ceph's terms; and what of it cannot be carried out. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.runtime.quantities import quantity

if TYPE_CHECKING:
    from controller.apis.ceph import PoolSpec

QUOTAS = ("quota_max_bytes", "quota_max_objects")


def profile_name(name: str) -> str:
    """The name of a pool's erasure code profile; upstream's."""
    return f"{name}_ecprofile"


def is_erasure_coded(spec: PoolSpec) -> bool:
    """Whether the spec asks for chunks."""
    return spec.erasure_coded.data_chunks > 0 or spec.erasure_coded.coding_chunks > 0


def problems(spec: PoolSpec) -> tuple[str, ...]:
    """Why the spec cannot be carried out, whatever the cluster has."""
    found: list[str] = []
    replicated, coded = spec.replicated, spec.erasure_coded
    if is_erasure_coded(spec):
        if replicated.size > 0:
            found.append("spec has both replicated.size and erasureCoded: take one of them out")
        if coded.data_chunks < 2 or coded.coding_chunks < 1:
            chunks = f"erasureCoded has {coded.data_chunks} dataChunks and {coded.coding_chunks} codingChunks"
            found.append(f"{chunks}: at least 2 and 1 are needed")
    elif replicated.size == 0:
        found.append("spec has neither replicated.size nor erasureCoded: set one of them")
    elif replicated.size == 1 and replicated.require_safe_replica_size:
        found.append(
            "replicated.size is 1, which replicated.requireSafeReplicaSize refuses: raise the size or unset that"
        )
    return tuple(found)


def unserved_placement(spec: PoolSpec) -> tuple[str, ...]:
    """The fields that are set, are not served, and say where data goes: a pool made without them has to be emptied."""
    replicated, coded = spec.replicated, spec.erasure_coded
    found = {
        "replicated.hybridStorage": replicated.hybrid_storage is not None,
        "replicated.replicasPerFailureDomain": replicated.replicas_per_failure_domain > 1,
        "replicated.subFailureDomain": bool(replicated.sub_failure_domain),
        "erasureCoded.crushNumFailureDomains": coded.crush_num_failure_domains is not None,
        "erasureCoded.crushOSDsPerFailureDomain": coded.crush_osds_per_failure_domain is not None,
    }
    return tuple(path for path, is_set in found.items() if is_set)


def profile_settings(spec: PoolSpec) -> dict[str, str]:
    """The erasure code profile that the spec asks for."""
    coded = spec.erasure_coded
    settings = {
        "k": str(coded.data_chunks),
        "m": str(coded.coding_chunks),
        "crush-failure-domain": spec.failure_domain,
        "crush-root": spec.crush_root,
    }
    if coded.algorithm:
        settings["plugin"] = coded.algorithm
    if spec.device_class:
        settings["crush-device-class"] = spec.device_class
    if coded.stripe_unit is not None:
        settings["stripe_unit"] = str(_number(coded.stripe_unit))
    return settings


def wanted_values(spec: PoolSpec) -> dict[str, str]:
    """The settings that the spec asks for, by the names in `PoolState.values`."""
    values = {name: str(value) for name, value in spec.parameters.items() if name != "size"}
    if spec.compression_mode:
        values.setdefault("compression_mode", spec.compression_mode)
    if spec.replicated.target_size_ratio > 0:
        values["target_size_ratio"] = f"{spec.replicated.target_size_ratio:g}"
    if is_erasure_coded(spec):
        values["allow_ec_overwrites"] = "true"
    size = spec.quotas.max_size
    max_bytes = _number(size) if size is not None else spec.quotas.max_bytes
    for name, value in zip(QUOTAS, (max_bytes, spec.quotas.max_objects), strict=True):
        if value:
            values[name] = str(value)
    return values


def _number(text: int | str) -> int:
    return int(quantity(text) or 0)
