"""What a kind's status tells of the operator's plan for it; see `controller.framework.plan`."""

from typing import Annotated

from controller.apis.meta import ApiStruct, Int32, Int64, Schema


class PlanStep(ApiStruct, frozen=True, kw_only=True):
    """Something that the operator wants done or waits for."""

    subject: str = ""
    """What it is about, such as mon b or device worker-1/sdb."""
    action: str = ""
    """What is to be done; Wait when there is only waiting to do."""
    reason: str = ""
    """Why."""
    state: Annotated[str, Schema(enum=("Pending", "Waiting", "NeedsConsent", "Done", "Failed"))] = ""
    """What became of it."""
    waits_for: str = ""
    """What has to happen first."""
    consent: str = ""
    """The field of the spec that must be set first."""
    error: str = ""
    """What went wrong when it was last tried."""
    since: str = ""
    """When it came into this state."""
    count: Int32 = 0
    """How many steps the row stands for, which differ in nothing but their subjects; 0: it stands for one."""


class PlanStatus(ApiStruct, frozen=True, kw_only=True):
    """What the operator is about to do, in its order."""

    mode: str = ""
    """apply: steps are carried out. plan: they are only shown, since the annotation rook.io/mode asks for that."""
    observed_generation: Int64 = 0
    """The metadata.generation that was planned for."""
    steps: tuple[PlanStep, ...] = ()
    """Steps that are not done yet."""
