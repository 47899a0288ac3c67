"""Attachments: which node may have a volume, with one writer at a time."""
