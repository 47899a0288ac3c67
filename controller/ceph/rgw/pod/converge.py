"""Realm, zone group, zone and user of a store as they are wanted, and their removal."""

from __future__ import annotations

import json

from .site import Json, RefusedError, Site, credentials, missing


def converge(site: Site, wanted: Json) -> Json:
    """Makes realm, zone group, zone and user as they are wanted; each but the user is made where there is none.

    Returns:
        Their ids, and the period's.
    """
    realm = ensure_realm(site, wanted.get("realm", {}))
    zonegroup = ensure_zonegroup(site, realm, wanted.get("zonegroup", {}))
    zone = ensure_zone(site, realm, wanted.get("zone", {}))
    merge_zone(site, zone, wanted.get("zone", {}))
    merge_zonegroup(site, wanted.get("zonegroup", {}), wanted.get("zone", {}))
    period = ensure_period(site)
    if wanted.get("user"):
        ensure_user(site, wanted["user"])
    return {"realm": realm["id"], "zonegroup": zonegroup["id"], "zone": zone["id"], "period": period}


def ensure_realm(site: Site, wanted: Json) -> Json:
    """The realm. `default`: whether it is to be the cluster's default one."""
    found = site.read("realm", "get")
    if found is None:
        refuse_leftovers(site)
        site.change(f"realm {site.realm} made", "realm", "create")
        found = site.read("realm", "get") or missing("realm", site.realm)
    if wanted.get("default"):
        listed = site.read("realm", "list") or {}
        if listed.get("default_info") != found["id"]:
            site.change(f"realm {site.realm} is the default one", "realm", "default")
    return found


def refuse_leftovers(site: Site) -> None:
    """Refuses to make a realm where a zone or zone group of the names is left of another one."""
    left = []
    for kind, name in (("zonegroup", site.zonegroup), ("zone", site.zone)):
        found = site.read(kind, "get")
        if found is not None:
            left.append(f"{kind} {name} (id {found['id']}, of realm {found.get('realm_id') or 'none'})")
    if left:
        raise RefusedError(
            f"{' and '.join(left)} is in pool .rgw.root already, and there is no realm {site.realm}: remove "
            "it by radosgw-admin with its id if nobody uses it, or choose another name"
        )


def ensure_zonegroup(site: Site, realm: Json, wanted: Json) -> Json:
    """The zone group. `master`: whether it is made as the realm's first."""
    found = site.read("zonegroup", "get")
    if found is None:
        more = [*(["--master"] if wanted.get("master", True) else []), *_endpoints(wanted.get("fields", {}))]
        site.change(f"zonegroup {site.zonegroup} made", "zonegroup", "create", *more)
        found = site.read("zonegroup", "get") or missing("zonegroup", site.zonegroup)
    of_realm("zonegroup", site.zonegroup, found, site, realm)
    return found


def ensure_zone(site: Site, realm: Json, wanted: Json) -> Json:
    """The zone. `master`: whether it is made as the one of its zone group that is written to."""
    found = site.read("zone", "get")
    if found is None:
        more = [*(["--master"] if wanted.get("master", True) else []), *_endpoints(wanted)]
        site.change(f"zone {site.zone} made", "zone", "create", *more)
        found = site.read("zone", "get") or missing("zone", site.zone)
    of_realm("zone", site.zone, found, site, realm)
    return found


def of_realm(kind: str, name: str, found: Json, site: Site, realm: Json) -> None:
    """Refuses what is of another realm."""
    if found.get("realm_id") not in ("", realm["id"]):
        raise RefusedError(
            f"{kind} {name} (id {found['id']}) is of realm {found['realm_id']}, not of realm {site.realm} with id "
            f"{realm['id']}: remove the one that is not used by radosgw-admin with its id, or choose another name"
        )


def merge_zone(site: Site, found: Json, wanted: Json) -> None:
    """Gives the zone its `pools` or a `sharedPool`, and its `placements`. Other ones stay: buckets may be there."""
    present = {entry["key"]: entry["val"] for entry in found.get("placement_pools", [])}
    merged = dict(present)
    for name, placement in wanted.get("placements", {}).items():
        before = present.get(name, {})
        classes = dict(before.get("storage_classes", {}))
        for storage_class, pools in placement["storage_classes"].items():
            classes[storage_class] = {**classes.get(storage_class, {}), **pools}
        merged[name] = {**before, **placement, "storage_classes": classes}
    changed = {**found, **wanted.get("pools", {}), **shared_fields(found, wanted.get("sharedPool", ""))}
    if merged != present:
        changed["placement_pools"] = [{"key": name, "val": merged[name]} for name in sorted(merged)]
    if changed != found:
        site.write("zone", changed)


def shared_fields(zone: Json, pool: str) -> Json:
    """The fields of a zone that say where it has its metadata, for a pool that it shares: namespaces of its own.

    What was in pool "<zone>.rgw.meta", namespace "users.uid", is in namespace "<zone>.meta.users.uid".
    """
    start = f"{zone['name']}.rgw."
    if not pool:
        return {}
    return {
        field: f"{pool}:{zone['name']}.{value[len(start) :].replace(':', '.')}"
        for field, value in zone.items()
        if isinstance(value, str) and (field.endswith("_pool") or field == "domain_root") and value.startswith(start)
    }


def merge_zonegroup(site: Site, wanted: Json, zone: Json) -> None:
    """Gives the zone group its `fields`, the names of placements with their classes, and the zone's endpoints."""
    found = site.read("zonegroup", "get") or missing("zonegroup", site.zonegroup)
    changed = {**found, **wanted.get("fields", {})}
    if "endpoints" in zone:
        changed["zones"] = [
            {**entry, "endpoints": zone["endpoints"]} if entry["name"] == site.zone else entry
            for entry in found["zones"]
        ]
    present = {target["name"]: target for target in found.get("placement_targets", [])}
    merged = dict(present)
    for name, placement in zone.get("placements", {}).items():
        before = present.get(name, {"name": name, "tags": []})
        classes = sorted({*before.get("storage_classes", []), *placement["storage_classes"]})
        merged[name] = {**before, "storage_classes": classes}
    if merged != present:
        changed["placement_targets"] = [merged[name] for name in sorted(merged)]
    if changed != found:
        site.write("zonegroup", changed)


def ensure_period(site: Site) -> Json:
    """Commits a period where the present one is not what the zone group is; returns its id and epoch."""
    zonegroup = site.read("zonegroup", "get") or missing("zonegroup", site.zonegroup)
    period = site.read("period", "get") or {}
    listed = {found["id"]: found for found in period.get("period_map", {}).get("zonegroups", [])}
    if listed.get(zonegroup["id"]) != zonegroup:
        site.change("period committed", "period", "update", "--commit")
        period = site.read("period", "get") or {}
    return {"id": period.get("id", ""), "epoch": period.get("epoch", 0)}


def ensure_user(site: Site, wanted: Json) -> None:
    """A user with just the keys of the mounted Secret, and these caps (a map of types to permissions).

    `files`: what those are called there.
    """
    uid, key = wanted["uid"], f"user:{wanted['uid']}"
    access, secret = credentials(*wanted.get("files", ("accessKey", "secretKey")))
    found = site.read("metadata", "get", key)
    if found is None:
        system = ["--system"] if wanted.get("system") else []
        site.change(
            f"user {uid} made", "user", "create", f"--uid={uid}", f"--display-name={wanted['displayName']}", *system
        )
        found = site.read("metadata", "get", key) or missing("user", uid)
    keys = [{"user": uid, "access_key": access, "secret_key": secret}]
    caps = [{"type": name, "perm": perm} for name, perm in sorted(wanted.get("caps", {}).items())]
    data = found["data"]
    same_keys = [{name: entry.get(name) for name in keys[0]} for entry in data.get("keys", [])] == keys
    if not same_keys or data.get("caps") != caps:
        content = {**found, "data": {**data, "keys": keys, "caps": caps}}
        site.change(f"user {uid} changed", "metadata", "put", key, stdin=json.dumps(content))


def remove(site: Site, _: Json) -> Json:
    """Removes zone, zone group and realm with its periods, and makes sure that they are gone."""
    realm = site.read("realm", "get")
    for kind in ("zone", "zonegroup"):
        found = site.read(kind, "get")
        if found is not None and (realm is None or found.get("realm_id") in ("", realm["id"])):
            site.change(f"{kind} removed", kind, "delete")
    if realm is not None:
        periods = periods_of(site, realm["id"])
        # A realm that lacks its period cannot even be loaded.
        site.change("realm removed", "realm", "rm")
        for period in periods:
            site.change("period removed", "period", "delete", f"--period={period}")
    left = [kind for kind in ("realm", "zonegroup", "zone") if site.read(kind, "get") is not None]
    if left:
        raise RefusedError(f"{' and '.join(left)} of the store is still in pool .rgw.root")
    return {}


def periods_of(site: Site, realm_id: str) -> list[str]:
    """The ids of the periods of a realm."""
    listed = site.read("period", "list") or {}
    found = []
    for period in listed.get("periods", []):
        content = site.read("period", "get", f"--period={period}")
        if content is not None and content.get("realm_id") == realm_id:
            found.append(period)
    return found


def _endpoints(wanted: Json) -> list[str]:
    return [f"--endpoints={','.join(wanted['endpoints'])}"] if wanted.get("endpoints") else []
