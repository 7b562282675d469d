"""Runs Docker, Compose and the program `lookout` of the image."""

import json
import os
import re
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = "lookout-test"
BROKERS = "localhost:9092"
PROFILES = ["--profile", "monitor", "--profile", "observe"]
# Every wait ends after this time. It is not a requirement, but a protection against a hang.
HANG_S = 600


class Failed(Exception):
    """A command failed, or a condition was not met."""


def parsed_time(text):
    """Returns the seconds since 1970 of an RFC 3339 time in UTC."""
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(seconds + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def wait_until(what, condition, limit=HANG_S, interval=0.5):
    """Calls `condition` until its result is true; returns the result and the seconds that it took."""
    began = time.monotonic()
    while True:
        result = condition()
        elapsed = time.monotonic() - began
        if result:
            return result, elapsed
        if elapsed > limit:
            raise Failed(f"not after {limit} s: {what}")
        time.sleep(interval)


def bytes_of(text):
    """Returns the bytes of `12.5MiB`."""
    number, unit = re.fullmatch(r"([0-9.]+)\s*([A-Za-z]+)", text.strip()).groups()
    return float(number) * {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


class Stack:
    """The services of docker-compose.yml, as a Compose project of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
        self.command = shlex.split(os.environ.get("COMPOSE", "docker-compose"))
        self.environment = {**os.environ, "COMPOSE_PROJECT_NAME": PROJECT, "LOOKOUT_WEIGHTS": "random:0"}
        self.environment.pop("LOOKOUT_MONITOR_TOKEN", None)
        self.memory = {}

    def run(self, arguments, check=True, environment=None, **options):
        result = subprocess.run(
            arguments, cwd=ROOT, env={**self.environment, **(environment or {})}, capture_output=True, text=True,
            timeout=HANG_S * 2, **options,
        )  # fmt: skip
        if check and result.returncode:
            last = "\n".join((result.stderr or result.stdout).strip().splitlines()[-3:])
            raise Failed(f"{' '.join(map(str, arguments))[:120]}: exit code {result.returncode}: {last}")
        return result

    def docker(self, *arguments, check=True, **options):
        return self.run(["docker", *arguments], check=check, **options).stdout.strip()

    def compose(self, *arguments, check=True, environment=None):
        return self.run([*self.command, *arguments], check=check, environment=environment)

    def up(self, *arguments, check=True, environment=None):
        """Starts services with the images that exist."""
        return self.compose("up", "--detach", "--no-build", *arguments, check=check, environment=environment)

    def down(self, *arguments):
        self.compose(*PROFILES, "down", "--timeout", "30", *arguments)

    def image(self, name):
        return f"lookout/{name}:{self.version}"

    def extract_lookout(self):
        """Copies the program `lookout` out of its image, as the program of a user on the host."""
        container = self.docker("create", self.image("lookout"))
        try:
            self.docker("cp", f"{container}:/usr/local/bin/lookout", str(self.folder / "lookout"))
        finally:
            self.docker("rm", container)

    def lookout(self, *arguments, check=True):
        return self.run([self.folder / "lookout", *arguments, "--brokers", BROKERS], check=check)

    # Containers

    def containers(self, service=None, status=None):
        filters = ["--filter", f"label=com.docker.compose.project={PROJECT}"]
        if service:
            filters += ["--filter", f"label=com.docker.compose.service={service}"]
        if status:
            filters += ["--filter", f"status={status}"]
        return self.docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()

    def container(self, service):
        found = self.containers(service)
        if len(found) != 1:
            raise Failed(f"{service} has {len(found)} containers")
        return found[0]

    def inspect(self, *containers):
        return json.loads(self.docker("inspect", *containers)) if containers else []

    def service_of(self, inspected):
        return inspected["Config"]["Labels"]["com.docker.compose.service"]

    def is_healthy(self, service, count=1):
        """Whether `count` running containers of the service are healthy."""
        states = [each["State"] for each in self.inspect(*self.containers(service, "running"))]
        return len(states) == count and all(state.get("Health", {}).get("Status") == "healthy" for state in states)

    def logs(self, container):
        result = self.run(["docker", "logs", container])
        return result.stdout + result.stderr

    def events(self, since, until):
        """Returns the events of the project's containers: (time, service, action, exit code)."""
        lines = self.docker(
            "events", "--since", f"{since:.3f}", "--until", f"{until:.3f}", "--format", "{{json .}}",
            "--filter", "type=container", "--filter", f"label=com.docker.compose.project={PROJECT}",
        )  # fmt: skip
        for event in map(json.loads, lines.splitlines()):
            attributes = event["Actor"]["Attributes"]
            service = attributes["com.docker.compose.service"]
            yield event["timeNano"] / 1e9, service, event["Action"], attributes.get("exitCode")

    def measure_memory(self):
        """Updates the largest memory use of each service. Docker does not count the page cache."""
        running = self.inspect(*self.containers(status="running"))
        if not running:
            return
        services = {each["Id"]: (self.service_of(each), each["HostConfig"]["Memory"]) for each in running}
        lines = self.docker("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.MemUsage}}", *services)
        for line in lines.splitlines():
            container, used = line.split(" ", 1)
            service, limit = services[container]
            largest = max(bytes_of(used.split(" / ")[0]), self.memory.get(service, (0, 0))[0])
            self.memory[service] = (largest, limit)

    # Lookout

    def fleet(self):
        """Returns the output of `lookout fleet`, or nothing while Kafka does not answer."""
        result = self.lookout("fleet", "--once", "--json", check=False)
        lines = result.stdout.strip().splitlines()
        return json.loads(lines[-1]) if lines else {"workers": [], "cameras": []}

    def owners(self):
        """Returns {camera: worker} of the cameras that run."""
        return {each["camera"]: each["owner"] for each in self.fleet()["cameras"] if each["status"] == "running"}

    def cameras(self):
        """Returns the records of the registry."""
        lines = self.lookout("cameras", "list", "--json").stdout.splitlines()
        return sorted(lines)

    def records(self):
        """Returns all frame records, in the order of their partitions."""
        output = self.lookout("tail", "--from-beginning", "--until-end", "--json").stdout
        records = (json.loads(line) for line in output.splitlines() if line.startswith("{"))
        return [record for record in records if record.get("schema", "").startswith("lookout.frame/")]

    def http(self, url, headers=None):
        """Returns the status, the headers and the body of a response; does not follow redirects."""

        class NoRedirect(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_):
                return None

        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
        try:
            with opener.open(urllib.request.Request(url, headers=headers or {}), timeout=30) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()
        except OSError:
            return 0, {}, b""

    def http_json(self, url):
        status, _, body = self.http(url)
        return json.loads(body) if status == 200 else {}
