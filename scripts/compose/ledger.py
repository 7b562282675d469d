"""Compares the sequence numbers in a recording of `lookout tail --save` with the causes that the records contain."""

import base64
import json
from collections import Counter


def frames(path):
    """Returns the frame records of a recording in the order of their partition and offset."""
    messages = []
    with open(path) as file:
        for line in file:
            message = json.loads(line)
            if message.get("topic") == "frames":
                record = decoded(message["value"])
                if record:
                    messages.append((message["partition"], message["offset"], record))
    messages.sort(key=lambda message: message[:2])
    return [record for _, _, record in messages]


def decoded(value):
    """Returns the record in a message's value, which is text or base64."""
    if isinstance(value, dict):
        if "base64" in value:
            value = base64.b64decode(value["base64"]).decode()
        else:
            value = next(iter(value.values()))
    return json.loads(value) if isinstance(value, str) else value


class Ledger:
    """The frames of each session of each camera: lost ones, duplicates, and records out of order.

    Between two records of a session there may be as many missing frames as the later record's `dropped_before` contains.
    """

    def __init__(self, records):
        self.lost = []
        self.duplicates = 0
        self.out_of_order = 0
        self.records = len(records)
        self.dropped = Counter()
        last = {}
        self.sessions = {}
        for record in records:
            session = (record["camera"], record["session"])
            numbers = self.sessions.setdefault(session, {})
            if record["seq"] in numbers:
                self.duplicates += 1
            elif record["seq"] < last.get(session, -1):
                self.out_of_order += 1
            numbers[record["seq"]] = record
            last[session] = max(record["seq"], last.get(session, -1))
        for (camera, _), numbers in self.sessions.items():
            self.count_lost(camera, [numbers[seq] for seq in sorted(numbers)])

    def count_lost(self, camera, records):
        for before, after in zip(records, records[1:]):
            dropped = after.get("dropped_before") or {}
            self.dropped.update(dropped)
            missing = after["seq"] - before["seq"] - 1 - sum(dropped.values())
            if missing:
                self.lost.append(f"{camera}: {missing} between {before['seq']} and {after['seq']}")


def longest_gaps(records, times):
    """Returns {camera: (longest time without a record, its start)}. `times` maps a record to its time in seconds."""
    last, longest = {}, {}
    for record in sorted(records, key=times):
        camera, now = record["camera"], times(record)
        if camera in last:
            longest[camera] = max(longest.get(camera, (0, 0)), (now - last[camera], last[camera]))
        last[camera] = now
    return longest
