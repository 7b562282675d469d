#!/usr/bin/python3
"""Stand-in for MediaMTX: an RTSP server that relays published streams over TCP.

Reads these keys of mediamtx.yml and rejects all others: rtspAddress, authInternalUsers (addresses and actions, without
passwords), and runOnInit and runOnInitRestart of each path.
"""

import asyncio
import ipaddress
import os
import re
import shlex
import signal
import sys

import yaml

SUPPORTED = {"rtspAddress", "rtspTransports", "rtmp", "hls", "webrtc", "srt", "authInternalUsers", "paths"}
REASONS = {
    200: "OK",
    401: "Unauthorized",
    404: "Not Found",
    461: "Unsupported Transport",
    501: "Not Implemented",
}
METHODS = "DESCRIBE, ANNOUNCE, SETUP, PLAY, RECORD, PAUSE, GET_PARAMETER, TEARDOWN"
# A reader with this many unsent bytes is disconnected.
MAX_UNSENT = 4_000_000
RESTART_DELAY_S = 5


def log(message):
    print(message, file=sys.stderr, flush=True)


class Path:
    """A stream: its description, its publisher and its readers."""

    def __init__(self, name):
        self.name = name
        self.sdp = None
        self.publisher = None
        self.readers = set()


class Connection:
    """A connection of a publisher or a reader."""

    def __init__(self, server, reader, writer):
        self.server = server
        self.reader = reader
        self.writer = writer
        self.peer = writer.get_extra_info("peername")[0]
        self.session = [("Session", f"{os.urandom(6).hex()};timeout=60")]
        self.path = None
        self.recording = False
        self.playing = False
        # The path's channels are numbered 2 * track for RTP and 2 * track + 1 for RTCP. For a publisher, maps the
        # connection's interleaved channels to these; for a reader, maps these to the interleaved channels.
        self.channels = {}

    async def run(self):
        try:
            while True:
                await self.message()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            self.close()

    def close(self):
        if self.path:
            self.path.readers.discard(self)
            if self.path.publisher is self:
                log(f"{self.path.name}: publisher disconnected")
                self.path.publisher = None
                self.path.sdp = None
                for reader in list(self.path.readers):
                    reader.writer.close()
        self.writer.close()

    async def message(self):
        """Reads one request, or one packet of interleaved data."""
        first = await self.reader.readexactly(1)
        if first == b"$":
            head = await self.reader.readexactly(3)
            payload = await self.reader.readexactly(int.from_bytes(head[1:], "big"))
            if self.recording:
                self.relay(head[0], payload)
        elif first not in b"\r\n":
            head = first + await self.reader.readuntil(b"\r\n\r\n")
            await self.request(head.decode())
            await self.writer.drain()

    def relay(self, interleaved, payload):
        channel = self.channels.get(interleaved)
        for reader in list(self.path.readers):
            to = reader.channels.get(channel)
            if to is None or not reader.playing:
                continue
            if reader.writer.transport.get_write_buffer_size() > MAX_UNSENT:
                log(f"{self.path.name}: {reader.peer} is too slow and is disconnected")
                reader.writer.close()
                continue
            reader.writer.write(b"$" + bytes([to]) + len(payload).to_bytes(2, "big") + payload)

    async def request(self, head):
        lines = head.split("\r\n")
        method, url, _ = lines[0].split(" ", 2)
        fields = (line.split(":", 1) for line in lines[1:] if ":" in line)
        headers = {name.strip().lower(): value.strip() for name, value in fields}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        parts = re.sub(r"^rtsp://[^/]*/?", "", url).split("?")[0].strip("/").split("/")
        path = self.server.paths.get(parts[0])

        if method == "OPTIONS":
            status, extra, content = 200, [("Public", METHODS)], b""
        elif method in ("GET_PARAMETER", "SET_PARAMETER", "PAUSE"):
            status, extra, content = 200, self.session, b""
        elif path is None:
            status, extra, content = 404, [], b""
        elif not self.server.is_allowed(self.peer, "publish" if method in ("ANNOUNCE", "RECORD") else "read"):
            log(f"{path.name}: {method} of {self.peer} is not allowed")
            status, extra, content = 401, [], b""
        elif method == "DESCRIBE":
            status, extra, content = self.describe(path, url)
        elif method == "SETUP":
            status, extra, content = self.setup(path, parts, headers.get("transport", ""))
        else:
            status, extra, content = self.control(method, path, body)
        self.respond(status, headers.get("cseq", "0"), extra, content)
        if method == "PLAY" and status == 200:
            # The response has to precede the first packet.
            self.playing = True
        if method == "TEARDOWN":
            await self.writer.drain()
            self.writer.close()

    def describe(self, path, url):
        if not path.sdp:
            return 404, [], b""
        sdp = re.sub(rb"a=control:.*streamid=", b"a=control:trackID=", path.sdp)
        return 200, [("Content-Type", "application/sdp"), ("Content-Base", url.rstrip("/") + "/")], sdp

    def setup(self, path, parts, transport):
        interleaved = re.search(r"RTP/AVP/TCP.*interleaved=(\d+)-(\d+)", transport)
        if not interleaved:
            return 461, [], b""
        track = int(re.search(r"(\d+)$", parts[-1]).group(1)) if len(parts) > 1 else 0
        for i in range(2):
            channel, number = 2 * track + i, int(interleaved.group(i + 1))
            if path.publisher is self:
                self.channels[number] = channel
            else:
                self.channels[channel] = number
        self.path = path
        first, second = interleaved.groups()
        return 200, [("Transport", f"RTP/AVP/TCP;unicast;interleaved={first}-{second}"), *self.session], b""

    def control(self, method, path, body):
        if method == "ANNOUNCE":
            self.path = path
            path.sdp, path.publisher = body, self
        elif method == "RECORD":
            self.recording = True
            log(f"{path.name}: published by {self.peer}")
        elif method == "PLAY":
            path.readers.add(self)
            log(f"{path.name}: read by {self.peer}")
        elif method != "TEARDOWN":
            return 501, [], b""
        return 200, self.session, b""

    def respond(self, status, cseq, headers, body):
        lines = [f"RTSP/1.0 {status} {REASONS[status]}", f"CSeq: {cseq}", "Server: stand-in"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)


class Server:
    def __init__(self, settings):
        unsupported = set(settings) - SUPPORTED
        if unsupported:
            sys.exit(f"mediamtx.yml: the stand-in does not support {', '.join(sorted(unsupported))}")
        self.settings = settings
        self.paths = {name: Path(name) for name in settings["paths"]}
        self.publishers = set()

    def is_allowed(self, peer, action):
        address = ipaddress.ip_address(peer.removeprefix("::ffff:"))
        for user in self.settings.get("authInternalUsers", []):
            networks = user.get("ips", ["0.0.0.0/0", "::/0"])
            known = any(address in ipaddress.ip_network(network) for network in networks)
            if known and any(permission["action"] == action for permission in user["permissions"]):
                return True
        return False

    async def publish(self, name, path):
        """Runs the command of a path, and restarts it if the path requires that."""
        while True:
            child = await asyncio.create_subprocess_exec(*shlex.split(path["runOnInit"]))
            self.publishers.add(child)
            code = await child.wait()
            self.publishers.discard(child)
            log(f"{name}: runOnInit exited with code {code}")
            if not path.get("runOnInitRestart"):
                return
            await asyncio.sleep(RESTART_DELAY_S)

    async def serve(self):
        host, port = self.settings.get("rtspAddress", ":8554").rsplit(":", 1)

        async def accept(reader, writer):
            await Connection(self, reader, writer).run()

        server = await asyncio.start_server(accept, host or None, int(port), limit=1 << 20)
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        log(f"listening on {[socket.getsockname() for socket in server.sockets]}")
        paths = self.settings["paths"].items()
        tasks = [loop.create_task(self.publish(name, path)) for name, path in paths if path.get("runOnInit")]
        await stopped.wait()
        for task in tasks:
            task.cancel()
        for child in self.publishers:
            child.terminate()


def main():
    with open(sys.argv[1] if len(sys.argv) > 1 else "mediamtx.yml") as file:
        settings = yaml.safe_load(file)
    asyncio.run(Server(settings).serve())


if __name__ == "__main__":
    main()
