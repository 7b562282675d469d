#!/usr/bin/env python3
"""Serves many RTSP cameras from one encoded H.264 file, with the Python standard library only.

Camera N, from 1, is rtsp://ADDRESS:PORT/camera-N. Each camera sends the file's access units in a loop, at the given
frame rate, from its own position in the file and with its own phase, so that the key frames of the cameras do not
coincide. RTP timestamps continue over the loop. RTCP sender reports, one per second, state the time at which each frame
was due, so that a delay of this server increases the measured age of frames.

RTP (RFC 3550, H.264 by RFC 6184) is sent over the RTSP connection only ("TCP interleaved", RFC 2326, section 10.12).
The packets of each access unit are created once, when the server starts. To send a frame, sequence numbers, the
timestamp and the SSRC are written into a copy of them.

Prints "ready ADDRESS:PORT" when it listens. On SIGTERM and SIGINT it prints one line of JSON and stops: the numbers of
frames and packets that were sent, of frames that were dropped because a client did not read, and the delays of frames.
"""

import argparse
import asyncio
import base64
import json
import re
import signal
import struct
import sys
import time

CLOCK_RATE = 90_000
PAYLOAD_TYPE = 96
MAX_PAYLOAD = 1400  # bytes of an RTP packet's payload
NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
MAX_BACKLOG = 4 << 20  # maximum bytes that wait for a client; further frames are dropped until the next key frame
REPORT_INTERVAL_S = 1.0

NON_IDR, IDR, SEI, SPS, PPS, AUD = 1, 5, 6, 7, 8, 9
FU_A = 28


def units(data):
    """Splits a byte stream (ITU-T H.264, annex B) into access units: lists of NAL units without start codes."""
    starts = [match.end() for match in re.finditer(b"\x00\x00\x01", data)]
    result, current, has_picture = [], [], False
    for start, end in zip(starts, [start - 3 for start in starts[1:]] + [len(data)]):
        nal = data[start:end].rstrip(b"\x00")
        if not nal:
            continue
        kind = nal[0] & 0x1F
        is_picture = kind in (NON_IDR, IDR)
        # The first bit of a slice header is 1 if the slice starts with the first macroblock: a new picture.
        begins = (is_picture and nal[1] & 0x80) or kind in (SEI, SPS, PPS, AUD)
        if begins and has_picture:
            result.append(current)
            current, has_picture = [], False
        if kind != AUD:
            current.append(nal)
        has_picture |= is_picture
    if has_picture:
        result.append(current)
    return result


def payloads(unit):
    """Yields the RTP payloads of an access unit (RFC 6184): single NAL units, and FU-A fragments of large ones."""
    for nal in unit:
        if len(nal) <= MAX_PAYLOAD:
            yield nal
            continue
        indicator, kind = nal[0] & 0xE0 | FU_A, nal[0] & 0x1F
        step = MAX_PAYLOAD - 2
        for at in range(1, len(nal), step):
            first, last = at == 1, at + step >= len(nal)
            yield bytes([indicator, first << 7 | last << 6 | kind]) + nal[at : at + step]


class Picture:
    """An access unit as interleaved RTP packets, with placeholders for the fields that differ between cameras."""

    __slots__ = ("is_key", "template", "headers")

    def __init__(self, unit):
        self.is_key = any(nal[0] & 0x1F == IDR for nal in unit)
        self.headers = []  # the offset of each packet's sequence number
        template = bytearray()
        parts = list(payloads(unit))
        for n, payload in enumerate(parts):
            marker = (n == len(parts) - 1) << 7
            self.headers.append(len(template) + 6)
            template += struct.pack("!BBHBBHII", 0x24, 0, 12 + len(payload), 0x80, marker | PAYLOAD_TYPE, 0, 0, 0)
            template += payload
        self.template = bytes(template)

    def packets(self, channel, seq, timestamp, ssrc):
        """Returns the packets as bytes to send; `channel` is the interleaved channel."""
        data = bytearray(self.template)
        pack = struct.Struct("!HII").pack_into
        for at in self.headers:
            pack(data, at, seq & 0xFFFF, timestamp, ssrc)
            seq += 1
            if channel:
                data[at - 5] = channel
        return data


class Clip:
    def __init__(self, path):
        with open(path, "rb") as file:
            found = units(file.read())
        if not found:
            sys.exit(f"error: {path} has no H.264 pictures; it must be a byte stream (annex B), as h264parse writes it")
        first = next((n for n, unit in enumerate(found) if any(nal[0] & 0x1F == IDR for nal in unit)), None)
        if first is None:
            sys.exit(f"error: {path} has no IDR picture, at which decoding could start")
        found = found[first:]
        parameters = {nal[0] & 0x1F: nal for nal in found[0]}
        if SPS not in parameters or PPS not in parameters:
            sys.exit(f"error: the first key frame of {path} has no SPS and PPS before it")
        self.pictures = [Picture(unit) for unit in found]
        sprop = ",".join(base64.b64encode(parameters[kind]).decode() for kind in (SPS, PPS))
        self.fmtp = f"packetization-mode=1;profile-level-id={parameters[SPS][1:4].hex()};sprop-parameter-sets={sprop}"


class Totals:
    def __init__(self):
        self.frames = self.packets = self.bytes = self.dropped = self.connections = 0
        self.late_ms = [0] * 2001  # histogram; the last entry counts all longer delays

    def report(self):
        late, below = {}, 0
        for ms, count in enumerate(self.late_ms):
            below += count
            for q in (50, 99, 100):
                if count and f"p{q}" not in late and below * 100 >= q * self.frames:
                    late[f"p{q}"] = ms
        return {
            "frames": self.frames, "packets": self.packets, "bytes": self.bytes, "dropped": self.dropped,
            "connections": self.connections, "late_ms": late, "cpu_s": round(time.process_time(), 2),
        }  # fmt: skip


class Camera:
    """The clock of one camera and its position in the clip, which advance whether or not a client is connected."""

    def __init__(self, number, server):
        self.number = number
        count = server.options.cameras
        # Phases are spread over one frame interval by the golden ratio, which is even for any number of cameras.
        spread = (number * 0.618_033_988_749_895) % 1
        self.start = server.start + spread / server.options.fps
        self.offset = int(len(server.clip.pictures) * ((number - 1) / count))
        self.timestamp = (number * 2_654_435_761) & 0xFFFF_FFFF
        self.ssrc = (0x10_0000 + number * 40_503) & 0xFFFF_FFFF


class Connection(asyncio.Protocol):
    def __init__(self, server):
        self.server = server
        self.inbox = bytearray()
        self.camera = None
        self.channel = 0
        self.playing = None

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=MAX_BACKLOG)
        self.server.totals.connections += 1
        self.server.connections.add(self)

    def connection_lost(self, _error):
        self.stop()
        self.server.connections.discard(self)

    def stop(self):
        if self.playing:
            self.playing.cancel()
            self.playing = None

    def data_received(self, data):
        self.inbox += data
        while self.inbox:
            if self.inbox[0] == 0x24:  # an RTCP packet of the client, ignored
                if len(self.inbox) < 4:
                    return
                length = 4 + int.from_bytes(self.inbox[2:4], "big")
                if len(self.inbox) < length:
                    return
                del self.inbox[:length]
                continue
            end = self.inbox.find(b"\r\n\r\n")
            if end < 0:
                if len(self.inbox) > 65_536:
                    self.transport.close()
                return
            head = self.inbox[:end].decode("latin-1").lstrip().split("\r\n")
            headers = dict(line.lower().split(":", 1) for line in head[1:] if ":" in line)
            headers = {key.strip(): value.strip() for key, value in headers.items()}
            length = int(headers.get("content-length", 0))
            if len(self.inbox) < end + 4 + length:
                return
            del self.inbox[: end + 4 + length]
            self.handle(head[0].split(), headers)

    def answer(self, headers, status="200 OK", body="", **more):
        lines = [f"RTSP/1.0 {status}", f"CSeq: {headers.get('cseq', 0)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def handle(self, request, headers):
        if len(request) != 3:
            return self.transport.close()
        method, uri = request[0], request[1]
        if method == "OPTIONS":
            return self.answer(headers, Public="OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN")
        session = {"Session": f"{id(self):x};timeout=60"}
        if method in ("GET_PARAMETER", "SET_PARAMETER"):
            return self.answer(headers, **session)
        if method == "TEARDOWN":
            self.stop()
            self.answer(headers, **session)
            return self.transport.close()
        number = re.search(r"/camera-(\d+)(?:/|$)", uri)
        camera = self.server.cameras.get(int(number[1])) if number else None
        if not camera:
            return self.answer(headers, "404 Not Found")
        if method == "DESCRIBE":
            return self.describe(headers, uri)
        if method == "SETUP":
            wanted = headers.get("transport", "")
            if "tcp" not in wanted:
                return self.answer(headers, "461 Unsupported Transport")
            channel = re.search(r"interleaved=(\d+)", wanted)
            self.channel = int(channel[1]) if channel else 0
            self.camera = camera
            transport = f"RTP/AVP/TCP;unicast;interleaved={self.channel}-{self.channel + 1};ssrc={camera.ssrc:08X}"
            return self.answer(headers, Transport=transport, **session)
        if method == "PLAY" and self.camera:
            self.answer(headers, Range="npt=now-", **session)
            if not self.playing:
                self.playing = asyncio.ensure_future(self.play())
                self.playing.add_done_callback(self.played)
            return None
        return self.answer(headers, "455 Method Not Valid in This State")

    def played(self, task):
        if not task.cancelled() and task.exception():
            print(f"camera-{self.camera.number}: {task.exception()!r}", file=sys.stderr)
            self.transport.abort()

    def describe(self, headers, uri):
        body = "\r\n".join([
            "v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=camera", "c=IN IP4 0.0.0.0", "t=0 0", "a=control:*",
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}", f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_RATE}",
            f"a=fmtp:{PAYLOAD_TYPE} {self.server.clip.fmtp}", f"a=framerate:{self.server.options.fps:g}",
            "a=control:track1", "",
        ])  # fmt: skip
        base = uri.rstrip("/") + "/"
        self.answer(headers, body=body, Content_Base=base, Content_Type="application/sdp")

    async def play(self):
        """Sends the camera's frames as they become due, from the next key frame."""
        server, camera, clock = self.server, self.camera, asyncio.get_running_loop().time
        pictures, fps, totals = server.clip.pictures, server.options.fps, server.totals
        frame = int((clock() - camera.start) * fps) + 1
        seq, packets, octets = camera.number * 7 & 0xFFFF, 0, 0
        waits_for_key, next_report = True, 0.0
        while True:
            due = camera.start + frame / fps
            now = clock()
            if due > now:
                await asyncio.sleep(due - now)
                now = clock()
            picture = pictures[(frame + camera.offset) % len(pictures)]
            timestamp = (camera.timestamp + round(frame * CLOCK_RATE / fps)) & 0xFFFF_FFFF
            backlog = self.transport.get_write_buffer_size()
            if waits_for_key and not picture.is_key:
                totals.dropped += packets > 0
            elif backlog > MAX_BACKLOG:
                waits_for_key = True
                totals.dropped += 1
            else:
                waits_for_key = False
                data = picture.packets(self.channel, seq, timestamp, camera.ssrc)
                count = len(picture.headers)
                if due >= next_report:
                    next_report = due + REPORT_INTERVAL_S
                    data = self.sender_report(due, timestamp, packets, octets) + data
                self.transport.write(data)
                seq, packets = seq + count, packets + count
                octets += len(picture.template) - 16 * count
                totals.frames += 1
                totals.packets += count
                totals.bytes += len(picture.template)
                totals.late_ms[min(int((now - due) * 1000), 2000)] += 1
            frame += 1
            if self.transport.is_closing():
                return

    def sender_report(self, at, timestamp, packets, octets):
        """Returns a sender report with a CNAME (RFC 3550, section 6.4.1): the frame of `timestamp` was due at `at`."""
        ntp = self.server.wall + at + NTP_EPOCH
        seconds = int(ntp)
        ssrc = self.camera.ssrc
        report = struct.pack(
            "!BBHIIIIII", 0x80, 200, 6, ssrc, seconds & 0xFFFF_FFFF, int((ntp - seconds) * (1 << 32)), timestamp,
            packets & 0xFFFF_FFFF, octets & 0xFFFF_FFFF,
        )  # fmt: skip
        name = f"camera-{self.camera.number}".encode()
        item = struct.pack("!IBB", ssrc, 1, len(name)) + name + b"\x00"
        item += bytes(-len(item) % 4)
        report += struct.pack("!BBH", 0x81, 202, len(item) // 4) + item
        return struct.pack("!BBH", 0x24, self.channel + 1, len(report)) + report


class Server:
    def __init__(self, options):
        self.options = options
        self.clip = Clip(options.clip)
        self.totals = Totals()
        self.connections = set()

    async def run(self):
        loop = asyncio.get_running_loop()
        self.start = loop.time()
        self.wall = time.time() - self.start  # offset from the loop's clock to the wall clock
        self.cameras = {number: Camera(number, self) for number in range(1, self.options.cameras + 1)}
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            server = await loop.create_server(
                lambda: Connection(self), self.options.address, self.options.port, backlog=512
            )
        except OSError as error:
            sys.exit(f"error: cannot listen at {self.options.address}:{self.options.port}: {error.strerror}")
        address, port = server.sockets[0].getsockname()[:2]
        print(f"ready {address}:{port}", flush=True)
        await stop.wait()
        server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        print(json.dumps(self.totals.report()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", help="H.264 byte stream (annex B) without B frames, SPS and PPS before each key frame")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--fps", type=float, default=30)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 selects a free port")
    asyncio.run(Server(parser.parse_args()).run())


if __name__ == "__main__":
    main()
