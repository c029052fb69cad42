#!/usr/bin/python3
"""The guide's plain REQ worker (load-balancing pattern): says READY, then echoes what it is given, one task at a time.

Runs N independent workers, a thread each.
"""

import argparse
import json
import sys
import threading
import time

import zmq

arguments = argparse.ArgumentParser()
arguments.add_argument("--connect", required=True)
arguments.add_argument("--workers", type=int, default=1)
arguments.add_argument("--ready", choices=["READY", "octet"], default="READY")
arguments.add_argument("--work", type=float, default=0, help="seconds a task takes")
arguments.add_argument("--prefix", default="", help="put in front of the echo")
options = arguments.parse_args()

READY = b"READY" if options.ready == "READY" else b"\x01"


def worker(context, number):
    socket = context.socket(zmq.REQ)
    socket.linger = 0
    socket.identity = f"req-{number}-{time.monotonic_ns()}".encode()
    socket.connect(options.connect)
    socket.send(READY)
    while True:
        address, empty, request = socket.recv_multipart()
        assert empty == b""
        if options.work > 0:
            time.sleep(options.work)
        socket.send_multipart([address, b"", options.prefix.encode() + request])


def main():
    context = zmq.Context()
    context.max_sockets = 4096
    for number in range(options.workers):
        threading.Thread(target=worker, args=(context, number), daemon=True).start()
    print(json.dumps({"started": options.workers}), flush=True)
    for _ in sys.stdin:
        pass


main()
