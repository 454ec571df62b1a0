"""A line between sites and coordinator that can be bad: a TCP forwarder that cuts, resets, halts, slows down and delays what passes.

It sees only ciphertext, as any box between two institutions does: a reverse proxy that passes TLS through, or, with
connect=True, an HTTP proxy that answers CONNECT.
"""
import collections
import select
import socket
import struct
import threading
import time

PIECE = 65536
HEAD_MAX = 4096


class Line:
    def __init__(self, port, connect=False):
        self.port_behind, self.connect = port, connect
        self.delay_s = 0.0     # of every byte, each way
        self.rate = None       # bytes a second, each way
        self.halted = False    # nothing moves, connections stay open
        self.closed = False    # new connections are refused by closing them
        self.answer = None     # to CONNECT, instead of a tunnel
        self.opened, self.moved = 0, 0
        self.heads = []        # first lines of what CONNECT asked
        self.pairs = set()
        self.silent = set()    # of them: nothing passes any more, and nobody is told
        self.guard = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.bridge, args=(client,), daemon=True).start()

    def tunnel(self, client):
        """The port that CONNECT asked for; None: it was refused."""
        head = b""
        client.settimeout(10)
        while b"\r\n\r\n" not in head and len(head) < HEAD_MAX:
            more = client.recv(1)
            if not more:
                return None
            head += more
        self.heads.append(head.split(b"\r\n")[0].decode("ascii", "replace"))
        method, authority, _ = self.heads[-1].split(" ")
        if self.answer is not None or method != "CONNECT":
            client.sendall(self.answer or b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
            return None
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return int(authority.rsplit(":", 1)[1])

    def bridge(self, client):
        try:
            port = self.port_behind if not self.connect else self.tunnel(client)
            if self.closed or port is None:
                client.close()
                return
            server = socket.create_connection(("127.0.0.1", port))
        except (OSError, ValueError):
            client.close()
            return
        pair = (client, server)
        with self.guard:
            self.opened += 1
            self.pairs.add(pair)
        for side in pair:
            side.setblocking(False)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ways = [threading.Thread(target=self.carry, args=(pair, *ends), daemon=True) for ends in (pair, pair[::-1])]
        for way in ways:
            way.start()
        for way in ways:
            way.join()
        with self.guard:
            self.pairs.discard(pair)
            self.silent.discard(pair)
        for side in pair:
            side.close()

    def carry(self, pair, source, target):
        """One way: bytes wait out the delay, then leave at the rate."""
        waiting, open_ = collections.deque(), True  # (when it may leave, bytes)
        try:
            while open_ or waiting:
                if self.halted or pair in self.silent:
                    time.sleep(0.02)
                    continue
                full = sum(len(data) for _, data in waiting) > (1 << 20)
                idle = 0.05 if not waiting else max(0.0, min(0.05, waiting[0][0] - time.monotonic()))
                if open_ and not full and select.select([source], [], [], idle)[0] and pair not in self.silent:
                    data = source.recv(PIECE)
                    open_ = bool(data)
                    if data:
                        waiting.append((time.monotonic() + self.delay_s, data))
                elif idle and (full or not open_):
                    time.sleep(idle)
                while waiting and waiting[0][0] <= time.monotonic() and not self.halted:
                    self.leave(target, waiting.popleft()[1])
            target.shutdown(socket.SHUT_WR)
        except (OSError, ValueError):  # cut, or closed by one of them
            for side in (source, target):
                try:
                    side.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def leave(self, target, data):
        while data:
            select.select([], [target], [], 1)
            try:
                sent = target.send(data[:max(1024, int(self.rate / 1000))] if self.rate else data)
            except BlockingIOError:
                continue
            data = data[sent:]
            self.moved += sent
            if self.rate:
                time.sleep(sent / self.rate)

    # what goes wrong

    def cut(self, reset=False):
        """Every connection ends now: in order, or with a reset."""
        with self.guard:
            pairs = list(self.pairs)
        for pair in pairs:
            for side in pair:
                try:
                    if reset:
                        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    side.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def silence(self):
        """What is connected now carries nothing any more, as behind a firewall that forgot it; new connections do."""
        with self.guard:
            self.silent |= self.pairs

    def close(self):
        self.closed = True
        self.cut()
        self.listener.close()
