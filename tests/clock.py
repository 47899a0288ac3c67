"""A clock for what is given one."""


class Clock:
    """Seconds that tests move on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
