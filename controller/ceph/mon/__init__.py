"""Mons: which there are to be, one step at a time, and the objects that they run as."""
