"""How long random search goes on, and from which seed: `make test` is the same each time, `make test-long` is not."""

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=120)
settings.register_profile("long", deadline=None, max_examples=10_000, print_blob=True)
settings.load_profile("ci")
