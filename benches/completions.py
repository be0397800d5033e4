#!/usr/bin/env python3
"""Completions by the thousand: how fast they are accepted, what each takes, how soon they live again.

    benches/completions.py target/release/campon [COUNT] [subscribe | code]

Plays all phones on loopback: so many callers fail to reach a callee each, and ask, 64 at a time, with a
store on disk: by SUBSCRIBE (RFC 6910), or by dialling a code, which leaves no dialog. Then campon is
killed and started anew. Prints one line for each figure. Memory is what the resident memory has grown by
between the first request and the last, a minute after it; the phones were registered before.
"""
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE, PHONES, ADMIN = "127.77.9.1", "127.77.9.2", "127.77.9.1:5080"
EACH = 5
# So many live again within so many seconds, on any machine.
SOON = (10_000, 5)
AT_ONCE = 64
BATCH = 1000


class Phones:
    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((PHONES, 5061))
        self.socket.settimeout(10)
        self.serial = 0

    def send(self, text):
        self.socket.sendto(text.encode(), (HERE, 5060))

    def ask(self, method, uri, user, to, call, extra="", cseq=1, branch=None, to_tag=""):
        self.serial += 1
        branch = branch or f"z9hG4bK{self.serial}"
        self.send(
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONES}:5061;branch={branch}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{user}@{HERE}>;tag={call}\r\nTo: <sip:{to}@{HERE}>{to_tag}\r\n"
            f"Call-ID: {call}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{user}@{PHONES}:5061>\r\n"
            f"{extra}Content-Length: 0\r\n\r\n"
        )
        return branch

    def answer(self, request, status, tag=""):
        lines = re.findall(r"(?m)^((?:Via|From|Call-ID|CSeq): .*?)\r$", request)
        to = header(request, "To")
        to += f";tag={tag}" if tag and ";tag=" not in to else ""
        self.send(f"SIP/2.0 {status}\r\n" + "".join(f"{line}\r\n" for line in lines)
                  + f"To: {to}\r\nContent-Length: 0\r\n\r\n")

    def next(self):
        """The next response to a request of ours; what campon asks is answered on the way."""
        while True:
            text = self.socket.recv(8000).decode()
            if text.startswith("INVITE "):
                self.answer(text, "486 Busy Here", "b")
            elif text.startswith("NOTIFY "):
                self.answer(text, "200 OK")
            elif text.startswith(("BYE ", "OPTIONS ")):
                self.answer(text, "200 OK", "o")
            elif text.startswith("SIP/2.0 ") and not text.startswith("SIP/2.0 1"):
                return text


def header(text, name):
    return re.search(rf"(?m)^{name}: (.*?)\r$", text).group(1)


def flows(phones, items, send, taken):
    """Sends one request for each item, so many at once; how long that took."""
    waiting, todo, done = 0, iter(items), 0
    began = time.monotonic()
    while done < len(items):
        while waiting < AT_ONCE and (item := next(todo, None)) is not None:
            send(item)
            waiting += 1
        taken(phones.next())
        waiting, done = waiting - 1, done + 1
    return time.monotonic() - began


def registered(phones, users):
    def send(user):
        phones.ask("REGISTER", f"sip:{HERE}", user, user, f"r{user}", "Expires: 7200\r\n")

    def taken(text):
        assert text.startswith("SIP/2.0 200"), text

    flows(phones, users, send, taken)


def offered(phones, pairs):
    """Each pair's call fails; where its completion may be asked for."""
    sent, found = {}, {}

    def send(pair):
        call = f"c{pair[0]}-{pair[1]}-{phones.serial}"
        branch = phones.ask("INVITE", f"sip:{pair[1]}@{HERE}", pair[0], pair[1], call)
        sent[call] = (pair, branch)

    def taken(text):
        assert text.startswith("SIP/2.0 486"), text
        call = header(text, "Call-ID")
        pair, branch = sent[call]
        tag = ";tag=" + header(text, "To").split(";tag=")[1]
        phones.ask("ACK", f"sip:{pair[1]}@{HERE}", pair[0], pair[1], call, branch=branch, to_tag=tag)
        found[pair] = re.search(r"<(sip:[^>]+)>;purpose=call-completion", text).group(1)

    flows(phones, pairs, send, taken)
    return found


def accepted(phones, uris):
    refused = []

    def send(pair):
        extra = "Event: call-completion\r\nAccept: application/call-completion\r\nExpires: 3600\r\n"
        phones.ask("SUBSCRIBE", uris[pair] + ";m=BS", pair[0], pair[1], f"s{pair[0]}-{pair[1]}", extra)

    def taken(text):
        if not text.startswith("SIP/2.0 20"):
            refused.append(text.split("\r")[0])

    took = flows(phones, list(uris), send, taken)
    assert not refused, refused[:3]
    return took


def dialled(phones, uris):
    """The same by a code: the call to it is answered, and ended from the other side."""
    calls, refused = {}, []

    def send(pair):
        call = f"k{pair[0]}-{pair[1]}"
        calls[call] = pair
        phones.ask("INVITE", code(pair), pair[0], pair[1], call)

    def taken(text):
        call = header(text, "Call-ID")
        pair = calls[call]
        tag = ";tag=" + header(text, "To").split(";tag=")[1]
        phones.ask("ACK", code(pair), pair[0], pair[1], call, to_tag=tag)
        if not text.startswith("SIP/2.0 200"):
            refused.append(text.split("\r")[0])

    took = flows(phones, list(uris), send, taken)
    assert not refused, refused[:3]
    return took


def code(pair):
    return f"sip:*37*{pair[1]}%23@{HERE}"


WAYS = {"subscribe": accepted, "code": dialled}


def started(binary, config):
    process = subprocess.Popen([binary, "serve", "--config", config])
    began = time.monotonic()
    while time.monotonic() - began < 30:
        try:
            urllib.request.urlopen(f"http://{ADMIN}/v1/status", timeout=1).read()
            break
        except OSError:
            time.sleep(0.01)
    return process, began


def living():
    """How many completions campon holds."""
    text = urllib.request.urlopen(f"http://{ADMIN}/v1/status", timeout=5).read()
    return json.loads(text)["tables"]["completions"]["entries"]


def resident(process):
    text = open(f"/proc/{process.pid}/smaps_rollup").read()
    return int(re.search(r"Rss:\s+(\d+)", text).group(1)) * 1024


def quiet(phones):
    """Until what is only kept for a while is forgotten."""
    phones.socket.settimeout(1)
    until = time.monotonic() + 75
    while time.monotonic() < until:
        try:
            phones.next()
        except socket.timeout:
            pass
    phones.socket.settimeout(10)


def main():
    binary = os.path.abspath(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    asked = WAYS[sys.argv[3] if len(sys.argv) > 3 else "subscribe"]
    # Each callee is waited for by one caller, so that no call of another makes him free.
    pairs = [(f"a{number // EACH}", f"b{number}") for number in range(count)]
    users = sorted({user for pair in pairs for user in pair})
    place = tempfile.mkdtemp(prefix="campon-completions-")
    config = os.path.join(place, "campon.toml")
    with open(config, "w") as file:
        file.write(f"""[[listener]]
address = "{HERE}:5060"
[api]
listen = "{ADMIN}"
[store]
path = "{place}/store"
[overload]
delay_target_ms = 100000
[strangers]
rate_max = 0
[limits]
registrations = {2 * count + 1000}
[completion]
total_max = {count}
[completion.codes]
request = "*37*{{number}}#"
[log]
level = "warn"
""")
    process, _ = started(binary, config)
    try:
        phones = Phones()
        registered(phones, users)
        # Transactions and failed calls are forgotten; what is left is the users', and one request,
        # for which all that is only read is there from now on.
        offered(phones, pairs[:BATCH])
        asked(phones, offered(phones, pairs[:1]))
        quiet(phones)
        before = resident(process)
        took, rest = 0.0, pairs[1:]
        for first in range(0, len(rest), BATCH):
            uris = offered(phones, rest[first:first + BATCH])
            took += asked(phones, uris)
        print(f"accepted: {len(rest)} in {took:.2f} s, {len(rest) / took:.0f} a second, each in the store first")
        quiet(phones)
        after = resident(process)
        print(f"memory: {(after - before) / len(rest):.0f} bytes each, {before >> 10} KiB before, {after >> 10} KiB after")
        assert living() == len(pairs), living()
        process.kill()
        process.wait()
        process, began = started(binary, config)
        while living() < len(pairs):
            assert time.monotonic() - began < 120, living()
            time.sleep(0.01)
        took = time.monotonic() - began
        print(f"live again: {took:.2f} s after the start")
        assert count > SOON[0] or took <= SOON[1], f"later than {SOON[1]} s"
    finally:
        process.kill()
        process.wait()


main()
