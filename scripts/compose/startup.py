"""Start of the services, their isolation, and what `down` keeps."""

import time

from stack import PROFILES, PROJECT, wait_until

ONCE = {"topics", "registry", "check-worker"}
# docs/deploying.md: all services but these have a read-only root file system.
WRITABLE = {"kafka", "topics", "grafana"}


def startup(stack, report):
    """`docker compose up` starts the services in the promised order, and records reach consumers."""
    began = time.time()
    stack.up()
    report.info(f"`up` returned after {time.time() - began:.1f} s")
    wait_until("the worker is healthy", lambda: stack.is_healthy("worker"))
    report.check("the worker becomes healthy", True, f"{time.time() - began:.1f} s")
    wait_until("both cameras run", lambda: set(stack.owners()) == {"north-gate", "south-gate"})
    report.check("both cameras of the registry run", True, f"{time.time() - began:.1f} s")
    container = stack.container("tail")
    wait_until("`tail` prints records", lambda: all(name in stack.logs(container) for name in stack.owners()))
    report.check("the consumer `tail` prints records of both cameras", True, f"{time.time() - began:.1f} s")
    check_order(stack, report, began)
    for service in sorted(ONCE):
        state = stack.inspect(stack.container(service))[0]["State"]
        report.equal(f"{service} exits with code", state["ExitCode"], 0)
    lines = stack.lookout("tail", "--count", "10", "--json").stdout.splitlines()
    report.equal("`lookout tail` on the host prints records", len(lines), 10)


def check_order(stack, report, began):
    events = list(stack.events(began - 1, time.time()))

    def first(service, action):
        times = [at for at, name, what, _ in events if name == service and what == action]
        return min(times) if times else float("inf")

    steps = [
        ("kafka is healthy", first("kafka", "health_status: healthy")),
        ("topics starts", first("topics", "start")),
        ("topics exits", first("topics", "die")),
        ("registry starts", first("registry", "start")),
        ("registry exits", first("registry", "die")),
        ("worker starts", first("worker", "start")),
    ]
    names = ", ".join(f"{name} {at - began:.1f} s" for name, at in steps)
    report.check("services start in the promised order", steps == sorted(steps, key=lambda step: step[1]), names)
    worker = first("worker", "start")
    for name, at in [
        ("cameras are healthy", first("cameras", "health_status: healthy")),
        ("check-worker has exited", first("check-worker", "die")),
    ]:
        report.check(f"{name} before the worker starts", at < worker, f"{worker - at:.1f} s before")


def isolation(stack, report):
    """Users, capabilities, file systems and limits, as seen from inside the containers."""
    for container in stack.inspect(*stack.containers(status="running")):
        service = stack.service_of(container)

        def read(*paths, container=container):
            """Returns the first of the files that exists."""
            return stack.docker("exec", container["Id"], "sh", "-c", f"cat {' '.join(paths)} 2>/dev/null | head -n 1")

        status = stack.docker("exec", container["Id"], "cat", "/proc/1/status")
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        users = fields["Uid"].split() + fields["Gid"].split()[:1]
        capabilities = {int(value, 16) for name, value in fields.items() if name.startswith("Cap")}
        is_unprivileged = "0" not in users[:4] and capabilities == {0} and fields["NoNewPrivs"].strip() == "1"
        report.check(f"{service}: unprivileged, without capabilities", is_unprivileged, f"user {users[0]}")

        mounts = [line.split() for line in stack.docker("exec", container["Id"], "cat", "/proc/mounts").splitlines()]
        options = next(options for _, folder, _, options, *_ in mounts if folder == "/").split(",")
        expected = "rw" if service in WRITABLE else "ro"
        report.check(f"{service}: root file system is {expected}", expected in options)

        limits = container["HostConfig"]
        memory = read("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
        pids = read("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max")
        cpu = read("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu*/cpu.cfs_quota_us").split()[0]
        wanted = (str(limits["Memory"]), str(limits["PidsLimit"]), limits["NanoCpus"] // 10_000)
        have = (memory, pids, int(cpu) if cpu.isdigit() else cpu)
        is_limited = limits["Memory"] > 0 and limits["PidsLimit"] > 0 and limits["NanoCpus"] > 0
        report.check(
            f"{service}: limits of memory, processes and CPU", is_limited and have == wanted,
            f"{limits['Memory'] >> 20} MiB, {limits['PidsLimit']}, {limits['NanoCpus'] / 1e9:g}" if have == wanted else
            f"{have}, not {wanted}",
        )  # fmt: skip


def restart(stack, report):
    """`down` removes the containers and keeps the data; `up` continues with it."""
    cameras, records = stack.cameras(), len(stack.records())
    began = time.time()
    stack.compose(*PROFILES, "stop", "--timeout", "30")
    report.info(f"`stop` took {time.time() - began:.1f} s")
    containers = stack.inspect(*stack.containers())
    killed = [stack.service_of(each) for each in containers if each["State"]["ExitCode"] == 137]
    report.check("all services end within their grace period", not killed, " ".join(killed))
    stack.down()
    report.equal("`down` leaves containers", len(stack.containers()), 0)
    began = time.time()
    stack.up("--scale", "worker=3")
    wait_until("all cameras run again", lambda: len(stack.owners()) == len(cameras))
    report.check("after `down` and `up`, all cameras run", True, f"{time.time() - began:.1f} s")
    report.check("the registry is the same", stack.cameras() == cameras, f"{len(cameras)} cameras")
    kept = len(stack.records())
    report.check("the records are kept", kept >= records, f"{records} before, {kept} after")


def removal(stack, report, volumes):
    """`down --volumes` leaves nothing. `volumes` are those that existed before the test."""
    stack.down("--volumes", "--remove-orphans")
    label = ["--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}"]
    report.equal("containers left", len(stack.containers()), 0)
    report.equal("networks left", len(stack.docker("network", "ls", *label).split()), 0)
    left = set(stack.docker("volume", "ls", "--quiet").split()) - volumes
    report.check("volumes left, including anonymous ones", not left, len(left))
