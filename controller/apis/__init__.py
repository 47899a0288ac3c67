"""Every kind that this project owns, defined once: the source of `manifests/crds` and of the tables in `docs/kinds`."""
