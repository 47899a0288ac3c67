"""Realms, zone groups and zones that are made one by one, and in several clusters; and who of them is master."""

from __future__ import annotations

import errno

from .converge import ensure_realm, ensure_user, ensure_zone, ensure_zonegroup, merge_zone, merge_zonegroup, periods_of
from .site import CommandError, Json, RefusedError, Site, credentials, missing

KEYS = ("access-key", "secret-key")
"""What the keys of the realm's system user are called in its Secret; upstream's."""
_WHY_NOT_PULLED = {
    errno.ENOENT: "the gateway does not know this realm",
    errno.EACCES: "the gateway does not know the keys in the realm's Secret",
    errno.EIO: "no gateway answers there",
}


def realm(site: Site, wanted: Json) -> Json:
    """A realm, made here or taken over from the gateway `pull`. `default`: whether it is to be the default one."""
    if wanted.get("pull"):
        pull(site, wanted["pull"])
    return {"id": ensure_realm(site, wanted)["id"]}


def pull(site: Site, url: str) -> None:
    """Takes a realm over from a gateway of its master zone, with its present period."""
    found = site.read("realm", "get")
    # A gateway that has another realm of the name does not know the id, and so nothing here is written over.
    same = [f"--realm-id={found['id']}"] if found is not None else []
    access, secret = credentials(*KEYS)
    try:
        site.change(
            f"realm {site.realm} pulled", "realm", "pull", f"--url={url}", *same,
            secret=f"--access-key={access} --secret={secret}",
        )  # fmt: skip
    except CommandError as error:
        said = _WHY_NOT_PULLED.get(error.code, error.output)
        raise CommandError("realm pull", error.code, f"from {url}: {said}") from None


def zonegroup(site: Site, _: Json) -> Json:
    """A zone group of a realm. The first one of a realm is its master."""
    owner = site.read("realm", "get") or missing("realm", site.realm)
    first = not any(group["is_master"] for group in groups(site, owner))
    found = ensure_zonegroup(site, owner, {"master": first})
    return {"id": found["id"], "isMaster": found["is_master"]}


def zone(site: Site, wanted: Json) -> Json:
    """A zone of a zone group with its `endpoints`, `pools` and `placements`, and in the master the system user.

    Other zones prove themselves by that user: it is there before they are told of the zone.
    """
    owner = site.read("realm", "get") or missing("realm", site.realm)
    keep_master(site)
    group = site.read("zonegroup", "get") or missing("zonegroup", site.zonegroup)
    endpoints = wanted.get("endpoints") or []
    first = not group["master_zone"]
    found = ensure_zone(site, owner, {"master": first, "endpoints": endpoints})
    group = site.read("zonegroup", "get") or missing("zonegroup", site.zonegroup)
    if all(entry["id"] != found["id"] for entry in group["zones"]):
        site.change(f"zone {site.zone} added", "zone", "modify", *(["--master"] if first else []))
        group = site.read("zonegroup", "get") or missing("zonegroup", site.zonegroup)
    access, secret = credentials(*KEYS)
    own = {"system_key": {"access_key": access, "secret_key": secret}}
    before = len(site.changed)
    merge_zone(site, found, {**wanted, "pools": {**wanted.get("pools", {}), **own}})
    renewed = len(site.changed) > before
    leads = group["master_zone"] == found["id"]
    told = {"endpoints": endpoints} if endpoints else {}
    merge_zonegroup(site, {"fields": told if leads else {}}, {"placements": wanted.get("placements", {}), **told})
    if leads and group["is_master"]:
        uid = f"{site.realm}-system-user"
        ensure_user(site, {"uid": uid, "displayName": uid, "system": True, "files": KEYS})
    # Gateways read what is the zone's own anew with a period alone.
    commit(site, owner, again=renewed)
    return {"id": found["id"], **master_of(site)}


def promote(site: Site, wanted: Json) -> Json:
    """Makes a zone the realm's master in place of the one that `over` names with its epoch.

    `lossy`: also if it is periods behind that one. `endpoints`: the zone's, which become those of its zone group.
    """
    found = site.read("zone", "get") or missing("zone", site.zone)
    now = master_of(site)
    if now["master"] != site.zone:
        term = f"{now['master']}@{now['epoch']}"
        if term != wanted["over"]:
            by_now = f"the master is {term} by now, not {wanted['over']}"
            raise RefusedError(f"{by_now}: zone {site.zone} does not replace it")
        site.change(f"zone {site.zone} is to be master", "zone", "modify", "--master")
        group = site.read("zonegroup", "get") or missing("zonegroup", site.zonegroup)
        endpoints = wanted.get("endpoints") or group["endpoints"]
        if not group["is_master"] or group["endpoints"] != endpoints:
            site.change(
                f"zone group {site.zonegroup} is to be master", "zonegroup", "modify", "--master",
                *([f"--endpoints={','.join(endpoints)}"] if endpoints else []),
            )  # fmt: skip
        sure = ["--yes-i-really-mean-it"] if wanted.get("lossy") else []
        try:
            site.change("period committed", "period", "update", "--commit", *sure)
        except CommandError:
            keep_master(site)
            raise
    return {"id": found["id"], **master_of(site)}


def groups(site: Site, owner: Json) -> list[Json]:
    """The zone groups of a realm that this cluster knows, those that are in no period yet among them."""
    names = (site.read("zonegroup", "list") or {}).get("zonegroups", [])
    found = [site.beside(name, site.zone).read("zonegroup", "get") for name in names]
    return [group for group in found if group is not None and group["realm_id"] == owner["id"]]


def commit(site: Site, owner: Json, *, again: bool = False) -> None:
    """Commits what is configured, if the realm's period differs from that. `again`: also if it does not."""
    period = site.read("period", "get") or missing("period of realm", site.realm)
    configured = {group["id"]: group for group in groups(site, owner) if group["master_zone"]}
    agreed = {group["id"]: group for group in period["period_map"]["zonegroups"]}
    if configured != agreed or again:
        committer(site, configured).change("period committed", "period", "update", "--commit")


def keep_master(site: Site) -> None:
    """Takes back a change of masters that was configured and not committed: none is committed beside something else."""
    period = site.read("period", "get") or missing("period of realm", site.realm)
    for agreed in period["period_map"]["zonegroups"]:
        other = site.beside(agreed["name"], site.zone)
        found = other.read("zonegroup", "get")
        same = {name: agreed[name] for name in ("master_zone", "is_master", "endpoints")}
        if found is not None and found["id"] == agreed["id"] and found["master_zone"] != agreed["master_zone"]:
            other.write("zonegroup", {**found, **same})


def committer(site: Site, configured: dict[str, Json]) -> Site:
    """By which zone a period is committed: by the master where that is in this cluster, as no gateway has to run then.

    By any other one, it is sent to the master's gateways.
    """
    for group in configured.values():
        for entry in group["zones"]:
            if group["is_master"] and entry["id"] == group["master_zone"]:
                master = site.beside(group["name"], entry["name"])
                found = master.read("zone", "get")
                if found is not None and found["id"] == entry["id"]:
                    return master
    return site


def master_of(site: Site) -> Json:
    """The realm's master zone by its period, and the epoch that grows with each change of it."""
    period = site.read("period", "get") or missing("period of realm", site.realm)
    names = {entry["id"]: entry["name"] for group in period["period_map"]["zonegroups"] for entry in group["zones"]}
    return {"master": names.get(period["master_zone"], ""), "epoch": period["realm_epoch"]}


def remove_zone(site: Site, _: Json) -> Json:
    """Takes a zone out of its zone group, and away. A master goes last of the zones of its group."""
    owner = site.read("realm", "get")
    found, group = site.read("zone", "get"), site.read("zonegroup", "get")
    entries = group["zones"] if group is not None else []
    own = next((entry for entry in entries if entry["name"] == site.zone), None)
    if group is not None and own is not None and len(entries) > 1:
        if group["master_zone"] == own["id"]:
            others = ", ".join(sorted(entry["name"] for entry in entries if entry is not own))
            raise RefusedError(f"zone {site.zone} is the master of {others}: make one of them the master first")
        site.change(f"zone {site.zone} taken out of its zone group", "zonegroup", "remove")
        own = None
    if owner is not None and found is not None and own is None and entries:
        # Before the zone goes: it is by its keys that the master is told.
        commit(site, owner)
    if found is not None:
        site.change(f"zone {site.zone} removed", "zone", "delete")
    return {}


def remove_zonegroup(site: Site, _: Json) -> Json:
    """Takes a zone group away. One that zones are in, which are other clusters' then, stays: they go on with it."""
    owner, found = site.read("realm", "get"), site.read("zonegroup", "get")
    if owner is None or found is None or found["realm_id"] != owner["id"] or found["zones"]:
        return {}
    site.change(f"zone group {site.zonegroup} removed", "zonegroup", "delete")
    period = site.read("period", "get") or {}
    listed = period.get("period_map", {}).get("zonegroups", [])
    if any(group["id"] == found["id"] for group in listed) and len(listed) > 1:
        others = [entry["name"] for group in groups(site, owner) for entry in group["zones"]]
        local = set((site.read("zone", "list") or {}).get("zones", []))
        for name in sorted(local.intersection(others)):
            commit(site.beside(site.zonegroup, name), owner)
            break
    return {}


def remove_realm(site: Site, _: Json) -> Json:
    """Takes away what this cluster knows of a realm. Other clusters of the realm notice nothing."""
    owner = site.read("realm", "get")
    if owner is None:
        return {}
    zones = [site.beside(site.zonegroup, name) for name in (site.read("zone", "list") or {}).get("zones", [])]
    left = [other.zone for other in zones if (other.read("zone", "get") or {}).get("realm_id") == owner["id"]]
    if left:
        raise RefusedError(f"{', '.join(left)} of realm {site.realm} is a zone in this cluster: remove it first")
    for group in groups(site, owner):
        site.beside(group["name"], site.zone).change(f"zone group {group['name']} removed", "zonegroup", "delete")
    periods = periods_of(site, owner["id"])
    site.change(f"realm {site.realm} removed", "realm", "rm")
    for period in periods:
        site.change("period removed", "period", "delete", f"--period={period}")
    return {}
