#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
hazards.py PHASE: what goes wrong with the obvious design of a DNS proxy (hazards 14–25), for dns_hazards.sh. The
sandbox may ask *.ok.example and deep.allowed.corp.internal, the neighbour *.near.example; a lease lives 3 to 13 s.
"""

import contextlib
import socket
import subprocess
import sys
import time

from labdns import (GOOD4, NEIGHBOUR, NOERROR, NXDOMAIN, PRIZE4, SERVFAIL, UPSTREAM, UPSTREAM6, Answer, Seen, ask,
                    bpfctl, check, connected, dns_counts, endpoint, equal, finish, inside, leases, opens, opt, packets,
                    prefixed, question, read_message, send_frames, switch, until)

NEIGHBOUR_PATH = "default/neighbour"
UNTRUSTED, PRIZE = "10.0.2.98", "c633641e"


def of_name(name):
    return [r for r in leases() if r["name"] == name]


def addresses(answer):
    return answer and answer.addresses


def asker():
    """14: the interface tells who asks."""
    seen = Seen()
    for server in (UPSTREAM, UPSTREAM6):
        for tcp in (False, True):
            where = {"server": server, "tcp": tcp}
            got = [addresses(ask("plain-asker.ok.example", **where)),
                   addresses(ask("plain-asker.near.example", **where)),
                   addresses(ask("plain-asker.near.example", pod=NEIGHBOUR, **where)),
                   addresses(ask("plain-asker.ok.example", pod=NEIGHBOUR, **where))]
            equal(f"14: {where}: each pod's own names and no other", [[GOOD4], [], [GOOD4], []], got)
    equal("14: packets at the resolver: those allowed", 8, seen.count("plain-asker"))
    ask(f"ttl0-{PRIZE}.ok.example")
    check("14: what one pod's answer opened, it opened", opens(PRIZE4))
    check("14: to that pod alone", not opens(PRIZE4, pod=NEIGHBOUR))
    before = endpoint()["drops"].get("INVALID_SOURCE_IP", 0)
    for name in ("plain-spoofed.ok.example", "plain-spoofed.near.example"):
        data = packets.udp("10.0.1.6", UPSTREAM, 5353, 53, question(name))
        send_frames([packets.ip4("10.0.1.6", UPSTREAM, packets.UDP, data)])
    equal("14: a query under the neighbour's address", (0, 2),
          (seen.count("spoofed"), endpoint()["drops"].get("INVALID_SOURCE_IP", 0) - before))


def swapped():
    """14, where the source check cannot help: the endpoints' file gives each pod the other's IPv4 address."""
    with inside("sandbox-agent"):
        subprocess.run(["ip", "address", "add", "10.0.1.6/32", "dev", "eth0"], check=True)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("10.0.1.6", 0))
    sock.settimeout(3)
    got = []
    for name in ("plain-swapped.ok.example", "plain-swapped.near.example"):
        sock.sendto(question(name), (UPSTREAM, 53))
        with contextlib.suppress(TimeoutError):
            got.append(Answer(sock.recv(4096)).addresses)
    with inside("sandbox-agent"):
        subprocess.run(["ip", "address", "delete", "10.0.1.6/32", "dev", "eth0"], check=True)
    equal("14: under the neighbour's address, judged by the pod's policy and answered by its veth", [[GOOD4], []], got)


def held(seen, name, while_held):
    """Asks, runs `while_held` while the resolver holds the answer, and returns the answer and what that returned."""
    sock = connected(UPSTREAM, 53, kind=socket.SOCK_DGRAM, timeout=6)
    sock.send(question(name))
    seen.wait(name.split(".", maxsplit=1)[0])
    result = while_held()
    return Answer(sock.recv(4096)), result


def judged_again():
    """15: a policy edit while the resolver holds the answer."""
    seen = Seen()
    name = f"late1500-{PRIZE}.ok.example"
    answer, before = held(seen, name, lambda: endpoint()["policy_id"])
    check("15 control: held and unedited, it opens", answer.addresses == [PRIZE4] and opens(PRIZE4) and
          [r["policy_id"] for r in of_name(name)] == [before])
    name = f"late1501-{PRIZE}.ok.example"
    answer, _ = held(seen, name, lambda: switch("narrow"))
    check("15: a name that is no longer allowed: the denial, and no lease", answer.empty and not of_name(name) and
          not opens(PRIZE4), (answer.records, of_name(name)))
    switch("base")
    until(lambda: not leases(PRIZE4))  # the control's
    name = f"late1502-{PRIZE}.ok.example"
    answer, policy = held(seen, name, lambda: switch("port"))
    equal("15: a name whose ports were changed: the lease is the new policy's", ([PRIZE4], [policy]),
          (answer.addresses, [r["policy_id"] for r in of_name(name)]))
    equal("15: and opens what that opens", (False, True), (opens(PRIZE4), opens(PRIZE4, 7000)))
    switch("base")


def ask_only():
    """17: names that only rules.dns lists, "*" among them."""
    seen = Seen()
    switch("askonly")
    for number in range(20):
        for kind in ("A", "AAAA", "TXT"):
            answer = ask(f"tunnel{number}.anything.example", kind, edns=opt())
            if not (answer and answer.empty and answer.blocked):
                check('17: "*" without an address rule', False, answer and answer.records)
    equal('17: "*" without an address rule: 60 queries, packets at the resolver', 0, seen.count("tunnel"))
    equal("17: a name that a rule opens is asked", ([GOOD4], 1),
          (addresses(ask("plain-askonly.ok.example")), seen.count("plain-askonly")))
    switch("askfilter")
    inside_rule, outside = ask(f"chain3-{PRIZE}.anything.example"), ask("plain-cb007163.anything.example")
    equal("17: with an address rule: what it admits stays", [PRIZE4], addresses(inside_rule))
    check("17: the chain flattened to the question's name", not inside_rule.of("CNAME") and
          {r[1] for r in inside_rule.of("A")} == {f"chain3-{PRIZE}.anything.example"}, inside_rule.records)
    check("17: and the rest is taken out", outside.empty, outside.records)
    check("17: other types are not asked", ask("plain-txt.anything.example", "TXT").empty and
          seen.count("plain-txt") == 0)
    check("17: nothing was learned", not [r for r in leases() if "anything" in r["name"]])
    switch("base")


def tcp():
    """19: TCP with SYN cookies, and connections that are none of ours."""
    def cookies():
        rows = subprocess.run(["nstat", "-asz"], check=True, capture_output=True, text=True).stdout.split("\n")
        return {row.split()[0]: int(row.split()[1]) for row in rows if row.startswith("TcpExtSyncookies")}

    with open("/proc/sys/net/ipv4/tcp_syncookies", "w", encoding="ascii") as f:
        f.write("2")
    before = cookies()
    send_frames([packets.ip4("10.0.1.5", UPSTREAM, packets.TCP,
                             packets.tcp("10.0.1.5", UPSTREAM, 20000 + i, 53, packets.SYN, b"")) for i in range(400)])
    got = [addresses(ask(f"plain-cookie{i}.ok.example", tcp=True, server=server))
           for i, server in enumerate((UPSTREAM, UNTRUSTED, UPSTREAM6))]
    equal("19: TCP under raw SYNs, with SYN cookies", [[GOOD4]] * 3, got)
    after = cookies()
    check("19: cookies were sent and came back", all(after[k] > before[k] for k in
                                                     ("TcpExtSyncookiesSent", "TcpExtSyncookiesRecv")), after)

    seen = Seen()
    switch("none", NEIGHBOUR_PATH)
    sock = connected(UNTRUSTED, 53, NEIGHBOUR)
    sock.sendall(prefixed(question("plain-before.evil.example")))
    equal("19 control: without a policy a pod talks to a resolver of its own", [GOOD4],
          Answer(read_message(sock)).addresses)
    switch("near", NEIGHBOUR_PATH)
    check("19: with one, its connection from before", not says(sock, question("plain-after.evil.example")))
    equal("19: does not reach it any more", (1, 0), (seen.count("plain-before"), seen.count("plain-after")))


def says(sock, message):
    """Whether the connection still gives an answer."""
    sock.settimeout(1.5)
    try:
        sock.sendall(prefixed(message))
        return read_message(sock)
    except OSError:
        return None


def denials():
    """25: NXDOMAIN below a search domain only where nothing allowed lies below; short-lived."""
    seen = Seen()
    for kind in ("A", "AAAA"):
        for name, rcode, zone in (("pypi.org.corp.internal", NXDOMAIN, "corp.internal"),
                                  ("plain.ok.example.corp.internal", NXDOMAIN, "corp.internal"),
                                  ("x.default.svc.cluster.local", NXDOMAIN, "cluster.local"),
                                  ("allowed.corp.internal", NOERROR, None), ("corp.internal", NOERROR, None),
                                  ("evil.example", NOERROR, None), ("ok.example", NOERROR, None)):
            answer = ask(name, kind, edns=opt())
            record = answer.soa[0]
            check(f"25: {name} {kind}: rcode {rcode}, an SOA for at most 5 s, and whose policy it is",
                  answer.rcode == rcode and zone in (None, record[1]) and record[3] <= 5 and
                  int.from_bytes(record[4][-4:], "big") <= 5 and "agent-sandboxes/names" in (answer.blocked or ""),
                  (answer.rcode, answer.records))
    equal("25: packets at the resolver", 0, seen.count())
    equal("25: the allowed name below", [GOOD4], addresses(ask("deep.allowed.corp.internal")))
    plain = ask("evil.example")
    check("a denial without EDNS has no OPT", not plain.of("OPT", 2))


def lease_times():
    """A lease is clamp(TTL, 2, 12) + 1 seconds here; of a chain the least TTL counts."""
    for title, wanted in (("ttl0-c0000201", 3), ("ttl1-c0000202", 3), ("ttl3-c0000203", 4), ("ttl300-c0000204", 13),
                          ("chainttl1-c0000205", 3), ("chainttl3-c0000206", 4)):
        ask(title + ".ok.example")
        left = [r["expires_in_seconds"] for r in of_name(title + ".ok.example")]
        check(f"lease of {title}: {left} of {wanted} seconds", len(left) == 1 and wanted - 0.9 < left[0] <= wanted)
    answer = ask("tc-short.ok.example")
    check("24: a truncated answer tells and teaches nothing", answer.truncated and not answer.addresses and
          not of_name("tc-short.ok.example"))
    answer = ask("tc-short.ok.example", tcp=True)
    check("and by TCP it is whole", answer.addresses == [PRIZE4] and not answer.truncated)


def expiry():
    """A lease's end stops new flows and leaves live ones."""
    until(lambda: not leases(PRIZE4), 20)
    ask(f"ttl0-{PRIZE}.ok.example")
    live, datagrams = connected(PRIZE4, 7000), connected(PRIZE4, 7000, kind=socket.SOCK_DGRAM)

    def echoes():
        live.sendall(b"still here")
        datagrams.send(b"still here")
        return live.recv(100), datagrams.recv(100)

    equal("expiry: both flows live", (b"still here",) * 2, echoes())
    until(lambda: not leases(PRIZE4))
    check("expiry: new connections end with the lease", not opens(PRIZE4, 7000))
    equal("expiry: live flows do not", (b"still here",) * 2, echoes())
    ask(f"ttl0-{PRIZE}.ok.example")
    check("expiry: asked again, it opens again", opens(PRIZE4, 7000))


def trouble():
    """Silence is never the answer: SERVFAIL is, in time."""
    for title, limit in (("silent", 5), ("servfail", 1), ("refused", 1)):
        start = time.monotonic()
        answer = ask(title + "-t.ok.example", timeout=8)
        seconds = time.monotonic() - start
        check(f"a resolver that is {title}: SERVFAIL after {seconds:.2f} s", answer is not None and
              answer.rcode == SERVFAIL and seconds < limit + 1, answer and answer.rcode)
    answer = ask("nxdomain-t.ok.example", edns=opt())
    check("its NXDOMAIN is passed on, with its SOA", answer.rcode == NXDOMAIN and answer.soa and not answer.blocked)


def before_death():
    answer = ask(f"plain-{PRIZE}.near.example", pod=NEIGHBOUR)
    check("24 control: the pod that is to die has a lease", answer.addresses == [PRIZE4] and
          opens(PRIZE4, pod=NEIGHBOUR))


def inherit():
    """24: a new pod of the same name, addresses and policy has nothing that the old one was answered."""
    left = [r["expires_in_seconds"] for r in of_name(f"plain-{PRIZE}.near.example")]
    check(f"24: a new pod inherits no lease (the dead one's: {left} seconds left)", not opens(PRIZE4, pod=NEIGHBOUR))
    ask(f"plain-{PRIZE}.near.example", pod=NEIGHBOUR)
    check("24: and gets its own", opens(PRIZE4, pod=NEIGHBOUR))


def full():
    """20, 24: limits.leases is 64; the sandbox floods it, and gives up its own oldest, none of the neighbour's."""
    until(lambda: len(leases()) == 0, 40)
    near = [f"plain-cb0071{i:02x}.near.example" for i in range(192, 200)]
    check("20 control: the neighbour has its leases", all(addresses(ask(n, pod=NEIGHBOUR)) for n in near))
    evicted, names = dns_counts()["leases_evicted"], [f"plain-c63364{i:02x}.ok.example" for i in range(100, 199)]
    answers = [ask(name) for name in names] + [ask(f"plain-{PRIZE}.ok.example")]
    equal("20: a flood of a full table: all answered", 100, len([a for a in answers if addresses(a)]))
    there = {r["name"] for r in leases()}
    equal("24: the neighbour's leases are there", [], [n for n in near if n not in there])
    check("20: and of the flood the last", len(there) <= 64 and set(names[-50:]) < there, sorted(there))
    check("20: what made room is counted", dns_counts()["leases_evicted"] - evicted >= 44)
    check("20: the last address is open", opens(PRIZE4))
    more = [f"plain-cb0071{i:02x}.near.example" for i in range(200, 224)]
    answered = all(addresses(ask(n, pod=NEIGHBOUR)) for n in more)
    there = {r["name"] for r in leases()}
    check("20: the neighbour gets more, up to half", answered and set(more) <= there, sorted(there))


def own_resolver():
    """18: the pod of a trusted resolver is not forwarded to itself; its port 53 follows the address rules."""
    seen, before = Seen("podresolver"), endpoint(NEIGHBOUR_PATH)
    answer = ask("plain-own.ok.example", server="10.0.1.6")
    equal("18: the resolver in a pod is asked", ([GOOD4], 1), (addresses(answer), seen.count("plain-own")))
    equal("18: its own queries are not handed over", None, ask("plain-own2.near.example", pod=NEIGHBOUR, timeout=1))
    after = endpoint(NEIGHBOUR_PATH)
    check("18: but judged by address", after["dns_assigned"] == before["dns_assigned"] and
          after["drops"].get("POLICY_DENIED", 0) > before["drops"].get("POLICY_DENIED", 0), after)


def cluster_names():
    """16: a name under the cluster domain opens the running pods that the inventory has for it, and nothing else."""
    def of(address):
        return ask(f"plain-{socket.inet_aton(address).hex()}.default.svc.cluster.local")

    with inside(NEIGHBOUR):
        listener = socket.create_server(("10.0.1.6", 443))
    check("16 control: the pod is closed before", not opens("10.0.1.6"))
    switch("incluster")
    equal("16: of a Service's name, its running pod", ["10.0.1.6"], addresses(of("10.0.1.6")))
    check("16: which it opens", opens("10.0.1.6"))
    answer = of(PRIZE4)
    check("16: an address that somebody wrote into an EndpointSlice is taken out", not answer.addresses, answer.records)
    check("16: and not opened", not opens(PRIZE4) and not leases(PRIZE4))
    listener.close()
    switch("base")


def audit():
    """Under audit a denied name is forwarded and answered, an allowed one learned, and all that is said."""
    until(lambda: not leases(PRIZE4), 40)  # opened by an allowed name it would not be of interest
    seen, before = Seen(), dns_counts()
    name = f"plain-{PRIZE}.evil.example"
    answer = addresses(ask(name))
    equal("audit: a denied name is forwarded and answered", ([PRIZE4], 1), (answer, seen.count(name[:14])))
    check("audit: what it tells passes", opens(PRIZE4))
    ask("plain-cb007164.ok.example")
    equal("audit: an allowed name is learned", 1, len(of_name("plain-cb007164.ok.example")))
    after = dns_counts()
    equal("audit: counted as AUDIT, and nothing as denied", (1, 0),
          (after["audit"] - before["audit"], after["denied"] - before["denied"]))
    log = [r for r in bpfctl("map", "dump", "dns_log") if r.get("name") == name or r.get("query") == name]
    check("audit: and in the log", [r["verdict"].upper() for r in log[-1:]] == ["AUDIT"], log[-1:])
    state = endpoint()
    check("audit: its packets are counted too", state["audited"] > 0, state)


PHASES = (asker, swapped, judged_again, ask_only, own_resolver, tcp, denials, lease_times, expiry, trouble,
          cluster_names, before_death, inherit, full, audit)
{phase.__name__: phase for phase in PHASES}[sys.argv[1]]()
finish()
