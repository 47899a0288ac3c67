"""What holds for all tests."""

from hypothesis import settings

settings.register_profile("rook", deadline=None)  # a machine that is busy fails no test
settings.load_profile("rook")
