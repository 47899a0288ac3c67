"""From claims to volumes, for every storage system: provision, attach, expand, reclaim.

What a volume is, a `VolumeBackend` knows; what Kubernetes wants of it, this package knows. It does what the sidecars
external-provisioner, external-attacher and external-resizer do for other CSI drivers, with their names and annotations.
"""
