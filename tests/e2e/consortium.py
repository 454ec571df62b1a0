"""A whole consortium of real processes in a temporary directory, for the tests beside this file.

HANSE_BIN names the directory of the binaries. Every wait has a deadline; a test that fails prints the end of every log;
whatever was started is killed when its test ends.
"""
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

HANSE_BIN = os.environ.get("HANSE_BIN", "build/release")
NODE = os.path.join(HANSE_BIN, "hanse-node")
COORDINATOR = os.path.join(HANSE_BIN, "hanse-coordinator")
LATE_CLOCK = os.path.abspath(os.path.join(HANSE_BIN, "tests", "liblate_clock.so"))
LOG_LINES = 25  # of each log, when a test fails

OK, FAILED, LINK, QUORUM, INVALID, BUG, POLICY, LOCAL = range(8)  # exit codes

PLAN = {
    "hanse": 1,
    "name": "toy",
    "data": {
        "name": "toy",
        "format": "csv",
        "target": {"column": "y", "classes": ["0", "1"]},
        "features": [{"name": "a", "low": -10, "high": 10}, {"name": "b", "low": -10, "high": 10}],
        "test_share": 0.25,
        "split_seed": 3,
    },
    "scaling": "none",
    "model": {"kind": "logistic"},
    "train": {"rate": 0.1, "batch": 8, "epochs": 2, "seed": 5},
    "rounds": {"count": 3, "deadline": "1m", "min_sites": 1},
    "aggregation": {"privacy": "sealed"},
}


def plan_text(**changes):
    """PLAN as text; a change names its key with __ for dots (rounds__count=5) and None takes the key away. JSON is YAML."""
    plan = json.loads(json.dumps(PLAN))
    for key, value in changes.items():
        *path, last = key.split("__")
        where = plan
        for part in path:
            where = where[int(part)] if isinstance(where, list) else where.setdefault(part, {})
        if value is None:
            where.pop(last, None)
        else:
            where[last] = value
    return json.dumps(plan, indent=1)


def rows_text(count, seed):
    """CSV with columns a, b and a noisy y that depends on them."""
    rng = random.Random(seed)
    lines = ["a,b,y"]
    for _ in range(count):
        a, b = rng.gauss(0, 2), rng.gauss(1, 2)
        lines.append("%.4f,%.4f,%d" % (a, b, a - b + rng.gauss(0, 1) > 0))
    return "\n".join(lines) + "\n"


class Result:
    """What a command came to: exit code, both outputs, and under --format json the envelope's data or error."""

    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    @property
    def data(self):
        return json.loads(self.out)["data"]

    def __str__(self):
        return "%s: exit %s\n%s%s" % (" ".join(self.args), self.code, self.out, self.err)


def run(*args, code=OK, timeout=60, env=None, cwd=None):
    """Run a command to its end; `code` None allows every exit code but those of a crash."""
    environ = dict(os.environ, **(env or {}))
    done = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, env=environ,
                          cwd=cwd, check=False)
    result = Result([str(a) for a in args], done.returncode, done.stdout.decode("utf-8", "replace"),
                    done.stderr.decode("utf-8", "replace"))
    if result.code != code if code is not None else result.code not in range(8):
        raise AssertionError("wanted exit %s: %s" % (code, result))
    return result


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what, seconds=30, pause=0.02):
    """The first true value of condition(), asked again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(pause)
    raise AssertionError("waited %d s for: %s" % (seconds, what))


class Model:
    """A safetensors file, read without any library."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        (length,) = struct.unpack("<Q", self.bytes[:8])
        header = json.loads(self.bytes[8:8 + length])
        self.meta = header.pop("__metadata__", {})
        self.tensors = header
        self.data = self.bytes[8 + length:]
        self.sha256 = hashlib.sha256(self.bytes).hexdigest()

    @property
    def values(self):
        return struct.unpack("<%df" % (len(self.data) // 4), self.data)


class Process:
    """A service in the background, its stderr in a file."""

    def __init__(self, name, args, log, env=None):
        self.name, self.log = name, log
        with open(log, "ab") as out:
            self.child = subprocess.Popen([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env=dict(os.environ, **(env or {})))

    @property
    def alive(self):
        return self.child.poll() is None

    @property
    def rss(self):
        """Resident memory in bytes."""
        with open("/proc/%d/statm" % self.child.pid, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def wait(self, seconds=30):
        return self.child.wait(seconds)

    def stop(self, how=signal.SIGTERM, seconds=20):
        if self.alive:
            self.child.send_signal(how)
        return self.child.wait(seconds)

    def kill(self):
        return self.stop(signal.SIGKILL)


class Consortium:
    def __init__(self, host="127.0.0.1"):
        self.dir = tempfile.mkdtemp(prefix="hanse-e2e-", dir="/tmp")  # short: a Unix socket's path is, too
        self.home = self.path("coordinator")
        self.port = free_port()
        self.programs = {"node": NODE, "coordinator": COORDINATOR}  # that run in the background; commands are always the real ones
        self.within = {}  # by site: the command that runs its service, such as `ip netns exec NAME`
        self.service = None
        self.nodes = {}  # by site
        self.processes = []
        self.sites = []
        self.coordinator("init", "--name", "Test", "--address", "%s:%d" % (host, self.port), "--listen", "%s:%d" % (host, self.port))

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, text):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def close(self):
        for process in self.processes:
            if process.alive:
                process.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def logs(self):
        parts = []
        for name in sorted(os.listdir(self.dir)):
            if name.endswith(".log"):
                with open(self.path(name), errors="replace", encoding="utf-8") as file:
                    parts.append("--- %s\n%s" % (name, "".join(file.readlines()[-LOG_LINES:])))
        return "\n".join(parts)

    # commands

    def coordinator(self, *args, code=OK, **kwargs):
        return run(COORDINATOR, *args, "--dir", self.home, code=code, **kwargs)

    def node(self, site, *args, code=OK, **kwargs):
        return run(NODE, *args, "--dir", self.path(site), code=code, **kwargs)

    def show(self, run_id):
        return self.coordinator("show", run_id, "--format", "json").data

    def log(self, *args):
        """Events of the consortium, or of a run, as lines."""
        return self.coordinator("log", *args).out

    def log_of(self, name):
        with open(self.path(name + ".log"), errors="replace", encoding="utf-8") as file:
            return file.read()

    # services

    def start(self, name, *args, env=None):
        process = Process(name, args, self.path(name + ".log"), env)
        self.processes.append(process)
        return process

    def serve(self, wait=True, env=None):
        self.service = self.start("coordinator", self.programs["coordinator"], "serve", "--dir", self.home, env=env)
        if wait:
            wait_for(lambda: self.answers() or not self.service.alive, "the coordinator's control socket")
            if not self.service.alive:
                raise AssertionError("the coordinator did not start\n" + self.logs())
        return self.service

    def answers(self):
        """Does a service listen? A killed one leaves its socket's file behind."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(os.path.join(self.home, "control.sock"))
            except OSError:
                return False
        return True

    def clock(self):
        """The environment of a service whose clock is moved by move_clock()."""
        return {"LD_PRELOAD": LATE_CLOCK, "LATE_CLOCK_FILE": self.path("clock")}

    def move_clock(self, seconds):
        """So far ahead, of the true one, is the service's clock from now on; sites bear five minutes. What is due is done at once."""
        with open(self.path("clock"), "w", encoding="ascii") as file:
            file.write(str(seconds))
        self.wake()

    def wake(self):
        """The service looks at the clock now, as for any command."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.path.join(self.home, "control.sock"))
            client.sendall(b"wake\n")
            if client.recv(3) != b"ok\n":
                raise AssertionError("the service does not wake")

    def start_node(self, site, env=None):
        self.nodes[site] = self.start(site, *self.within.get(site, []), self.programs["node"], "run", "--dir", self.path(site), env=env)
        return self.nodes[site]

    def start_nodes(self, sites=None):
        for site in sites or self.sites:
            self.start_node(site)

    # steps of a run

    def invite(self, site, *args):
        path = self.path(site + ".invitation")
        self.coordinator("invite", site, "--organisation", site + " hospital", "-o", path, *args)
        return path

    def enrol(self, site, rows=None, files=None):
        """Invite and enrol; data of `rows` (CSV text), or of files as they stand in node.yaml."""
        self.node(site, "enrol", self.invite(site))
        self.sites.append(site)
        if rows is not None:
            files = [{"path": self.write(site + ".csv", rows)}]
        if files is not None:
            self.configure(site, "toy", files)

    def configure(self, site, name, files, sealed=True, **more):
        path = self.path(site, "node.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if sealed:
            text = text.replace("allow_sealed: false", "allow_sealed: true")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "data: " + json.dumps({name: dict(files=files, **more)}) + "\n")

    def submit(self, text, *args):
        return self.coordinator("submit", self.write("plan.yaml", text), "--format", "json", *args).data["run"]

    def offer(self, site, run_id):
        """A node that runs has it a moment after the run was submitted."""
        def offered():
            offers = self.node(site, "check", "--format", "json").data["offers"]
            return next((offer for offer in offers if offer["run"] == run_id), None)

        return wait_for(offered, "the offer of %s to %s" % (run_id, site))

    def accept(self, run_id, sites=None):
        """Play the operators of the sites."""
        for site in sites or self.sites:
            offer = self.offer(site, run_id)
            self.node(site, "accept", "roster", offer["roster_hash"])
            self.node(site, "accept", "plan", offer["plan_hash"])

    def finish(self, run_id, seconds=60, pause=0.02):
        """Wait for the end of a run, looking every `pause` seconds; it must be done."""
        shown = wait_for(lambda: (lambda s: s["state"] != "open" and s)(self.show(run_id)), "the end of run " + run_id, seconds,
                         pause)
        if shown["state"] != "done":
            raise AssertionError("the run is %s: %s" % (shown["state"], shown["reason"]))
        return shown

    def export(self, run_id, *args):
        path = self.path(run_id + ".safetensors")
        self.coordinator("export", run_id, "-o", path, *args)
        return Model(path)

    def train(self, text):
        """From the plan to the exported model, with every site."""
        if self.service is None:
            self.serve()
        run_id = self.submit(text)
        self.accept(run_id)
        self.start_nodes()
        shown = self.finish(run_id)
        return run_id, shown, self.export(run_id)


class TestCase(unittest.TestCase):
    """Hands out consortia; after a failure the logs of each are printed."""

    def consortium(self, sites=(), rows=60, serve=True):
        made = Consortium()
        self.consortia.append(made)
        if serve:
            made.serve()
        for seed, site in enumerate(sites):
            made.enrol(site, rows_text(rows, seed + 1))
        return made

    def tearDown(self):
        """Whatever still runs ends well when it is told to, and no sanitizer has found anything."""
        for consortium in self.consortia:
            running = [process for process in consortium.processes if process.alive]
            for process in reversed(running):  # the coordinator last
                self.assertEqual(process.stop(), OK, process.name)
            for name in os.listdir(consortium.dir):
                if name.endswith(".log"):
                    self.assertNotRegex(consortium.log_of(name[:-4]), r"Sanitizer|runtime error")

    def run(self, result=None):
        result = result or self.defaultTestResult()
        before = len(result.failures) + len(result.errors)
        self.consortia = []
        try:
            super().run(result)
            if len(result.failures) + len(result.errors) > before:
                for consortium in self.consortia:
                    print("=== %s\n%s" % (self.id(), consortium.logs()), flush=True)
        finally:
            for consortium in self.consortia:
                consortium.close()
        return result
