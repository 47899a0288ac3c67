"""VolumeReplications of csi-addons: the mirroring of a claim's image, and which of two clusters may write to it."""
