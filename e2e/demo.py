"""The demo: a stateful application on a Ceph cluster that our operator runs, on a real Kubernetes.

`make demo`. It leaves everything up to look at; `make demo-down` removes it.
"""

import argparse
import sys

from e2e import environment as env
from e2e import postgres
from e2e.environment import Environment
from e2e.progress import say
from e2e.timetable import Timetable

NAMESPACE = "demo"


def run() -> None:
    """The whole demo. Raises with what went wrong, and leaves everything as it then is."""
    timetable = Timetable()
    environment = env.up(timetable)
    with timetable.step("PostgreSQL, from claim to ready"):
        postgres.deploy(environment, NAMESPACE)
    with timetable.step("rows written"):
        postgres.write_rows(environment, NAMESPACE)
        before = postgres.rows(environment, NAMESPACE)
    with timetable.step("pod deleted and back on another node"):
        first, second = postgres.move(environment, NAMESPACE)
    with timetable.step("rows read"):
        after = postgres.rows(environment, NAMESPACE)
    if after != before:
        raise RuntimeError(
            f"{before[0]} rows with digest {before[1]} on {first}, {after[0]} with {after[1]} on {second}"
        )
    with timetable.step("ceph status"):
        status = env.in_toolbox(environment, "ceph", "status")
    print(report(environment, status, timetable, f"the same {after[0]} rows on {first} and then on {second}"))


def report(environment: Environment, ceph_status: str, timetable: Timetable, found: str) -> str:
    """What the demo shows at its end."""
    cluster = environment.api.get("CephCluster", env.CLUSTER, env.NAMESPACE)
    conditions = "\n".join(
        f"{c['type']:<24} {c['status']:<8} {c['reason']:<24} {c.get('message', '')}"
        for c in cluster["status"]["conditions"]
    )
    return "\n".join(
        [
            heading("ceph status"),
            ceph_status.strip("\n"),
            heading(f"conditions of CephCluster {env.NAMESPACE}/{env.CLUSTER}"),
            conditions,
            heading("where the time went"),
            str(timetable),
            heading("result"),
            f"PostgreSQL has {found}.",
            f"The cluster stays up:  export KUBECONFIG={environment.kubeconfig}",
            f"                       {environment.programs}/kubectl -n {env.NAMESPACE} get cephcluster,pods",
            "To remove it:          make demo-down",
        ]
    )


def heading(text: str) -> str:
    """A line that sets off what follows."""
    return f"\n--- {text} ---"


def main() -> int:
    """Run the demo; when it fails, keep what a person needs to see why, and say where."""
    argparse.ArgumentParser(
        prog="make demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    try:
        run()
    except (RuntimeError, TimeoutError, OSError) as error:
        say(f"\nThe demo failed: {error}\nEverything is left as it is; `make demo-down` removes it.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
