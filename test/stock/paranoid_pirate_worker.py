#!/usr/bin/python3
"""The guide's Paranoid Pirate worker (RFC 6), without its simulated crashes.

Heartbeats both ways; a broker that is silent for `liveness` intervals: waits, longer each time, then closes the socket
and signs in again under a new identity. Single-threaded: silent while it works. Says what it does in lines of JSON.
"""

import argparse
import json
import random
import sys
import threading
import time

import zmq

arguments = argparse.ArgumentParser()
arguments.add_argument("--connect", required=True)
arguments.add_argument("--workers", type=int, default=1)
arguments.add_argument("--interval", type=float, default=1.0, help="seconds between heartbeats")
arguments.add_argument("--liveness", type=int, default=3)
arguments.add_argument("--backoff", type=float, default=1.0, help="seconds; doubles at each reconnect")
arguments.add_argument("--backoff-max", type=float, default=32.0)
arguments.add_argument("--work", type=float, default=0, help="seconds a task takes")
arguments.add_argument("--prefix", default="", help="put in front of the echo")
arguments.add_argument("--talk", action="store_true", help="a line for each task taken and for each done")
options = arguments.parse_args()

PPP_READY = b"\x01"
PPP_HEARTBEAT = b"\x02"
lock = threading.Lock()


def say(**what):
    with lock:
        print(json.dumps(what), flush=True)


def sign_in(context, poller):
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    identity = f"{random.randint(0, 0xFFFF):04X}-{random.randint(0, 0xFFFF):04X}"
    socket.identity = identity.encode()
    poller.register(socket, zmq.POLLIN)
    socket.connect(options.connect)
    socket.send(PPP_READY)
    say(ready=identity)
    return socket, identity


def worker(context):
    poller = zmq.Poller()
    liveness = options.liveness
    backoff = options.backoff
    heartbeat_at = time.monotonic() + options.interval
    socket, identity = sign_in(context, poller)
    while True:
        if dict(poller.poll(options.interval * 1000)).get(socket) == zmq.POLLIN:
            frames = socket.recv_multipart()
            if len(frames) == 3:
                if options.talk:
                    say(taken=frames[2].decode(), by=identity)
                if options.work > 0:
                    time.sleep(options.work)
                frames[2] = options.prefix.encode() + frames[2]
                socket.send_multipart(frames)
                if options.talk:
                    say(done=frames[2].decode(), by=identity)
                liveness = options.liveness
            elif frames == [PPP_HEARTBEAT]:
                liveness = options.liveness
            else:
                say(invalid=[frame.hex() for frame in frames])
            backoff = options.backoff
        else:
            liveness -= 1
            if liveness == 0:
                time.sleep(backoff)
                backoff = min(backoff * 2, options.backoff_max)
                poller.unregister(socket)
                socket.close()
                socket, identity = sign_in(context, poller)
                liveness = options.liveness
        if time.monotonic() > heartbeat_at:
            heartbeat_at = time.monotonic() + options.interval
            socket.send(PPP_HEARTBEAT)


def main():
    context = zmq.Context()
    context.max_sockets = 4096
    for _ in range(options.workers):
        threading.Thread(target=worker, args=(context,), daemon=True).start()
    for _ in sys.stdin:
        pass


main()
