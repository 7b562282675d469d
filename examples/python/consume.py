"""Prints the detections of all cameras, one line per frame, from records in JSON or Protobuf.

    consume.py BROKERS [--prefix lookout] [--group GROUP] [--count N]

For records in Protobuf, generate the module lookout_pb2 in the folder of this file once:

    python -m grpc_tools.protoc -I schemas --python_out examples/python lookout.proto
"""

import argparse
import datetime
import json
import sys

import confluent_kafka

try:
    import lookout_pb2
except ImportError:
    lookout_pb2 = None

SCHEMA = "lookout.frame/1"


class Unreadable(Exception):
    pass


def decode(value):
    """Returns a frame record as a dict like that of JSON, with at least the fields that are printed."""
    if value is None:
        raise Unreadable("it has no value")
    # No Protobuf record starts with this byte.
    if value.startswith(b"{"):
        try:
            record = json.loads(value)
        except ValueError as error:
            raise Unreadable(error) from error
    else:
        record = from_protobuf(value)
    # In another major version, fields may have other meanings.
    if record.get("schema") != SCHEMA:
        raise Unreadable(f"its schema is {record.get('schema')}, supported is {SCHEMA}")
    return record


def from_protobuf(value):
    if lookout_pb2 is None:
        raise Unreadable("it is Protobuf, and the module lookout_pb2 is missing; see the top of this file")
    frame = lookout_pb2.FrameRecord()
    try:
        frame.ParseFromString(value)
    except Exception as error:  # The type depends on the implementation of protobuf.
        raise Unreadable(error) from error
    captured = datetime.datetime.fromtimestamp(0, datetime.timezone.utc) + datetime.timedelta(
        microseconds=frame.captured_at_us
    )
    return {
        "schema": frame.schema,
        "camera": frame.camera,
        "epoch": frame.epoch,
        "captured_at": captured.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "age_ms": frame.age_ms,
        "detections": [
            {
                "label": seen.label,
                "score": seen.score,
                "box": [seen.box.x1, seen.box.y1, seen.box.x2, seen.box.y2],
            }
            for seen in frame.detections
        ],
    }


def line(record):
    seen = [
        f"{seen['label']} {seen['score']:.2f} [{' '.join(f'{side:.0f}' for side in seen['box'])}]"
        for seen in record["detections"]
    ]
    return f"{record['captured_at']} {record['camera']} {record['age_ms']} ms: {', '.join(seen)}".rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("brokers")
    parser.add_argument("--prefix", default="lookout")
    parser.add_argument("--group", default="lookout-example-python")
    parser.add_argument("--count", type=int, help="stop after this number of frames")
    args = parser.parse_args()
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": args.brokers,
            "group.id": args.group,
            # Used for partitions without a committed offset.
            "auto.offset.reset": "earliest",
            # The partitions of a failed member are reassigned after this time; the default is 45 s.
            "session.timeout.ms": 6000,
            # Offsets are stored after processing: a crash may repeat frames, but loses none.
            "enable.auto.offset.store": False,
        }
    )
    consumer.subscribe([f"{args.prefix}.frames.v1"])
    epochs = {}
    printed = 0
    try:
        while args.count is None or printed < args.count:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                print(message.error(), file=sys.stderr)
                if message.error().fatal():
                    return 1
                continue
            try:
                record = decode(message.value())
                # A record with a lower epoch is from a worker that no longer owned the camera.
                if record["epoch"] >= epochs.setdefault(record["camera"], record["epoch"]):
                    epochs[record["camera"]] = record["epoch"]
                    print(line(record), flush=True)
                    printed += 1
            except (Unreadable, KeyError, TypeError) as error:
                place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
                print(f"{place} could not be read: {error}", file=sys.stderr)
            consumer.store_offsets(message)
    except KeyboardInterrupt:
        pass
    finally:
        # Commits the offsets and leaves the group, so that its partitions are reassigned immediately.
        consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
