#!/usr/bin/env python3
"""Bad networks under real sockets: every run of 20 rounds ends, and its model is bit for bit that of an undisturbed run.

    tests/e2e/net_campaign.py --faults 100 --seed 1

As link_campaign.py, but below TCP: each site lives in a network namespace of its own, behind a bridge, and its packets are lost (5 % each
way), slow (1 Mbit/s), both, far (200 ms each way, 5 % lost: with the kernel's netem only), not there (the cable is out), or vanish (a firewall that drops
them and tells nobody) for seconds at seeded random instants; with --long, one time in twenty, the cable is out for two minutes.
Needs root, and ip, tc and nft (packages iproute2 and nftables).
"""
import os
import shutil
import subprocess
import sys
import time

if __name__ == "__main__":
    os.environ.setdefault("HANSE_BIN", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "release"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kill_campaign import Campaign, main

GOOD = "120mbit"  # a transfer takes half a second, long enough to be hit
KINDS = ["lossy", "slow", "lossy and slow", "unplugged", "vanishing"]
LONG = "unplugged for long"


def do(line, *args, check=True):
    return subprocess.run(line.split() + list(args), check=check, stdout=subprocess.DEVNULL, stderr=None if check else subprocess.DEVNULL).returncode == 0


class Net:
    """A bridge with the coordinator's address, and a namespace for each site."""

    def __init__(self):
        self.number = os.getpid() % 250
        self.bridge, self.host, self.names = "hansebr%d" % self.number, "10.77.%d.1" % self.number, []
        do("ip link add %s type bridge" % self.bridge)
        do("ip addr add %s/24 dev %s" % (self.host, self.bridge))
        do("ip link set %s up" % self.bridge)

    def add(self):
        """A namespace's name; its cable ends in an interface of that name here, and in eth0 there."""
        name = "hanse%d-%d" % (self.number, len(self.names))
        self.names.append(name)
        do("ip netns add " + name)
        do("ip link add %s type veth peer name eth0 netns %s" % (name, name))
        do("ip link set %s master %s up" % (name, self.bridge))
        do("ip -n %s addr add 10.77.%d.%d/24 dev eth0" % (name, self.number, 10 + len(self.names)))
        for device in ("lo", "eth0"):
            do("ip -n %s link set %s up" % (name, device))
        do("ip netns exec %s nft add table inet faults" % name)
        for hook in ("input", "output"):
            do("ip netns exec %s nft" % name, "add chain inet faults %s { type filter hook %s priority 0; }" % (hook, hook))
        self.set(name)
        return name

    def set(self, name, loss=0, rate=GOOD, plugged=True):
        """What the line is like, both ways: loss in percent, bits a second, and whether the cable is in."""
        do("ip netns exec %s nft flush table inet faults" % name)
        for hook in ("input", "output"):
            if loss > 0:
                do("ip netns exec %s nft" % name, "add rule inet faults %s %s drop" % (hook, "numgen random mod 100 < %d" % loss if loss < 100 else ""))
        do("tc -n %s qdisc replace dev eth0 root tbf rate %s burst 64kb latency 200ms" % (name, rate))
        do("tc qdisc replace dev %s root tbf rate %s burst 64kb latency 200ms" % (name, rate))
        do("ip link set %s %s" % (name, "up" if plugged else "down"))

    def far(self, name):
        """False: this kernel has no netem."""
        return all(do(tc + " root netem delay 200ms loss 5%", check=False)
                   for tc in ("tc -n %s qdisc replace dev eth0" % name, "tc qdisc replace dev %s" % name))

    def close(self):
        for name in self.names:
            do("ip netns del " + name, check=False)
            do("ip link del " + name, check=False)
        do("ip link del " + self.bridge, check=False)


class Networks(Campaign):
    def __init__(self, faults, seed, long=False, **more):
        self.net = Net()
        super().__init__(faults, seed, host=self.net.host, **more)
        self.lines = {name: self.net.add() for name in self.names}
        self.c.within = {name: ["ip", "netns", "exec", line] for name, line in self.lines.items()}
        line = self.lines[self.names[0]]
        self.kinds = KINDS + (["far"] if self.net.far(line) else [])
        self.net.set(line)
        self.long = [LONG] if long else []
        self.strikes = dict.fromkeys(self.kinds + self.long, 0)
        if "far" not in self.kinds:
            self.say("this kernel has no netem: no delays")

    def strike(self):
        kind = self.random.choice(self.kinds if not self.long or self.random.random() < 0.95 else self.long)
        struck = [self.lines[n] for n in (self.names if self.random.random() < 0.2 else [self.random.choice(self.names)])]
        seconds = self.random.uniform(0, 5)
        self.strikes[kind] += 1
        for line in struck:
            if kind == "far":
                self.net.far(line)
            else:
                self.net.set(line, 100 if kind == "vanishing" else 5 if "lossy" in kind else 0, "1mbit" if "slow" in kind else GOOD, "unplugged" not in kind)
        time.sleep(120 if kind == LONG else seconds)
        for line in struck:
            self.net.set(line)

    def close(self):
        super().close()
        self.net.close()


if __name__ == "__main__":
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "tc", "nft"))):
        sys.exit("net_campaign: needs root, and ip, tc and nft (packages iproute2 and nftables)")
    main(__doc__, Networks, "faults", long="two minutes without cable, too: one in twenty")
