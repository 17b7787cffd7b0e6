#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
echo.py PORT: on TCP and UDP, both families, echoes; a connection whose first bytes are "push" is sent a line every
10 ms instead, so that a test can watch traffic towards a pod that does not answer.
"""

import asyncio
import socket
import sys

PORT = int(sys.argv[1])


async def connection(reader, writer):
    try:
        data = await reader.read(65536)
        while data:
            if data.startswith(b"push"):
                while True:
                    writer.write(b"pushed by the lab\n")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            writer.write(data)
            await writer.drain()
            data = await reader.read(65536)
    except OSError:
        pass
    finally:
        writer.close()


def datagrams(sock):
    """Answers from the address that was asked: one socket serves every address of the lab's internet."""
    data, control, _, peer = sock.recvmsg(65536, 256)
    answer = [c for c in control if c[:2] == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)]
    sock.sendmsg([data], answer, 0, peer)


async def main():
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    udp.bind(("::", PORT))
    asyncio.get_running_loop().add_reader(udp, datagrams, udp)
    server = await asyncio.start_server(connection, ["0.0.0.0", "::"], PORT)
    async with server:
        await server.serve_forever()


asyncio.run(main())
