#!/usr/bin/env python3
"""An RTSP camera for tests, whose options select deviations from the protocol.

It plays a raw H.264 file in a loop to every client. Each key frame of the file must start with SPS and PPS. When the
camera listens, it writes "ready PORT" to standard output. Events are written to the log, one JSON object per line, with
the key "event": "connection", "request", "play", "receiver_report" or "end".
"""

import argparse
import base64
import hashlib
import json
import os
import random
import re
import select
import socket
import ssl
import struct
import sys
import threading
import time

CLOCK_RATE = 90_000
PAYLOAD_TYPE = 96
MTU = 1400
NTP_EPOCH = 2_208_988_800  # 1900 to 1970, in seconds
FIRST_SSRC = 0xABCD
FAULT_AFTER = 3.0  # seconds of playback after which a clock or the timestamps go wrong

TEXT = {
    200: "OK", 302: "Moved Temporarily", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 453: "Not Enough Bandwidth", 454: "Session Not Found", 461: "Unsupported Transport",
    500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable",
}  # fmt: skip


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--video", required=True, help="raw H.264 file")
    add("--log", required=True, help="file to which events are appended")
    add("--address", default="127.0.0.1", help="IPv4 address to listen at")
    add("--port", type=int, default=0, help="0 selects a free port")
    add("--fps", type=float, default=25)
    add("--tls", help="file with key and certificate; the camera then speaks RTSP over TLS only")
    login = "none basic digest digest-qop digest-sha256 digest-both digest-stale".split()
    add("--auth", default="none", choices=login)
    add("--user", default="admin")
    add("--password", default="secret")
    add("--close-after-401", action="store_true", help="close the connection after a 401 response")
    add("--status", action="append", default=[], metavar="METHOD:CODE", help="respond to METHOD with CODE")
    add("--redirect", metavar="LOCATION", help="respond to DESCRIBE with 302; %%PORT%% is the camera's port")
    add("--transport", default="any", choices="any tcp udp".split(), help="transport that SETUP accepts")
    add("--channel", type=int, help="interleaved channel of RTP, whatever the client asks for")
    sdp = "plain absolute other-host no-control onvif-first audio-only empty-fields latin1 strange-video strange html"
    sdp += " many-media empty"
    add("--sdp", default="plain", choices=sdp.split())
    add("--content-base", default="right", choices="right no-slash empty no-scheme wrong none".split())
    style = "plain lf lower split no-cseq blank-lines no-reason".split()
    add("--style", default="plain", choices=style, help="form of responses")
    add("--session-timeout", type=int, default=0, metavar="SECONDS", help="stated in the Session header")
    add("--enforce-timeout", action="store_true", help="close a session that has had no request for this time")
    keep = "ok unlisted 405 501 454 close hang".split()
    add("--keep-alive", default="ok", choices=keep, help="response to requests during playback")
    add("--early-data", action="store_true", help="send packets before the response to PLAY")
    add("--noise", action="store_true", help="send unknown channels and requests to the client")
    add("--ssrc-change", type=float, metavar="SECONDS", help="interval of changes of SSRC and sequence number")
    add("--new-timestamps", action="store_true", help="change the RTP timestamps with the SSRC")
    add("--bye-at-change", action="store_true", help="send an RTCP BYE for the old SSRC")
    add("--sent-payload-type", type=int, help="payload type of packets, other than that of the description")
    add("--start-at", type=int, default=0, metavar="NUMBER", help="first access unit of the file")
    clocks = "right none 1970 zero future behind jump small-jump wander".split()
    add("--clock", default="right", choices=clocks, help="wall clock of the sender reports")
    stamps = "steady jump restart constant".split()
    add("--timestamps", default="steady", choices=stamps, help="RTP timestamps")
    add("--lose", type=float, default=0, metavar="SHARE", help="share of packets that are not sent")
    add("--reorder", type=int, default=0, metavar="NUMBER", help="swap every Nth packet with the packet after it")
    add("--duplicate", type=int, default=0, metavar="NUMBER", help="send every Nth packet twice")
    add("--foreign-packets", type=int, default=0, metavar="NUMBER", help="send N packets with N other SSRCs after each frame")
    add("--mutate", type=int, metavar="SEED", help="damage a part of the data on the control connection")
    add("--gap", metavar="AT:SECONDS", help="send nothing for SECONDS")
    ends = "close, reset, bye, teardown, silence, garbage or half-packet after SECONDS"
    add("--end", metavar="HOW:SECONDS", help=ends)
    arguments = parser.parse_args()
    arguments.status = dict(pair.split(":") for pair in arguments.status)
    return arguments


class Log:
    def __init__(self, path):
        self.file = open(path, "a", buffering=1, encoding="utf-8")
        self.lock = threading.Lock()

    def write(self, event, **fields):
        with self.lock:
            self.file.write(json.dumps({"event": event, **fields}) + "\n")


def access_units(path):
    """Returns the NAL units of each access unit of a raw H.264 file."""
    data = open(path, "rb").read()
    starts = [match.end() for match in re.finditer(b"\0\0\1", data)]
    ends = [start - 3 for start in starts[1:]] + [len(data)]
    units, current, has_slice = [], [], False
    for nal in (data[start:end].rstrip(b"\0") for start, end in zip(starts, ends)):
        is_slice = nal[0] & 31 in (1, 5)
        begins = (is_slice and nal[1] & 0x80) or nal[0] & 31 in (6, 7, 8, 9)
        if has_slice and begins:
            units.append(current)
            current, has_slice = [], False
        current.append(nal)
        has_slice |= is_slice
    return units + [current]


def payloads(unit):
    """Yields the RTP payloads of an access unit (RFC 6184), and whether each is the last one."""
    for number, nal in enumerate(unit):
        is_last = number == len(unit) - 1
        if len(nal) <= MTU:
            yield nal, is_last
            continue
        body = nal[1:]
        for at in range(0, len(body), MTU):
            ends = at + MTU >= len(body)
            header = bytes([nal[0] & 0xE0 | 28, (at == 0) << 7 | ends << 6 | nal[0] & 31])
            yield header + body[at : at + MTU], is_last and ends


class Camera:
    def __init__(self, arguments):
        self.arguments = arguments
        self.log = Log(arguments.log)
        self.connections = 0
        self.units = access_units(arguments.video)
        nals = [nal for unit in self.units for nal in unit]
        self.sps = next(nal for nal in nals if nal[0] & 31 == 7)
        self.pps = next(nal for nal in nals if nal[0] & 31 == 8)

    def serve(self):
        listener = socket.create_server((self.arguments.address, self.arguments.port))
        self.port = listener.getsockname()[1]
        tls = None
        if self.arguments.tls:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(self.arguments.tls)
        print("ready", self.port, flush=True)
        while True:
            client, address = listener.accept()
            self.log.write("connection")
            self.connections += 1
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.accept, args=(client, address, tls), daemon=True).start()

    def accept(self, client, address, tls):
        try:
            client = tls.wrap_socket(client, server_side=True) if tls else client
            Connection(self, client, address).run()
        except (OSError, ValueError) as error:
            self.log.write("end", why=repr(error))
        finally:
            client.close()

    def description(self, uri):
        kind, base = self.arguments.sdp, uri.rstrip("/")
        if kind == "html":
            return b"<html>Please log in</html>"
        sets = ",".join(base64.b64encode(nal).decode() for nal in (self.sps, self.pps))
        video = [
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_RATE}",
            f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;sprop-parameter-sets={sets}",
        ]
        head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 0.0.0.0", "t=0 0"]
        strange = ["m=video 0 RTP/AVP 99", "a=rtpmap:99 X-STRANGE/90000", "a=control:strange"]
        onvif = ["m=application 0 RTP/AVP 107", "a=rtpmap:107 vnd.onvif.metadata/90000", "a=control:metadata"]
        audio = ["m=audio 0 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=control:audio"]
        many = [line for number in range(500) for line in onvif[:2] + [f"a=control:metadata{number}"]]
        session, track = ["a=control:*"], ["a=control:track1"]
        elsewhere = "rtsp://192.0.2.77:554/inner"
        lines = {
            "plain": head + session + video + track,
            "absolute": head + [f"a=control:{base}/"] + video + [f"a=control:{base}/track1"],
            "other-host": head + [f"a=control:{elsewhere}/"] + video + [f"a=control:{elsewhere}/track1"],
            "no-control": head + video,
            "onvif-first": head + session + onvif + audio + video + track,
            "audio-only": head + session + audio,
            "empty-fields": ["v=0", "o=- 1001 1 IN", "s="] + video + ["c=IN"] + track + ["m=application 0 RTP/AVP 107"],
            "latin1": head[:2] + ["s=Caf\xe9"] + head[3:] + session + video + track,
            "strange-video": head + session + strange + video + track,
            "strange": head + session + strange,
            "many-media": head + session + many + video + track,
            "empty": [],
        }[kind]
        return ("\r\n".join(lines) + "\r\n").encode("latin-1")


class Connection:
    def __init__(self, camera, client, address):
        self.camera, self.client, self.address = camera, client, address
        self.arguments = camera.arguments
        self.lock = threading.Lock()
        self.last_request = time.monotonic()
        self.nonce = os.urandom(8).hex()
        self.is_open, self.is_playing, self.send_packet = True, False, None
        self.mutations = random.Random(f"{self.arguments.mutate} {camera.connections}")

    def run(self):
        received = b""
        self.client.settimeout(0.2)
        while self.is_open:
            if self.is_playing and self.arguments.enforce_timeout:
                if time.monotonic() - self.last_request > self.arguments.session_timeout:
                    return self.camera.log.write("end", why="session timeout")
            try:
                data = self.receive()
            except TimeoutError:
                continue
            if not data:
                return
            received = self.take(received + data)

    def receive(self):
        """Returns the next bytes from the client. Only one thread at a time may read or write a TLS connection."""
        if not isinstance(self.client, ssl.SSLSocket):
            return self.client.recv(65536)
        with self.lock:
            is_buffered = self.client.pending() > 0
        if not is_buffered and not select.select([self.client], [], [], self.client.gettimeout())[0]:
            raise TimeoutError
        with self.lock:
            return self.client.recv(65536)

    def take(self, received):
        """Handles the complete messages in `received` and returns the rest."""
        while self.is_open:
            if received[:1] == b"$":
                if len(received) < 4 or len(received) < 4 + int.from_bytes(received[2:4], "big"):
                    break
                self.camera.log.write("receiver_report")
                received = received[4 + int.from_bytes(received[2:4], "big") :]
                continue
            head, end, rest = received.partition(b"\r\n\r\n")
            if not end:
                break
            received = rest
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
            if not first.startswith("RTSP/"):
                method, uri, _ = first.split(" ")
                self.last_request = time.monotonic()
                playing = self.is_playing
                self.camera.log.write("request", method=method, uri=uri, headers=headers, playing=playing)
                self.handle(method, uri, headers)
        return received

    def send(self, data):
        with self.lock:
            self.client.sendall(data if self.arguments.mutate is None else self.mutated(data))

    def mutated(self, data):
        """Returns `data`; in 5 % of the calls with some bytes changed, removed, duplicated or inserted."""
        if self.mutations.random() > 0.05:
            return data
        start = self.mutations.randrange(len(data))
        end = min(len(data), start + self.mutations.choice([1, 1, 2, 8, 200]))
        part = data[start:end]
        noise = self.mutations.randbytes(len(part))
        return data[:start] + self.mutations.choice([noise, b"", part + part, part + noise]) + data[end:]

    def answer(self, code, request, headers=(), body=b""):
        style, code = self.arguments.style, int(code)
        lines = [f"RTSP/1.0 {code}" if style == "no-reason" else f"RTSP/1.0 {code} {TEXT.get(code, 'Other')}"]
        lines += [] if style == "no-cseq" else [f"CSeq: {request.get('cseq', 0)}"]
        lines += list(headers) + ([f"Content-Length: {len(body)}"] if body else [])
        if style == "lower":
            lines = lines[:1] + [name.lower() + ":" + value for name, value in (line.split(":", 1) for line in lines[1:])]
        newline = "\n" if style == "lf" else "\r\n"
        data = (newline.join(lines) + 2 * newline).encode("latin-1") + body
        data = b"\r\n\r\n" + data if style == "blank-lines" else data
        for at in range(0, len(data), 7) if style == "split" else [0]:
            self.send(data[at : at + 7] if style == "split" else data)

    def is_authorized(self, method, request):
        auth, header = self.arguments.auth, request.get("authorization", "")
        user, password = self.arguments.user, self.arguments.password
        if auth == "none":
            return True
        if header.startswith("Basic "):
            return auth == "basic" and base64.b64decode(header[6:]).decode() == f"{user}:{password}"
        if not header.startswith("Digest ") or auth == "basic":
            return False
        field = dict(re.findall(r'(\w+)="?([^",]*)"?', header[7:]))
        is_sha256 = field.get("algorithm", "MD5") == "SHA-256"
        if is_sha256 != (auth == "digest-sha256") and auth != "digest-both":
            return False
        digest = lambda text: (hashlib.sha256 if is_sha256 else hashlib.md5)(text.encode()).hexdigest()
        secret = digest(f"{user}:camera:{password}")
        what = digest(f"{method}:{field.get('uri')}")
        middle = [field.get(name) for name in ("nonce", "nc", "cnonce", "qop")] if "qop" in field else [field.get("nonce")]
        is_fresh = field.get("nonce") == self.nonce or self.arguments.close_after_401
        return is_fresh and field.get("response") == digest(":".join([secret, *middle, what]))

    def challenge(self, request):
        digest = f'WWW-Authenticate: Digest realm="camera", nonce="{self.nonce}"'
        headers = {
            "basic": ['WWW-Authenticate: Basic realm="camera"'],
            "digest": [digest],
            "digest-qop": [digest + ', qop="auth", algorithm=MD5'],
            "digest-sha256": [digest + ", algorithm=SHA-256"],
            "digest-both": [digest + ", algorithm=SHA-256", digest + ", algorithm=MD5"],
            "digest-stale": [digest + ", stale=TRUE"],
        }[self.arguments.auth]
        self.answer(401, request, headers)
        self.is_open = not self.arguments.close_after_401

    def handle(self, method, uri, request):
        arguments = self.arguments
        if method in arguments.status:
            return self.answer(arguments.status[method], request)
        if method in ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER") and self.is_playing:
            if arguments.keep_alive == "close":
                self.is_open = False
            elif arguments.keep_alive != "hang":
                is_ok = arguments.keep_alive in ("ok", "unlisted")
                self.answer(200 if is_ok else arguments.keep_alive, request)
            return None
        if method == "OPTIONS":
            listed = "" if arguments.keep_alive == "unlisted" else ", GET_PARAMETER"
            return self.answer(200, request, ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN" + listed])
        if not self.is_authorized(method, request):
            return self.challenge(request)
        if method in ("DESCRIBE", "SETUP", "PLAY", "TEARDOWN"):
            return getattr(self, method.lower())(uri, request)
        return self.answer(501, request)

    def describe(self, uri, request):
        if self.arguments.redirect:
            location = self.arguments.redirect.replace("%PORT%", str(self.camera.port))
            return self.answer(302, request, ["Location: " + location])
        base = uri.rstrip("/")
        stated = {
            "right": base + "/",
            "no-slash": base,
            "empty": "",
            "no-scheme": base.split("://")[1] + "/",
            "wrong": "rtsp://192.0.2.77:554/inner/",
            "none": None,
        }[self.arguments.content_base]
        headers = ["Content-Type: application/sdp"] + ([f"Content-Base: {stated}"] if stated is not None else [])
        return self.answer(200, request, headers, self.camera.description(uri))

    def setup(self, uri, request):
        transport = request.get("transport", "")
        wanted = "tcp" if "/TCP" in transport else "udp"
        if self.arguments.transport not in ("any", wanted):
            return self.answer(461, request)
        if wanted == "tcp":
            channel = self.arguments.channel
            if channel is None:
                channel = int(re.search(r"interleaved=(\d+)", transport)[1])
            self.send_packet = lambda kind, packet: self.send(struct.pack(">cBH", b"$", channel + kind, len(packet)) + packet)
            granted = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        else:
            ports = [int(port) for port in re.search(r"client_port=(\d+)-(\d+)", transport).groups()]
            sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in ports]
            for each in sockets:
                each.bind((self.arguments.address, 0))
            self.send_packet = lambda kind, packet: sockets[kind].sendto(packet, (self.address[0], ports[kind]))
            server = "-".join(str(each.getsockname()[1]) for each in sockets)
            granted = f"RTP/AVP;unicast;client_port={ports[0]}-{ports[1]};server_port={server}"
        timeout = f";timeout={self.arguments.session_timeout}" if self.arguments.session_timeout else ""
        return self.answer(200, request, ["Transport: " + granted, "Session: 12345678" + timeout])

    def play(self, uri, request):
        self.camera.log.write("play")
        stream = threading.Thread(target=self.stream, daemon=True)
        if self.arguments.early_data:
            stream.start()
            time.sleep(0.2)
        self.answer(200, request, ["Session: 12345678", "Range: npt=0.000-"])
        self.is_playing = True
        if not self.arguments.early_data:
            stream.start()

    def teardown(self, uri, request):
        self.answer(200, request)
        self.is_open = False

    def stream(self):
        try:
            self.send_frames()
        except OSError as error:
            self.camera.log.write("end", why=repr(error))

    def send_frames(self):
        arguments, random_numbers = self.arguments, random.Random(5)
        how, _, after = (arguments.end or "never:0").partition(":")
        gap_at, _, gap = (arguments.gap or "inf:0").partition(":")
        ssrc, sequence, timestamp_base = FIRST_SSRC, 1000, 123_456
        change_every = round((arguments.ssrc_change or 0) * arguments.fps)
        start = time.monotonic()
        number, held = 0, None
        while self.is_open:
            elapsed = number / arguments.fps
            if how != "never" and elapsed >= float(after):
                return self.finish(how, ssrc)
            if change_every and number and number % change_every == 0:
                if arguments.bye_at_change:
                    self.send_packet(1, struct.pack(">BBHI", 0x81, 203, 1, ssrc))
                ssrc, sequence = ssrc + 1, random_numbers.randrange(65536)
                timestamp_base += random_numbers.randrange(2**31) if arguments.new_timestamps else 0
            timestamp = self.timestamp(timestamp_base, elapsed)
            if number % round(arguments.fps) == 0:
                self.send_report(ssrc, timestamp, number, elapsed, random_numbers)
            is_silent = float(gap_at) <= elapsed < float(gap_at) + float(gap)
            unit = [] if is_silent else self.camera.units[(number + arguments.start_at) % len(self.camera.units)]
            for payload, is_last in payloads(unit):
                kind = arguments.sent_payload_type or PAYLOAD_TYPE
                header = struct.pack(">BBHII", 0x80, is_last << 7 | kind, sequence % 65536, timestamp, ssrc)
                sequence += 1
                if arguments.lose and random_numbers.random() < arguments.lose:
                    continue
                if arguments.reorder and held is None and sequence % arguments.reorder == 0:
                    held = header + payload
                    continue
                self.send_packet(0, header + payload)
                if arguments.duplicate and sequence % arguments.duplicate == 0:
                    self.send_packet(0, header + payload)
                if held is not None:
                    self.send_packet(0, held)
                    held = None
            for each in range(arguments.foreign_packets):
                foreign = number * arguments.foreign_packets + each + 1
                self.send_packet(0, struct.pack(">BBHII", 0x80, PAYLOAD_TYPE, each, timestamp, foreign) + b"\x01foreign")
            if arguments.noise and number % 10 == 0:
                self.send(b"$\x4d\0\4abcd" + b"OPTIONS rtsp://127.0.0.1/ RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            number += 1
            time.sleep(max(0, start + number / arguments.fps - time.monotonic()))

    def timestamp(self, base, elapsed):
        kind, is_late = self.arguments.timestamps, elapsed >= FAULT_AFTER
        if kind == "constant":
            return base
        if kind == "restart" and is_late:
            return int((elapsed - FAULT_AFTER) * CLOCK_RATE)
        jump = 3600 if kind == "jump" and is_late else 0
        return (base + int((elapsed + jump) * CLOCK_RATE)) % 2**32

    def send_report(self, ssrc, timestamp, number, elapsed, random_numbers):
        """Sends a sender report (RFC 3550, 6.4.1) with the clock that `--clock` selects."""
        kind, is_late = self.arguments.clock, elapsed >= FAULT_AFTER
        if kind == "none":
            return
        seconds = {
            "right": time.time(),
            "1970": 0,
            "zero": -NTP_EPOCH,
            "future": time.time() + 30 * 365 * 86400,
            "behind": time.time() - 300,
            "jump": time.time() + 3600 * is_late,
            "small-jump": time.time() + 300 * is_late,
            "wander": time.time() + random_numbers.uniform(-2, 2),
        }[kind]
        ntp = int((seconds + NTP_EPOCH) * 2**32) % 2**64
        report = struct.pack(">BBHIQIII", 0x80, 200, 6, ssrc, ntp, timestamp, number, 0)
        self.send_packet(1, report + struct.pack(">BBHIBB", 0x81, 202, 3, ssrc, 1, 3) + b"cam\0\0\0")

    def finish(self, how, ssrc):
        self.camera.log.write("end", why=how)
        if how == "bye":
            self.send_packet(1, struct.pack(">BBHI", 0x81, 203, 1, ssrc))
        elif how == "teardown":
            self.send(b"TEARDOWN rtsp://127.0.0.1/ RTSP/1.0\r\nCSeq: 1\r\nSession: 12345678\r\n\r\n")
        elif how in ("close", "reset"):
            if how == "reset":
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.is_open = False
            self.client.close()
        elif how == "garbage":
            self.send(random.Random(7).randbytes(5000))
        elif how == "half-packet":
            self.send(b"$\0\x10\0abc")
        elif how != "silence":
            sys.exit(f"unknown end {how}")


if __name__ == "__main__":
    Camera(options()).serve()
