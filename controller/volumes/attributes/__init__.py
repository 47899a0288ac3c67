"""VolumeAttributesClasses: what of a volume can be changed while it is in use, beside its size."""
