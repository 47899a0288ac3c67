"""The controller runtime: manager, controllers and workers, leader election, apply, events, conditions, probes.

It builds on `informers` (the API server's objects) and `workqueue` (requests to reconcile), and knows nothing of
storage. docs/runtime.md shows how to add a controller.
"""

from controller.runtime.apply import Applier, ImmutableFieldError
from controller.runtime.conditions import (
    Condition,
    find_condition,
    is_true,
    remove_condition,
    set_condition,
    set_conditions,
)
from controller.runtime.controller import Controller
from controller.runtime.difference import difference
from controller.runtime.events import EventRecorder
from controller.runtime.finalizers import add_finalizer, remove_finalizer
from controller.runtime.kube import resource_of
from controller.runtime.leader import LeadershipLostError, NotLeaderError
from controller.runtime.lease import LeaderElection
from controller.runtime.log import configure_logging
from controller.runtime.main import connect, run
from controller.runtime.manager import Manager
from controller.runtime.mapping import (
    annotations_changed,
    any_of,
    by_label,
    generation_changed,
    in_namespace,
    labels_changed,
    owned_by,
)
from controller.runtime.program import Program
from controller.runtime.reconciler import Reconciler, Request, Result, RetryAfterError, TerminalError
from controller.runtime.references import object_reference, owner_reference
from controller.runtime.tracing import process_tracer

__all__ = [
    "Applier",
    "Condition",
    "Controller",
    "EventRecorder",
    "ImmutableFieldError",
    "LeaderElection",
    "LeadershipLostError",
    "Manager",
    "NotLeaderError",
    "Program",
    "Reconciler",
    "Request",
    "Result",
    "RetryAfterError",
    "TerminalError",
    "add_finalizer",
    "annotations_changed",
    "any_of",
    "by_label",
    "configure_logging",
    "connect",
    "difference",
    "find_condition",
    "generation_changed",
    "in_namespace",
    "is_true",
    "labels_changed",
    "object_reference",
    "owned_by",
    "owner_reference",
    "process_tracer",
    "remove_condition",
    "remove_finalizer",
    "resource_of",
    "run",
    "set_condition",
    "set_conditions",
]
