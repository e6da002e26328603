"""Requests over TLS while certificates change: tls_load.py PORT NAME CA FILE. Some connections are kept alive, others
are new for each request; every certificate is checked against CA and NAME. FILE gets the figures as JSON, again and
again; it ends when FILE.stop is there. A connection that is closed before its answer, an answer that is not 200 and
a handshake that fails is an error."""
import json
import os
import socket
import ssl
import sys
import threading
import time

PORT, NAME, CA, FILE = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
KEPT, NEW = 6, 3

lock = threading.Lock()
told = {"requests": 0, "handshakes": 0, "errors": 0, "errors_text": [], "serials": []}
ending = threading.Event()
context = ssl.create_default_context(cafile=CA)
request = ("GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % NAME).encode()


def connect():
    plain = socket.create_connection(("127.0.0.1", PORT), timeout=20)
    secure = context.wrap_socket(plain, server_hostname=NAME)
    serial = secure.getpeercert()["serialNumber"]
    with lock:
        told["handshakes"] += 1
        if serial not in told["serials"]:
            told["serials"].append(serial)
    return secure


def ask(conn):
    conn.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        got = conn.recv(65536)
        if not got:
            raise OSError("closed before its answer: %r" % answer[:60])
        answer += got
    head, body = answer.split(b"\r\n\r\n", 1)
    if not head.startswith(b"HTTP/1.1 200"):
        raise OSError("answered %r" % head[:60])
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    while len(body) < length:
        got = conn.recv(65536)
        if not got:
            raise OSError("cut off in its answer")
        body += got
    with lock:
        told["requests"] += 1


def run(kept):
    conn = None
    while not ending.is_set():
        try:
            conn = conn or connect()
            ask(conn)
            if not kept:
                conn.close()
                conn = None
            time.sleep(0.001)
        except Exception as error:  # whatever it is, it is told
            with lock:
                told["errors"] += 1
                if len(told["errors_text"]) < 10:
                    told["errors_text"].append(repr(error))
            conn = None
            time.sleep(0.01)
    if conn:
        conn.close()


def tell():
    with lock:
        text = json.dumps(told)
    with open(FILE + ".new", "w") as out:
        out.write(text)
    os.rename(FILE + ".new", FILE)


threads = [threading.Thread(target=run, args=(i < KEPT,)) for i in range(KEPT + NEW)]
for thread in threads:
    thread.start()
while not os.path.exists(FILE + ".stop"):
    tell()
    time.sleep(0.05)
ending.set()
for thread in threads:
    thread.join()
tell()
