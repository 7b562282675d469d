"""A real Kafka for the duration of a measurement, which both sides use."""

import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "kafka.sh"


class Kafka:
    """Context manager: `with Kafka() as brokers:` starts a broker; `brokers` is HOST:PORT."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="lookout-bench-kafka-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        try:
            subprocess.run([SCRIPT, "format", self.folder, str(port)], check=True)
            self.broker = subprocess.Popen([SCRIPT, "start", self.folder, str(port)])
            self._wait_for(port)
        except BaseException:
            self.__exit__()
            raise
        return f"127.0.0.1:{port}"

    def _wait_for(self, port):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.broker.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("error: Kafka did not start within 60 s; KAFKA_LOG_LEVEL=INFO shows why")

    def __exit__(self, *_):
        if broker := getattr(self, "broker", None):
            broker.terminate()
            broker.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
