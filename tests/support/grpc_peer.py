#!/usr/bin/python3
"""gRPC servers and a gRPC client in one process, told what to do by lines of JSON on stdin; each is answered by one.

  {"do":"serve","port":9001,"name":"a"}      a server; services echo.Echo and grpc.health.v1.Health
  {"do":"stop","port":9001,"grace":0}        grace in seconds; GOAWAY first
  {"do":"health","name":"a","status":2}      1 SERVING, 2 NOT_SERVING, 0 unknown service
  {"do":"seen","name":"a"}                   what its calls came to: {"started","finished","cancelled","deadlines"}
  {"do":"call","target":"127.0.0.1:8080","method":"Unary","body":"text","timeout":5,"metadata":{},"count":1}
  {"do":"open","id":"x", ... as call, method Bidi}   then {"do":"send","id","body"}, {"do":"close"}, {"do":"receive"},
                                                     {"do":"cancel"}, {"do":"end"}
  {"do":"load","target","seconds","threads"}  unary calls as fast as they go: {"codes":{"OK":n}, "longest":s}

Messages are bytes. A call's metadata tell the server: fail (code, before anything), fail_first (so many calls of that
key fail), sleep (seconds), size (bytes of the answer), times (messages of ServerStream), delay between them."""
import json
import sys
import threading
import time
from concurrent import futures

import grpc

SERVING = 1
servers, peers, calls = {}, {}, {}
lock = threading.Lock()


class Peer:
    def __init__(self, name):
        self.name, self.status, self.failures = name, SERVING, {}
        self.seen = {"started": 0, "finished": 0, "cancelled": 0, "deadlines": [], "received": 0}

    def begin(self, context):
        told = dict(context.invocation_metadata())
        with lock:
            self.seen["started"] += 1
            left = context.time_remaining()
            self.seen["deadlines"].append(None if left is None or left > 1e6 else left)
        done = []

        def over():
            with lock:
                self.seen["finished" if done else "cancelled"] += 1
        context.add_callback(over)
        context.set_trailing_metadata((("x-server", self.name), ("x-bytes-bin", b"\x00\xff")))
        return told, done

    def fails(self, told, context, done):
        key = told.get("fail_first")
        if key:
            with lock:
                wanted = self.failures.setdefault(key, 0)
                self.failures[key] += 1
            if wanted >= int(told.get("fail_times", 1)):
                return
        if "fail" in told:
            done.append(True)
            code = [c for c in grpc.StatusCode if c.value[0] == int(told["fail"])][0]
            context.abort(code, "told to: 100% \u00fcber")

    def end(self, context, done):
        if context.is_active():
            done.append(True)

    def pause(self, told, context, key="sleep"):
        until = time.monotonic() + float(told.get(key, 0))
        while time.monotonic() < until and context.is_active():
            time.sleep(0.005)

    def unary(self, request, context):
        told, done = self.begin(context)
        self.fails(told, context, done)
        self.pause(told, context)
        self.end(context, done)
        if "size" in told:
            return b"x" * int(told["size"])
        return self.name.encode() + b":" + request

    def server_stream(self, request, context):
        told, done = self.begin(context)
        self.fails(told, context, done)
        for i in range(int(told.get("times", 3))):
            self.pause(told, context, "delay")
            if not context.is_active():
                return
            yield (b"x" * int(told["size"])) if "size" in told else b"%d:" % i + request
            if "fail_after" in told and i + 1 == int(told["fail_after"]):
                done.append(True)
                context.abort(grpc.StatusCode.UNAVAILABLE, "in the middle")
        self.end(context, done)

    def client_stream(self, requests, context):
        told, done = self.begin(context)
        self.fails(told, context, done)
        count = size = 0
        for request in requests:
            count, size = count + 1, size + len(request)
            with lock:
                self.seen["received"] += 1
        self.end(context, done)
        return b"%d messages, %d bytes" % (count, size)

    def bidi(self, requests, context):
        told, done = self.begin(context)
        self.fails(told, context, done)
        for request in requests:
            with lock:
                self.seen["received"] += 1
            yield self.name.encode() + b":" + request
        self.end(context, done)

    def check(self, request, context):
        if self.status == 0:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return bytes([8, self.status])

    def handlers(self):
        h = grpc
        return (
            h.method_handlers_generic_handler("echo.Echo", {
                "Unary": h.unary_unary_rpc_method_handler(self.unary),
                "ServerStream": h.unary_stream_rpc_method_handler(self.server_stream),
                "ClientStream": h.stream_unary_rpc_method_handler(self.client_stream),
                "Bidi": h.stream_stream_rpc_method_handler(self.bidi),
            }),
            h.method_handlers_generic_handler("grpc.health.v1.Health", {
                "Check": h.unary_unary_rpc_method_handler(self.check),
            }))


SIZES = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def credentials_of(o):
    with open(o["key"], "rb") as key, open(o["certificate"], "rb") as chain:
        return grpc.ssl_server_credentials([(key.read(), chain.read())])


def serve(o):
    peer = peers.setdefault(o["name"], Peer(o["name"]))
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), handlers=peer.handlers(),
                         options=SIZES + [("grpc.so_reuseport", 0)])
    address = "127.0.0.1:%d" % o["port"]
    port = server.add_secure_port(address, credentials_of(o)) if "key" in o else server.add_insecure_port(address)
    if not port:
        raise RuntimeError("cannot listen on " + address)
    server.start()
    servers[o["port"]] = server
    return {}


def stop(o):
    servers.pop(o["port"]).stop(o.get("grace")).wait()
    return {}


def metadata_of(o):
    return [(key, str(value)) for key, value in o.get("metadata", {}).items()]


def channel_of(o):
    # No retries of the client's own: what is tested is ours.
    options = SIZES + [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    if "ca" in o:
        with open(o["ca"], "rb") as ca:
            return grpc.secure_channel(o["target"], grpc.ssl_channel_credentials(ca.read()), options)
    return grpc.insecure_channel(o["target"], options)


def told_of(call, messages):
    trailing = {key: value.hex() if isinstance(value, bytes) else value
                for key, value in call.trailing_metadata() or ()}
    return {"code": call.code().name, "details": call.details(), "trailing": trailing, "messages": messages,
            "initial": {key: str(value) for key, value in call.initial_metadata() or ()}}


def text(message):
    return message.decode() if len(message) < 1000 else len(message)


def call_once(channel, o):
    path, body = "/echo.Echo/" + o["method"], o.get("body", "").encode()
    body = b"x" * o["bytes"] if "bytes" in o else body
    arguments = {"timeout": o.get("timeout"), "metadata": metadata_of(o)}
    messages = []
    try:
        if o["method"] == "Unary":
            message, call = channel.unary_unary(path).with_call(body, **arguments)
            messages.append(text(message))
        elif o["method"] == "ServerStream":
            call = channel.unary_stream(path)(body, **arguments)
            for message in call:
                messages.append(text(message))
                time.sleep(o.get("slow", 0))
        elif o["method"] == "ClientStream":
            bodies = iter([body] * o.get("messages", 3))
            message, call = channel.stream_unary(path).with_call(bodies, **arguments)
            messages.append(text(message))
        else:
            call = channel.stream_stream(path)(iter([body] * o.get("messages", 3)), **arguments)
            for message in call:
                messages.append(text(message))
    except grpc.RpcError as error:
        call = error
    return told_of(call, messages)


def call(o):
    with channel_of(o) as channel:
        began = time.monotonic()
        results = [call_once(channel, o) for _ in range(o.get("count", 1))]
        return {"results": results, "seconds": time.monotonic() - began} | results[0]


class Open:
    """A call of Bidi, message by message."""

    def __init__(self, o):
        self.queue, self.more, self.ended = [], threading.Condition(), False
        self.channel = channel_of(o)
        self.call = self.channel.stream_stream("/echo.Echo/Bidi")(self.bodies(), timeout=o.get("timeout"),
                                                                  metadata=metadata_of(o))

    def bodies(self):
        while True:
            with self.more:
                while not self.queue and not self.ended:
                    self.more.wait()
                if not self.queue:
                    return
                body = self.queue.pop(0)
            yield body

    def put(self, body=None):
        with self.more:
            if body is None:
                self.ended = True
            else:
                self.queue.append(body.encode())
            self.more.notify_all()


def converse(o):
    verb = o["do"]
    if verb == "open":
        calls[o["id"]] = Open(o)
        return {}
    one = calls[o["id"]]
    if verb == "send":
        one.put(o["body"])
    elif verb == "close":
        one.put()
    elif verb == "cancel":
        one.call.cancel()
    elif verb == "receive":
        try:
            return {"message": text(next(one.call))}
        except StopIteration:
            return {"message": None}
        except grpc.RpcError:
            return {"message": None, "code": one.call.code().name}
    elif verb == "end":
        one.put()
        rest = []
        try:
            rest = [text(message) for message in one.call]
        except grpc.RpcError:
            pass
        told = told_of(one.call, rest)
        one.channel.close()
        return told
    return {}


def load(o):
    codes, longest, until = {}, [0.0], time.monotonic() + o["seconds"]

    def run():
        with channel_of(o) as channel:
            unary = channel.unary_unary("/echo.Echo/Unary")
            while time.monotonic() < until:
                began = time.monotonic()
                try:
                    unary(b"hello", timeout=o.get("timeout", 20), metadata=metadata_of(o))
                    code = "OK"
                except grpc.RpcError as error:
                    code = error.code().name
                with lock:
                    codes[code] = codes.get(code, 0) + 1
                    longest[0] = max(longest[0], time.monotonic() - began)
    threads = [threading.Thread(target=run) for _ in range(o.get("threads", 4))]
    for thread in threads:
        thread.start()
    if o.get("restart"):
        time.sleep(o["seconds"] / 3)
        stop({"port": o["restart"]["port"], "grace": o["restart"].get("grace")})
        serve(o["restart"])
    for thread in threads:
        thread.join()
    return {"codes": codes, "longest": longest[0]}


def seen(o):
    with lock:
        return dict(peers[o["name"]].seen)


def health(o):
    peers[o["name"]].status = o["status"]
    return {}


DO = {"serve": serve, "stop": stop, "call": call, "load": load, "seen": seen, "health": health, "open": converse,
      "send": converse, "close": converse, "cancel": converse, "receive": converse, "end": converse}

for line in sys.stdin:
    order = json.loads(line)
    try:
        answer = DO[order["do"]](order)
    except Exception as error:  # told to the spec, which fails with it
        answer = {"error": "%s: %s" % (type(error).__name__, error)}
    print(json.dumps(answer), flush=True)
for server in servers.values():
    server.stop(None)
