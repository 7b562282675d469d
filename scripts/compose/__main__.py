"""Runs docker-compose.yml and checks what docs/deploying.md promises; scripts/compose/test.sh builds the images first.

LOOKOUT_CHECKS=NAME,... runs only these parts; the parts `startup` and `removal` always run. The exit code is 1 if a check
failed.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path

import fleet
import services
import startup
from report import Report
from stack import ROOT, Stack

IMAGES = ["worker", "lookout", "monitor", "cameras", "prometheus", "grafana"]


class Run:
    """The parts in their order. Each part continues with the services of the parts before it."""

    def __init__(self, stack, report):
        self.stack, self.report = stack, report
        self.takeover = None
        self.victim = None
        self.victim_address = None

    def startup(self):
        startup.startup(self.stack, self.report)

    def monitor(self):
        services.monitor(self.stack, self.report)

    def observe(self):
        services.observe(self.stack, self.report)
        services.grafana(self.stack, self.report)

    def isolation(self):
        startup.isolation(self.stack, self.report)

    def share(self):
        fleet.share(self.stack, self.report)

    def kill(self):
        services.wait_for_targets(self.stack)
        self.victim, self.victim_address, self.takeover = fleet.kill(self.stack, self.report)

    def alert(self):
        services.alert(self.stack, self.report, self.victim_address)

    def crash(self):
        fleet.crash(self.stack, self.report, self.victim)

    def outage(self):
        fleet.outage(self.stack, self.report)

    def stop(self):
        fleet.stop(self.stack, self.report)

    def restart(self):
        startup.restart(self.stack, self.report)

    def upgrade(self):
        previous = os.environ.get("LOOKOUT_PREVIOUS_IMAGES") or "previous"
        fleet.upgrade(self.stack, self.report, previous, self.takeover)


PARTS = ["monitor", "observe", "isolation", "share", "kill", "alert", "crash", "outage", "stop", "restart", "upgrade"]


def sizes(stack):
    """Returns {image: bytes} of the images that exist."""
    found = {}
    for name in IMAGES:
        size = stack.docker("image", "inspect", "--format", "{{.Size}}", stack.image(name), check=False)
        if size:
            found[stack.image(name)] = int(size)
    return found


def main():
    selected = [name for name in os.environ.get("LOOKOUT_CHECKS", "").split(",") if name] or PARTS
    unknown = set(selected) - set(PARTS)
    if unknown:
        sys.exit(f"error: LOOKOUT_CHECKS: {', '.join(sorted(unknown))} is not one of {', '.join(PARTS)}")
    # The services are removed when the run is terminated, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        stack.down("--volumes", "--remove-orphans")
        volumes = set(stack.docker("volume", "ls", "--quiet").split())
        run = Run(stack, report)
        try:
            stack.extract_lookout()
            for name in ["startup", *(part for part in PARTS if part in selected)]:
                with report.part(name):
                    getattr(run, name)()
                stack.measure_memory()
                if name == "startup" and report.failed:
                    break
            check_memory(stack, report)
            keep_logs(stack, report)
        finally:
            with report.part("removal"):
                startup.removal(stack, report, volumes)
        report.summary(sizes(stack), stack.memory)
    sys.exit(1 if report.failed else 0)


def check_memory(stack, report):
    for service, (used, limit) in sorted(stack.memory.items()):
        report.check(f"{service}: memory is below the limit", used < limit, f"{used / limit:.0%}")
    killed = [stack.service_of(each) for each in stack.inspect(*stack.containers()) if each["State"]["OOMKilled"]]
    report.check("no container was killed for lack of memory", not killed, " ".join(killed))


def keep_logs(stack, report):
    """Saves the containers' logs if a check failed."""
    if not report.failed:
        return
    folder = ROOT / "target/compose-logs"
    folder.mkdir(parents=True, exist_ok=True)
    for container in stack.inspect(*stack.containers()):
        name = f"{stack.service_of(container)}-{container['Id'][:12]}.log"
        (folder / name).write_text(stack.logs(container["Id"]))
    report.info(f"the containers' logs are in {folder}")


if __name__ == "__main__":
    main()
