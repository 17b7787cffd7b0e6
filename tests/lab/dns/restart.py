#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
restart.py FILE: a pod's TCP connection to the proxy that lives through a hand-over, which is over when FILE is there,
and slow answers that the old proxy still waits for meanwhile. For dns_restart.sh.
"""

import os
import socket
import sys
import time

from labdns import GOOD4, UPSTREAM, Answer, connected, equal, finish, prefixed, question, read_message


def over_tcp(sock, name):
    try:
        sock.sendall(prefixed(question(name)))
        return Answer(read_message(sock)).addresses
    except OSError as error:
        return error


def received(sock):
    try:
        return Answer(sock.recv(4096)).addresses
    except OSError as error:
        return error


def main():
    connection = connected(UPSTREAM, 53, timeout=5)
    slow = connected(UPSTREAM, 53, kind=socket.SOCK_DGRAM, timeout=6)
    equal("hand-over: a connection before", [GOOD4], over_tcp(connection, "plain-before.ok.example"))
    sent = 0
    while not os.path.exists(sys.argv[1]):  # some of these are under way when it happens
        slow.send(question("late1300-slow.ok.example"))
        sent += 1
        time.sleep(0.3)
    slow.settimeout(3)
    equal("hand-over: answers that the old one waits for", [[GOOD4]] * sent, [received(slow) for _ in range(sent)])
    equal("hand-over: the connection afterwards", [GOOD4], over_tcp(connection, "plain-after.ok.example"))
    finish()


main()
