"""The monitor, Prometheus and Grafana."""

import json
import re
import secrets
import subprocess
import time
import urllib.parse

from stack import ROOT, Failed, wait_until

MONITOR = "http://127.0.0.1:9700"
PROMETHEUS = "http://127.0.0.1:9090"
GRAFANA = "http://127.0.0.1:3000"


def monitor(stack, report):
    """The monitor is not started without a token, and asks for it."""
    arguments = ["--profile", "monitor", "up", "--detach", "--no-build", "monitor"]
    result = stack.compose(*arguments, check=False)
    report.check("`up` fails without LOOKOUT_MONITOR_TOKEN", result.returncode != 0, f"exit code {result.returncode}")
    container = stack.container("check-monitor")
    inspected = stack.inspect(container)[0]
    report.equal("check-monitor exits with code", inspected["State"]["ExitCode"], 2)
    report.equal("restarts of check-monitor", inspected["RestartCount"], 0)
    report.check("its log contains the remedy", "openssl rand" in stack.logs(container))
    report.equal("running monitors", len(stack.containers("monitor", "running")), 0)

    token = secrets.token_hex(32)
    began = time.time()
    stack.compose(*arguments, environment={"LOOKOUT_MONITOR_TOKEN": token})
    wait_until("the monitor is healthy", lambda: stack.is_healthy("monitor"))
    report.check("the monitor becomes healthy with a token", True, f"{time.time() - began:.1f} s")
    login = {"Authorization": f"Bearer {token}"}
    wrong = {"Authorization": f"Bearer {secrets.token_hex(32)}"}
    for name, path, headers, expected in [
        ("the page without the token redirects to the login", "/", {}, 303),
        ("the API without the token", "/api/overview", {}, 401),
        ("the API with a wrong token", "/api/overview", wrong, 401),
        ("the API with the token", "/api/overview", login, 200),
        ("the page with the token", "/", login, 200),
        ("/healthz without the token", "/healthz", {}, 200),
    ]:
        report.equal(f"{name}: status", stack.http(MONITOR + path, headers)[0], expected)

    def snapshot():
        status, headers, body = stack.http(f"{MONITOR}/api/cameras/north-gate/snapshot.jpg", login)
        return (headers["Content-Type"], body[:2], len(body)) if status == 200 else None

    (kind, start, size), _ = wait_until("a snapshot of north-gate", snapshot)
    report.check("a snapshot of a camera is a JPEG image", kind == "image/jpeg" and start == b"\xff\xd8", f"{size} bytes")


def targets(stack):
    found = stack.http_json(f"{PROMETHEUS}/api/v1/targets").get("data", {}).get("activeTargets", [])
    return [target["health"] for target in found]


def wait_for_targets(stack):
    """Waits until Prometheus, if it runs, scrapes all workers; returns their number."""
    workers = len(stack.containers("worker", "running"))
    if stack.containers("prometheus", "running"):
        wait_until("the targets are up", lambda: targets(stack) == ["up"] * workers)
    return workers


def query(stack, expression):
    encoded = urllib.parse.urlencode({"query": expression})
    return stack.http_json(f"{PROMETHEUS}/api/v1/query?{encoded}")


def observe(stack, report):
    """Prometheus scrapes the workers and loads its rules; its tests of the rules pass."""
    began = time.time()
    stack.compose("--profile", "observe", "up", "--detach", "--no-build", "prometheus")
    wait_until("Prometheus is healthy", lambda: stack.is_healthy("prometheus"))
    report.check("Prometheus becomes healthy", True, f"{time.time() - began:.1f} s")
    workers = wait_for_targets(stack)
    report.check("the workers are targets and up", True, f"{workers} of {workers}")

    def loaded():
        groups = stack.http_json(f"{PROMETHEUS}/api/v1/rules").get("data", {}).get("groups", [])
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else None

    rules, _ = wait_until("the rules are evaluated", loaded)
    written = re.findall(r"- (?:alert|record): (\S+)", (ROOT / "deploy/prometheus/rules.yml").read_text())
    errors = [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule["health"] != "ok"]
    same = sorted(rule["name"] for rule in rules) == sorted(written)
    report.check("all rules are loaded and evaluated", same and not errors, "; ".join(errors) or f"{len(rules)} rules")
    test_rules(stack, report)
    failed = [each for each in expressions() if query(stack, each).get("status") != "success"]
    report.check("Prometheus accepts the dashboard's expressions", not failed, "; ".join(failed) or len(expressions()))


def expressions():
    """Returns the expressions of the dashboard for all instances and cameras."""
    dashboard = json.loads((ROOT / "deploy/grafana/lookout.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [each.replace("$instance", ".*").replace("$camera", ".*") for each in found]


def test_rules(stack, report):
    archive = subprocess.run(
        ["tar", "--create", "--directory", ROOT / "deploy/prometheus", "rules.yml", "rules_test.yml"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    result = subprocess.run(
        ["docker", "run", "--rm", "--interactive", "--network", "none", "--entrypoint", "sh",
         stack.image("prometheus"), "-c", "cd /tmp && tar -x && promtool test rules rules_test.yml 2>&1"],
        input=archive, capture_output=True, env=stack.environment,
    )  # fmt: skip
    output = result.stdout.decode() + result.stderr.decode()
    report.check("promtool's tests of the rules pass", result.returncode == 0, output.strip()[-1000:].replace("\n", " "))


def alert(stack, report, victim_address):
    """LookoutWorkerGone fires for a killed worker."""

    def fires():
        found = stack.http_json(f"{PROMETHEUS}/api/v1/alerts").get("data", {}).get("alerts", [])
        return any(
            each["labels"]["alertname"] == "LookoutWorkerGone"
            and each["labels"]["instance"] == victim_address
            and each["state"] == "firing"
            for each in found
        )

    _, elapsed = wait_until("LookoutWorkerGone fires", fires, interval=1)
    report.check("the alert LookoutWorkerGone fires for a killed worker", True, f"{elapsed:.1f} s after its takeover")


def grafana(stack, report):
    """Grafana starts and has the dashboard. Only where its image could be built."""
    try:
        stack.docker("image", "inspect", stack.image("grafana"))
    except Failed:
        report.info("Grafana is not checked: its base image cannot be pulled")
        return
    stack.compose("--profile", "observe", "up", "--detach", "--no-build", "grafana")
    wait_until("Grafana is healthy", lambda: stack.is_healthy("grafana"))
    report.check("Grafana becomes healthy", True)
    uid = json.loads((ROOT / "deploy/grafana/lookout.json").read_text())["uid"]
    report.equal("Grafana has the dashboard: status", stack.http(f"{GRAFANA}/api/dashboards/uid/{uid}")[0], 200)
