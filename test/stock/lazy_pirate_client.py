#!/usr/bin/python3
"""The guide's Lazy Pirate client: poll with a timeout, on silence close and reopen the socket, send again.

Runs N independent clients, a thread each. A reply must be the echo of the request, which names client and sequence
number, so that an answer that went to the wrong client or came too late is seen. Writes one line of JSON when done.
"""

import argparse
import json
import sys
import threading

import zmq

arguments = argparse.ArgumentParser()
arguments.add_argument("--connect", required=True)
arguments.add_argument("--name", default="lazy")
arguments.add_argument("--clients", type=int, default=1)
arguments.add_argument("--requests", type=int, default=100, help="by each client")
arguments.add_argument("--timeout", type=int, default=2500)
arguments.add_argument("--retries", type=int, default=3)
arguments.add_argument("--correlate", action="store_true", help="one socket for good, with REQ_CORRELATE and REQ_RELAXED")
options = arguments.parse_args()

lock = threading.Lock()
totals = {"right": 0, "wrong": 0, "resent": 0, "abandoned": 0}


def count(what):
    with lock:
        totals[what] += 1
        done = totals["right"] + totals["abandoned"]
    if what != "resent" and done % 500 == 0:
        print(json.dumps({"progress": done}), flush=True)


def open_socket(context):
    socket = context.socket(zmq.REQ)
    socket.linger = 0
    if options.correlate:
        socket.setsockopt(zmq.REQ_CORRELATE, 1)
        socket.setsockopt(zmq.REQ_RELAXED, 1)
    socket.connect(options.connect)
    return socket


def client(context, number):
    socket = open_socket(context)
    for sequence in range(options.requests):
        request = f"{options.name}-{number}:{sequence}".encode()
        retries_left = options.retries
        socket.send(request)
        while True:
            if socket.poll(options.timeout) & zmq.POLLIN:
                if socket.recv() == request:
                    count("right")
                    break
                count("wrong")
                if options.correlate:
                    continue
            retries_left -= 1
            if not options.correlate:
                # Confused socket: close it, and the requests and replies that are still about with it.
                socket.close()
                socket = open_socket(context)
            if retries_left == 0:
                count("abandoned")
                break
            count("resent")
            socket.send(request)
    socket.close()


def main():
    context = zmq.Context()
    context.max_sockets = 4096
    threads = [threading.Thread(target=client, args=(context, number), daemon=True) for number in range(options.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"done": totals}), flush=True)
    sys.exit(0 if totals["wrong"] == 0 and totals["abandoned"] == 0 else 1)


main()
