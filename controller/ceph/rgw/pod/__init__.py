"""What runs in the Ceph image to make and change realms, zone groups and zones, or remove them.

`radosgw-admin` of the release that runs is the only one that may write these: their encoding is the release's. This
package stands alone: a container of the operator's image copies it into the pod, it needs nothing but Python 3.9 and
`radosgw-admin`, and the operator does not import it.

- Every call names realm, zone group and zone. One that does not makes a zone `default` with pools of its own.
- What there is is read, changed and written back whole: what nobody asked for stays.
- A period is committed only where it lacks something. Each commit makes every gateway read its configuration anew.
- Keys come from a mounted Secret. They go to `radosgw-admin` by its standard input, or where it takes them as arguments
  alone, by the environment of that one process, and are in no argument, log or result.
"""
