"""Several workers: shared cameras, failures, shutdown, and an upgrade."""

import json
import os
import signal
import time

from ledger import Ledger, frames, longest_gaps
from stack import HANG_S, Failed, parsed_time, wait_until

WORKERS = 3
# The default of `[fleet] session_timeout_ms`.
SESSION_TIMEOUT_S = 6
# docker-compose.yml: `stop_grace_period` of the workers.
GRACE_S = 20
EXTRA = [f"extra-{i}" for i in range(1, 5)]


def published(record):
    return parsed_time(record["published_at"])


def partitions(stack):
    """Returns the partitions of each running worker."""
    workers = stack.fleet()["workers"]
    return [worker["partitions"] for worker in workers if worker["state"] == "running"]


def is_balanced(stack):
    """Whether all workers have their share of the partitions."""
    shares = partitions(stack)
    every = sorted(partition for share in shares for partition in share)
    return len(shares) == WORKERS and every == list(range(12)) and {len(share) for share in shares} == {4}


def start_workers(stack):
    stack.up("--scale", f"worker={WORKERS}", "--no-recreate")
    wait_until("the workers are healthy", lambda: stack.is_healthy("worker", WORKERS))


def share(stack, report):
    """Three workers share the cameras."""
    for camera in EXTRA:
        stack.lookout("cameras", "add", camera, "test://ball?fps=2&width=320&height=240")
    began = time.time()
    start_workers(stack)
    report.check("three workers become healthy", True, f"{time.time() - began:.1f} s")
    wait_until("each worker has 4 of the 12 partitions", lambda: is_balanced(stack))
    report.check("each worker has 4 of the 12 partitions", True, f"{time.time() - began:.1f} s")
    owners, _ = wait_until("all cameras run", lambda: len(owners := stack.owners()) == 2 + len(EXTRA) and owners)
    workers = set(owners.values())
    report.check("several workers run the cameras", len(workers) > 1, f"{len(owners)} cameras on {len(workers)} workers")
    ids = {container[:12] for container in stack.containers("worker", "running")}
    report.check("a worker's id is the start of its container's id", workers <= ids, " ".join(sorted(workers)))


def kill(stack, report):
    """After `docker kill` of a worker, the other workers take over its cameras."""
    owners = stack.owners()
    victim = owners["north-gate"]
    moved = [camera for camera, owner in owners.items() if owner == victim]
    networks = stack.inspect(victim)[0]["NetworkSettings"]["Networks"].values()
    address = f"{next(iter(networks))['IPAddress']}:9600"
    killed = time.time()
    stack.docker("kill", victim)
    takeover = measure_takeover(stack, moved, victim, killed)
    report.check(
        f"other workers publish records of all {len(moved)} cameras of a killed worker", True,
        f"{takeover:.1f} s after the kill, session timeout {SESSION_TIMEOUT_S} s",
    )  # fmt: skip
    state = stack.inspect(victim)[0]
    report.equal("the engine leaves a container stopped after `docker kill`", state["State"]["Status"], "exited")
    return victim, address, takeover


def measure_takeover(stack, cameras, victim, since):
    """Returns the seconds until another worker has published a record of each camera."""

    def is_moved():
        owners = stack.owners()
        return all(owners.get(camera, victim) != victim for camera in cameras)

    def firsts():
        times = {}
        for record in stack.records():
            if record["camera"] in cameras and record["worker"] != victim and published(record) > since:
                times.setdefault(record["camera"], published(record))
        return times if len(times) == len(cameras) else None

    wait_until("the cameras run on other workers", is_moved)
    times, _ = wait_until("records of the new workers", firsts)
    return max(times.values()) - since


def crash(stack, report, victim):
    """The engine restarts a worker whose process is killed."""
    stack.docker("start", victim)
    wait_until("the killed worker is healthy again", lambda: stack.is_healthy("worker", WORKERS))
    wait_until("each worker has 4 partitions again", lambda: is_balanced(stack))
    report.check("the killed worker shares the cameras again after `docker start`", True)
    pid = stack.inspect(victim)[0]["State"]["Pid"]
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            is_worker = "lookout" in file.read()
        if not is_worker:
            raise Failed("another process has this id")
        os.kill(pid, signal.SIGKILL)
    except (OSError, Failed) as error:
        report.info(f"the restart after a crash is not checked: cannot kill process {pid}: {error}")
        return
    wait_until("the engine restarts it", lambda: stack.inspect(victim)[0]["RestartCount"] == 1)
    _, elapsed = wait_until("it is healthy", lambda: stack.is_healthy("worker", WORKERS))
    report.check("the engine restarts a worker that crashed", True, f"healthy after {elapsed:.1f} s")
    wait_until("each worker has 4 partitions again", lambda: is_balanced(stack))


def outage(stack, report):
    """No record is lost, duplicated or out of order while Kafka is stopped."""
    cameras = set(stack.owners())
    stopped = time.time()
    stack.compose("stop", "kafka")
    report.info(f"`stop kafka` took {time.time() - stopped:.1f} s")
    time.sleep(20)
    healthy = stack.is_healthy("worker", WORKERS)
    report.check("the workers stay healthy while Kafka is stopped", healthy)
    stack.compose("start", "kafka")
    started = time.time()
    wait_until("Kafka is healthy", lambda: stack.is_healthy("kafka"))
    report.info(f"Kafka is healthy {time.time() - started:.1f} s after its start")

    def resumed():
        return {each["camera"] for each in stack.records() if published(each) > started} >= cameras

    wait_until("records of all cameras", resumed, interval=2)
    report.check("records of all cameras follow the start of Kafka", True, f"{time.time() - started:.1f} s")
    records = check_ledger(stack, report, "outage")
    around = [record for record in records if published(record) > stopped - 5]
    gap, camera = max((gap, camera) for camera, (gap, _) in longest_gaps(around, published).items())
    report.info(f"longest time without a record: {camera}, {gap:.1f} s, of which Kafka was stopped {started - stopped:.1f} s")


def check_ledger(stack, report, name):
    recording = stack.folder / f"{name}.jsonl"
    stack.lookout("tail", "--from-beginning", "--until-end", "--save", str(recording))
    records = frames(recording)
    ledger = Ledger(records)
    report.check(
        "no frame is without a record and without a cause", not ledger.lost,
        f"{ledger.records} records in {len(ledger.sessions)} sessions, dropped: {dict(ledger.dropped)}"
        + "".join(f"; {each}" for each in ledger.lost[:5]),
    )  # fmt: skip
    report.equal("duplicate records", ledger.duplicates, 0)
    report.equal("records out of order", ledger.out_of_order, 0)
    return records


def check_stopped(stack, report, container, seconds):
    state = stack.inspect(container)[0]["State"]
    good = state["ExitCode"] == 0 and not state["OOMKilled"] and seconds < GRACE_S
    detail = f"exit code {state['ExitCode']} after {seconds:.1f} s"
    report.check(f"worker {container[:12]} drains within the grace period", good, detail)
    # The last line is the summary. A worker may have had partitions without a camera.
    summary = json.loads(stack.docker("logs", "--tail", "1", container) or "{}")
    counts = summary.get("cameras", {}).values()
    unsent = sum(each["published"] - each["delivered"] for each in counts)
    report.check(
        f"worker {container[:12]} delivered all its records", "cameras" in summary and not unsent,
        f"{len(counts)} cameras, {unsent} not delivered",
    )  # fmt: skip


def stop(stack, report):
    """`docker stop` drains the workers."""
    for container in stack.containers("worker", "running"):
        began = time.time()
        stack.docker("stop", "--time", str(GRACE_S), container)
        check_stopped(stack, report, container, time.time() - began)
    began = time.time()
    stack.compose("start", "worker")
    wait_until("the workers are healthy", lambda: stack.is_healthy("worker", WORKERS))
    wait_until("each worker has 4 partitions again", lambda: is_balanced(stack))
    report.check("the workers share the cameras again after a start", True, f"{time.time() - began:.1f} s")


def upgrade(stack, report, previous, takeover):
    """Replaces workers of the commit before, one after the other."""
    stack.down("--volumes")
    current = {name: stack.docker("inspect", "--format", "{{.Id}}", stack.image(name)) for name in ("worker", "lookout")}
    try:
        for name in current:
            stack.docker("tag", f"lookout/{name}:{previous}", stack.image(name))
        stack.up("--scale", f"worker={WORKERS}")
        wait_until("workers of the commit before are healthy", lambda: stack.is_healthy("worker", WORKERS))
    finally:
        for name, image in current.items():
            stack.docker("tag", image, stack.image(name))
    wait_until("each worker has 4 partitions", lambda: is_balanced(stack))
    wait_until("both cameras run", lambda: len(stack.owners()) == 2)
    began = time.time()
    for container in stack.containers("worker", "running"):
        stopped = time.time()
        stack.docker("stop", "--time", str(GRACE_S), container)
        check_stopped(stack, report, container, time.time() - stopped)
        stack.docker("rm", container)
        start_workers(stack)
        wait_until("each worker has 4 partitions", lambda: is_balanced(stack))
    wait_until("both cameras run", lambda: len(stack.owners()) == 2)
    report.info(f"the upgrade of {WORKERS} workers took {time.time() - began:.1f} s")
    upgraded = set(stack.containers("worker", "running"))
    stack.up("--scale", f"worker={WORKERS}")
    report.check("`up` keeps the upgraded workers", set(stack.containers("worker", "running")) == upgraded)
    images = {each["Image"] for each in stack.inspect(*stack.containers("worker", "running"))}
    report.check("all workers run the current image", images == {current["worker"]})
    time.sleep(2)  # a gap at the end would have no record after it
    records = [record for record in check_ledger(stack, report, "upgrade") if published(record) > began - 2]
    for camera, (gap, _) in sorted(longest_gaps(records, published).items()):
        limit = max(takeover or 0, SESSION_TIMEOUT_S)
        report.check(
            f"{camera} is never unwatched for longer than a takeover", gap <= limit,
            f"{gap:.1f} s, a takeover takes {limit:.1f} s",
        )  # fmt: skip
