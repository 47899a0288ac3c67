"""Mgrs and their modules."""
