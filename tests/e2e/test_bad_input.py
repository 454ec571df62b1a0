"""Bad input, one row a case: the exit code, exactly one line that says what is wrong and where, and nothing half-written."""
import gzip
import hashlib
import json
import os
import shutil
import struct
import unittest

import consortium
from consortium import COORDINATOR, INVALID, LINK, LOCAL, NODE, QUORUM, plan_text, rows_text

NO_RUN = "0" * 32
SANITIZED = {"ASAN_OPTIONS": "exitcode=99", "UBSAN_OPTIONS": "exitcode=99"}
PICTURES = struct.pack(">IIII", 2051, 12, 2, 2) + bytes(range(48))
LABELS = struct.pack(">II", 2049, 12) + bytes([0, 1] * 6)
IDX_PLAN = plan_text(name="pictures", data={"name": "pictures", "format": "idx", "rows": 2, "cols": 2, "classes": 2},
                     model={"kind": "softmax"})


# What a case does to its copy of the directories: functions of the copy's path.

def put(name, content):
    def change(path):
        target = os.path.join(path, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
    return change


def edit(name, old, new):
    """Replace the first `old`, which must be there."""
    def change(path):
        with open(os.path.join(path, name), "rb") as file:
            content = file.read()
        before, after = old.encode(), new if isinstance(new, bytes) else new.encode()
        assert before in content, "%s holds no %s" % (name, old)
        put(name, content.replace(before, after, 1))(path)
    return change


def append(name, text):
    return lambda path: put(name, open(os.path.join(path, name), "rb").read() + text.encode())(path)


def cut(name, length):
    return lambda path: put(name, open(os.path.join(path, name), "rb").read()[:length])(path)


def remove(name):
    def change(path):
        target = os.path.join(path, name)
        shutil.rmtree(target) if os.path.isdir(target) else os.remove(target)
    return change


def remove_beside(name):
    """What SQLite keeps beside a database: its log alone would restore it."""
    return lambda path: [os.remove(os.path.join(path, name + end)) for end in ("-wal", "-shm") if os.path.exists(os.path.join(path, name + end))]


def copy(source, name):
    return lambda path: shutil.copy(os.path.join(path, source), os.path.join(path, name))


def folder(name):
    return lambda path: (remove(name)(path) if os.path.exists(os.path.join(path, name)) else None, os.makedirs(os.path.join(path, name)))


def csv(content):
    return put("a.csv", content)


def both(*changes):
    return lambda path: [change(path) for change in changes]


def plan(**changes):
    return put("plan.yaml", plan_text(**changes))


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return put("start.safetensors", struct.pack("<Q", len(text)) + text + data)


def tensor(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


NY, CY = "a/node.yaml", "coordinator/coordinator.yaml"
CHECK = [NODE, "check", "--dir", "{}/a"]
SERVE = [COORDINATOR, "serve", "--dir", "{}/coordinator"]
SUBMIT = [COORDINATOR, "submit", "{}/plan.yaml", "--dir", "{}/coordinator"]
START = SUBMIT + ["--model", "{}/start.safetensors"]
ENROL = [NODE, "enrol", "{}/x.invitation", "--dir", "{}/x"]


def at(program, *args):
    return [program, *args, "--dir", "{}/a" if program == NODE else "{}/coordinator"]


ROWS = rows_text(12, 1)
SPLIT = edit(NY, '"toy": {', '"toy": {"split": "../split.csv", ')
TOY = {"linear.weight": tensor(shape=(1, 2), offsets=(0, 8)), "linear.bias": tensor(offsets=(8, 12))}
FLOATS = struct.pack("<3f", 1, 2, 3)

CASES = [
    # coordinator.yaml
    ("no configuration", remove(CY), SERVE, INVALID, r"coordinator\.yaml: no such file"),
    ("unknown key", edit(CY, "listen:", "listens:"), SERVE, INVALID, r"coordinator\.yaml:\d+: listens: unknown key"),
    ("missing key", edit(CY, "name:", "#name:"), SERVE, INVALID, r"coordinator\.yaml:\d+: name: missing"),
    ("number out of range", edit(CY, "workers: 0", "workers: 65"), SERVE, INVALID, r"coordinator\.yaml:\d+: limits\.workers: .*0.*64"),
    ("not a number", edit(CY, "connections: 2048", "connections: many"), SERVE, INVALID, r"coordinator\.yaml:\d+: limits\.connections: \"many\""),
    ("no unit", edit(CY, "10s", "10"), SERVE, INVALID, r"coordinator\.yaml:\d+: limits\.handshake_timeout: "),
    ("key twice", append(CY, "name: again\n"), SERVE, INVALID, r"coordinator\.yaml:\d+: name: .*twice"),
    ("unknown level", edit(CY, "level: info", "level: loud"), SERVE, INVALID, r"coordinator\.yaml:\d+: log\.level: .*error, warn, info"),
    ("no address", edit(CY, 'address: "127.0.0.1:', 'address: "127.0.0.1'), SERVE, INVALID, r"coordinator\.yaml:\d+: address: .*HOST:PORT"),
    ("port too high", edit(CY, 'listen: "127.0.0.1:', 'listen: "127.0.0.1:9'), SERVE, INVALID, r"coordinator\.yaml:\d+: listen: port"),
    ("alias", edit(CY, "level: info", "level: *x"), SERVE, INVALID, r"coordinator\.yaml:\d+: .*alias"),
    ("not UTF-8", edit(CY, "name: ", b"name: \xff\xfe"), SERVE, INVALID, r"coordinator\.yaml:\d+: not YAML in UTF-8"),
    ("a list", put(CY, "- name\n"), SERVE, INVALID, r"coordinator\.yaml:1: "),
    ("empty", put(CY, ""), SERVE, INVALID, r"coordinator\.yaml:\d+: "),
    ("too long", append(CY, "#" * (2 << 20)), SERVE, INVALID, r"coordinator\.yaml has \d+ bytes"),
    # what lies in the coordinator's directory
    ("no store", remove("coordinator/state.db"), at(COORDINATOR, "list"), INVALID, r"state\.db"),
    ("store is text", both(remove_beside("coordinator/state.db"), put("coordinator/state.db", "hello " * 1000)), at(COORDINATOR, "list"), LOCAL, r"state\.db"),
    ("no CA", remove("coordinator/ca/ca.crt"), SERVE, INVALID, r"ca\.crt"),
    ("CA is text", put("coordinator/ca/ca.crt", "hello"), SERVE, INVALID, r"ca/ca\.crt: .*certificate"),
    ("key cut", cut("coordinator/identity/sign.key", 60), SERVE, INVALID, r"identity/sign\.key: .*key"),
    ("no TLS key", remove("coordinator/identity/tls.key"), SERVE, INVALID, r"identity/tls\.key"),
    ("TLS key is text", put("coordinator/identity/tls.key", "hello"), SERVE, INVALID, r"identity/tls\.key"),
    ("key of another certificate", copy("a/tls.key", "coordinator/identity/tls.key"), SERVE, INVALID, r"identity/tls\.key: .*certificate"),
    ("site's certificate", both(copy("a/tls.pem", "coordinator/identity/tls.crt"), copy("a/tls.key", "coordinator/identity/tls.key")),
     SERVE, LINK, r"identity/tls\.crt: .*(profile|site)"),
    ("no revocation list", remove("coordinator/crl.pem"), SERVE, INVALID, r"crl\.pem"),
    ("list is text", put("coordinator/crl.pem", "hello"), SERVE, INVALID, r"crl\.pem: "),
    ("port in use", both(), SERVE, INVALID, r"cannot listen on 127\.0\.0\.1:\d+"),
    # node.yaml
    ("no node.yaml", remove(NY), CHECK, INVALID, r"node\.yaml: not there; `hanse-node enrol"),
    ("unknown key", append(NY, "datas: {}\n"), CHECK, INVALID, r"node\.yaml:\d+: datas: unknown key"),
    ("missing site", edit(NY, "site:", "#site:"), CHECK, INVALID, r"node\.yaml:\d+: site: missing"),
    ("another site", edit(NY, 'site: "a"', 'site: "b"'), CHECK, INVALID, r"a/node\.yaml: .*certificate, a hospital and a"),
    ("port", edit(NY, 'coordinator: "127.0.0.1:', 'coordinator: "127.0.0.1:9'), CHECK, INVALID, r"node\.yaml.*: coordinator: port"),
    ("no port", edit(NY, 'coordinator: "127.0.0.1:', 'coordinator: "127.0.0.1'), CHECK, INVALID, r"node\.yaml.*: coordinator: .*HOST:PORT"),
    ("policy of another type", edit(NY, "allow_sealed: true", "allow_sealed: perhaps"), CHECK, INVALID, r"node\.yaml:\d+: policy\.allow_sealed: \"perhaps\""),
    ("acceptance is no hash", edit(NY, "accept: []", "accept: [all]"), CHECK, INVALID, r"node\.yaml:\d+: policy\.accept: \"all\""),
    ("broken YAML", append(NY, "policy: [\n"), CHECK, INVALID, r"node\.yaml:\d+: "),
    ("data without files", edit(NY, '"files": [{"path": "../a.csv"}]', '"files": []'), CHECK, INVALID, r"node\.yaml:\d+: data\.toy\.files: "),
    ("unknown part", edit(NY, '{"path": "../a.csv"}', '{"path": "../a.csv", "part": "all"}'), CHECK, INVALID,
     r"node\.yaml:\d+: data\.toy\.files\[0\]\.part: .*split, train, test"),
    ("delimiter", edit(NY, '"toy": {', '"toy": {"delimiter": ";;", '), CHECK, INVALID, r"node\.yaml:\d+: data\.toy\.delimiter: "),
    ("name of a data set", edit(NY, '"toy": {', '"toys": {'), CHECK, INVALID, r"node\.yaml: the plan wants data \"toy\""),
    # what lies in the site's directory
    ("not enrolled", remove("a/tls.pem"), CHECK, INVALID, r"/a: this directory is not enrolled"),
    ("no such directory", both(), [NODE, "check", "--dir", "{}/nowhere"], INVALID, r"nowhere/node\.yaml: not there"),
    ("certificate cut", cut("a/sign.pem", 200), CHECK, INVALID, r"a/sign\.pem: .*certificate"),
    ("key is a certificate", copy("a/tls.pem", "a/tls.key"), CHECK, INVALID, r"a/tls\.key: .*key"),
    ("keys swapped", copy("a/sign.key", "a/tls.key"), CHECK, INVALID, r"a/tls\.key: .*certificate"),
    ("certificates swapped", copy("a/tls.pem", "a/sign.pem"), CHECK, INVALID, r"a/sign\.key: .*certificate"),
    ("one pair for both", both(copy("a/tls.pem", "a/sign.pem"), copy("a/tls.key", "a/sign.key")), CHECK, LINK, r"site-(TLS|sign)"),
    ("another authority", copy("a/coordinator.pem", "a/ca.pem"), CHECK, LINK, r"certificate"),
    ("list is text", put("a/crl.pem", "hello"), CHECK, INVALID, r"a/crl\.pem: "),
    ("certificate changed", edit("a/tls.pem", "MII", "MIH"), CHECK, INVALID, r"a/tls\.pem: certificate"),
    ("store is text", both(remove_beside("a/state.db"), put("a/state.db", "hello " * 1000)), CHECK, LOCAL, r"state\.db"),
    ("a folder in its place", folder("a/tls.key"), CHECK, INVALID, r"a/tls\.key is no regular file"),
    # invitation
    ("no file", both(), [NODE, "enrol", "{}/nowhere", "--dir", "{}/x"], INVALID, r"/nowhere: "),
    ("token too short", edit("x.invitation", 'token: "', 'token: "0'), ENROL, INVALID, r"x\.invitation(:\d+)?: .*token"),
    ("token is no hex", edit("x.invitation", 'ca_sha256: "', 'ca_sha256: "g'), ENROL, INVALID, r"x\.invitation(:\d+)?: .*ca_sha256"),
    ("missing key", edit("x.invitation", "token:", "#token:"), ENROL, INVALID, r"x\.invitation:\d+: token: missing"),
    ("binary", put("x.invitation", bytes(range(256))), ENROL, INVALID, r"x\.invitation:\d+: not YAML"),
    ("address", edit("x.invitation", 'coordinator: "127', 'coordinator: "[127'), ENROL, INVALID, r"HOST:PORT"),
    ("directory under a file", both(), [NODE, "enrol", "{}/x.invitation", "--dir", "{}/a.csv/x"], LOCAL, r"/a\.csv"),
    # plans
    ("no file", remove("plan.yaml"), SUBMIT, INVALID, r"/plan\.yaml: "),
    ("not YAML", put("plan.yaml", "a: ["), SUBMIT, INVALID, r"/plan\.yaml:\d+: "),
    ("no name", plan(name=None), SUBMIT, INVALID, r"/plan\.yaml:\d+: name: missing"),
    ("version", plan(hanse=2), SUBMIT, INVALID, r"/plan\.yaml:\d+: hanse: "),
    ("a path", plan(data__path="/etc/passwd"), SUBMIT, INVALID, r"/plan\.yaml:\d+: data\.path: unknown key"),
    ("rate is NaN", plan(train__rate=".nan"), SUBMIT, INVALID, r"/plan\.yaml:\d+: train\.rate: "),
    ("rate is negative", plan(train__rate=-1), SUBMIT, INVALID, r"/plan\.yaml:\d+: train\.rate: "),
    ("no rounds", plan(rounds__count=0), SUBMIT, INVALID, r"/plan\.yaml:\d+: rounds\.count: "),
    ("epochs and steps", plan(train__steps=3), SUBMIT, INVALID, r"/plan\.yaml:\d+: train: say exactly one"),
    ("logistic with 3 classes", plan(data__target__classes=["0", "1", "2"]), SUBMIT, INVALID, r"/plan\.yaml:\d+: model\.kind: .*softmax"),
    ("bounds", plan(data__features__0__low=20), SUBMIT, INVALID, r"/plan\.yaml:\d+: data\.features\[0\]: a: low 20"),
    ("feature twice", plan(data__features__0__name="b"), SUBMIT, INVALID, r"/plan\.yaml:\d+: data\.features\[1\]: b stands twice"),
    ("target is a feature", plan(data__target__column="a"), SUBMIT, INVALID, r"/plan\.yaml:\d+: data\.features\[0\]: a is the target"),
    ("mlp without layers", plan(model__kind="mlp"), SUBMIT, INVALID, r"/plan\.yaml:\d+: model\.hidden: missing"),
    ("layer of nothing", plan(model__kind="mlp", model__hidden=[0]), SUBMIT, INVALID, r"/plan\.yaml:\d+: model\.hidden\[0\]: "),
    ("more sites than there are", plan(rounds__min_sites=3), SUBMIT, QUORUM, r"asks for 3 sites, 1 "),
    ("min over max", plan(rounds__min_sites=3, rounds__max_sites=2), SUBMIT, INVALID, r"/plan\.yaml:\d+: rounds\.min_sites: 3 is more"),
    ("privacy", plan(aggregation__privacy="none"), SUBMIT, INVALID, r"/plan\.yaml:\d+: aggregation.privacy: .*sealed"),
    ("too long", put("plan.yaml", plan_text() + "#" * (1 << 20)), SUBMIT, INVALID, r"/plan\.yaml has \d+ bytes"),
    # CSV
    ("no file", remove("a.csv"), CHECK, INVALID, r"a\.csv: "),
    ("empty", csv(""), CHECK, INVALID, r"a\.csv: "),
    ("header alone", csv("a,b,y\n"), CHECK, INVALID, r"no .*rows"),
    ("missing column", csv(ROWS.replace("a,b,y", "a,c,y")), CHECK, INVALID, r"a\.csv: no column 'b'"),
    ("a cell too many", csv(ROWS + "1,2,0,9\n"), CHECK, INVALID, r"a\.csv:14: .*4"),
    ("a cell too few", csv(ROWS + "1,2\n"), CHECK, INVALID, r"a\.csv:14: .*2"),
    ("no number", csv(ROWS + "1,x,0\n"), CHECK, INVALID, r"a\.csv:14: .*\bb\b"),
    ("infinite", csv(ROWS + "inf,1,0\n"), CHECK, INVALID, r"a\.csv:14: .*\ba\b"),
    ("unknown class", csv(ROWS + "1,2,7\n"), CHECK, INVALID, r"a\.csv:14: .*\by\b"),
    ("missing cell", csv(ROWS + "?,2,1\n"), CHECK, INVALID, r"a\.csv:14: .*\ba\b"),
    ("open quote", csv(ROWS + '"1,2,1\n'), CHECK, INVALID, r"a\.csv:14: "),
    ("zero byte", csv(ROWS + "1,\0,1\n"), CHECK, INVALID, r"a\.csv:14: "),
    ("cut gzip", csv(gzip.compress(ROWS.encode() * 50)[:-30]), CHECK, INVALID, r"a\.csv"),
    ("a folder", folder("a.csv"), CHECK, INVALID, r"a\.csv: not a regular file"),
    # split file
    ("split: no file", SPLIT, CHECK, INVALID, r"split\.csv: "),
    ("split: header", both(SPLIT, put("split.csv", "x,y,z\n")), CHECK, INVALID, r"split\.csv:1: .*file"),
    ("split: line", both(SPLIT, put("split.csv", "file,line,part\na.csv,two,train\n")), CHECK, INVALID, r"split\.csv:2: "),
    ("split: part", both(SPLIT, put("split.csv", "file,line,part\na.csv,2,learn\n")), CHECK, INVALID, r"split\.csv:2: .*train"),
    ("split: twice", both(SPLIT, put("split.csv", "file,line,part\na.csv,2,train\na.csv,2,test\n")), CHECK, INVALID, r"split\.csv(:3)?: "),
    ("split: beyond the end", both(SPLIT, put("split.csv", "file,line,part\na.csv,2,train\na.csv,99,test\n")), CHECK, INVALID, r"split\.csv.*99|99.*split\.csv"),
    # IDX
    ("no pictures", remove("pictures.idx"), CHECK, INVALID, r"pictures\.idx: "),
    ("magic number", put("pictures.idx", LABELS), CHECK, INVALID, r"pictures\.idx: "),
    ("picture cut", cut("pictures.idx", 40), CHECK, INVALID, r"pictures\.idx: "),
    ("picture size", put("pictures.idx", struct.pack(">IIII", 2051, 12, 4, 1) + bytes(48)), CHECK, INVALID, r"pictures\.idx: pictures of 4 x 1"),
    ("too many", put("pictures.idx", struct.pack(">IIII", 2051, 0xffffffff, 2, 2)), CHECK, INVALID, r"(pictures|labels)\.idx: "),
    ("bytes behind", append("pictures.idx", "more"), CHECK, INVALID, r"pictures\.idx: "),
    ("labels fewer", put("labels.idx", struct.pack(">II", 2049, 3) + bytes(3)), CHECK, INVALID, r"labels\.idx: 3 labels for the 12"),
    ("label beyond the classes", put("labels.idx", LABELS[:-1] + b"\7"), CHECK, INVALID, r"labels\.idx: .*7"),
    ("no labels", edit(NY, ', "labels": "../labels.idx"', ""), CHECK, INVALID, r"labels"),
    # start model
    ("model: no file", both(), START, INVALID, r"start\.safetensors: "),
    ("model: empty", put("start.safetensors", ""), START, INVALID, r"start\.safetensors: "),
    ("model: header too long", put("start.safetensors", struct.pack("<Q", 1 << 60)), START, INVALID, r"start\.safetensors: "),
    ("model: no JSON", safetensors(b"{"), START, INVALID, r"start\.safetensors: "),
    ("model: other tensors", safetensors({"w": tensor()}, bytes(4)), START, INVALID, r"start\.safetensors does not fit the plan.*linear"),
    ("model: other shape", safetensors(dict(TOY, **{"linear.weight": tensor(shape=(2, 1), offsets=(0, 8))}), FLOATS), START, INVALID,
     r"start\.safetensors does not fit the plan.*linear\.weight"),
    ("model: doubles", safetensors({"linear.weight": tensor("F64", (1,), (0, 8))}, bytes(8)), START, INVALID, r"start\.safetensors: .*(F32|F64)"),
    ("model: gap", safetensors({"linear.weight": tensor(shape=(1, 2), offsets=(4, 12)), "linear.bias": tensor(offsets=(12, 16))}, bytes(16)),
     START, INVALID, r"start\.safetensors: "),
    ("model: cut", safetensors(TOY, FLOATS[:-2]), START, INVALID, r"start\.safetensors: "),
    ("model: NaN", safetensors(TOY, struct.pack("<3f", 1, float("nan"), 3)), START, INVALID,
     r"start\.safetensors: value 1 of tensor linear\.weight is not finite"),
    ("model: tensor twice", safetensors(b'{"w":%s,"w":%s}' % ((json.dumps(tensor()).encode(),) * 2), bytes(4)), START, INVALID,
     r"start\.safetensors: "),
    # runs, hashes, outputs
    ("unknown run", both(), at(COORDINATOR, "show", NO_RUN), INVALID, NO_RUN[:8]),
    ("run is no hex", both(), at(COORDINATOR, "show", "first"), INVALID, r"first"),
    ("log of an unknown run", both(), at(COORDINATOR, "log", NO_RUN), INVALID, NO_RUN[:8]),
    ("round of an unknown run", both(), at(COORDINATOR, "round", NO_RUN), INVALID, NO_RUN[:8]),
    ("stop of an unknown run", both(), at(COORDINATOR, "stop", NO_RUN), INVALID, NO_RUN[:8]),
    ("no model yet", both(), at(COORDINATOR, "export", "RUN", "-o", "{}/out"), INVALID, r"no model yet.*--round 0"),
    ("no such round", both(), at(COORDINATOR, "export", "RUN", "-o", "{}/out", "--round", "7"), INVALID, r"round 7 "),
    ("output under a file", both(), at(COORDINATOR, "export", "RUN", "-o", "{}/a.csv/out", "--round", "0"), LOCAL, r"a\.csv/out"),
    ("output nowhere", both(), at(COORDINATOR, "export", "RUN", "-o", "{}/none/out", "--round", "0"), LOCAL, r"none/out: No such file"),
    ("model spoilt", lambda s: [append(os.path.relpath(os.path.join(d, n), s), "x")(s) for d, _, names in
                                os.walk(os.path.join(s, "coordinator", "models")) for n in names],
     at(COORDINATOR, "export", "RUN", "-o", "{}/out", "--round", "0"), LOCAL, r"0\.safetensors is not the model"),
    ("unknown site", both(), at(COORDINATOR, "revoke", "nobody"), INVALID, r"nobody"),
    ("site enrolled already", both(), at(COORDINATOR, "invite", "a", "-o", "{}/out"), INVALID, r"\ba\b"),
    ("coordinator's own name", both(), at(COORDINATOR, "invite", "coordinator"), INVALID, r"coordinator's own name"),
    ("name with escapes", both(), at(COORDINATOR, "invite", "a\x1b[31m"), INVALID, r"name"),
    ("invitation expires at once", both(), at(COORDINATOR, "invite", "b", "--expires", "1s"), INVALID, r"--expires: 1m to 365d"),
    ("init twice", both(), at(COORDINATOR, "init", "--name", "X", "--address", "h:1"), INVALID, r"exists.*choose another"),
    ("init under a file", both(), [COORDINATOR, "init", "--name", "X", "--address", "h:1", "--dir", "{}/a.csv/c"], LOCAL, r"/a\.csv"),
    ("init without an address", both(), [COORDINATOR, "init", "--name", "X", "--dir", "{}/c"], INVALID, r"--address"),
    ("init with a bad address", both(), [COORDINATOR, "init", "--name", "X", "--address", "h", "--dir", "{}/c"], INVALID, r"--address: .*HOST:PORT"),
    ("init with a bad name", both(), [COORDINATOR, "init", "--name", "", "--address", "h:1", "--dir", "{}/c"], INVALID, r"--name"),
    ("token used for another plan", plan(name="other"), SUBMIT + ["--token", "t"], INVALID, r"--token t was used for another plan"),
    ("token too long", plan(), SUBMIT + ["--token", "t" * 500], INVALID, r"--token"),
    ("run of a site", both(), at(NODE, "show", NO_RUN), INVALID, NO_RUN[:8]),
    ("baseline of an unknown run", both(), at(NODE, "baseline", NO_RUN), INVALID, NO_RUN[:8]),
    # command line
    ("no command", both(), [NODE], INVALID, r"a command is missing"),
    ("unknown command", both(), [COORDINATOR, "serf"], INVALID, r"unknown command serf"),
    ("unknown option", both(), at(NODE, "check", "--fast"), INVALID, r"--fast"),
    ("option without value", both(), [COORDINATOR, "list", "--dir"], INVALID, r"--dir"),
    ("no directory", both(), [COORDINATOR, "list"], INVALID, r"--dir DIR is missing"),
    ("too few arguments", both(), at(COORDINATOR, "show"), INVALID, r"an argument is missing: RUN"),
    ("too many arguments", both(), at(COORDINATOR, "list", "all"), INVALID, r"one argument too many: all"),
    ("unknown format", both(), at(COORDINATOR, "list", "--format", "xml"), INVALID, r"--format is text or json, not xml"),
    ("unknown level", both(), at(COORDINATOR, "list", "--log-level", "loud"), INVALID, r"--log-level .*loud"),
    ("half an accept", both(), at(NODE, "accept", NO_RUN), INVALID, r"unknown command accept"),
    ("wait without once", both(), at(NODE, "run", "--wait", "3s"), INVALID, r"--wait goes with --once"),
    ("wait for what", both(), at(NODE, "run", "--once", "--wait", "soon"), INVALID, r"--wait: .*soon"),
    ("export to nowhere", both(), at(COORDINATOR, "export", "RUN"), INVALID, r"-o FILE"),
    ("cohort to nowhere", both(), [NODE, "cohort"], INVALID, r"--out DIR is missing"),
    ("cohort's seed", both(), [NODE, "cohort", "--out", "{}/cohort", "--seed", "-1"], INVALID, r"--seed"),
    ("not a coordinator's directory", both(), [COORDINATOR, "list", "--dir", "{}/a.csv"], LOCAL, r"a\.csv/state\.db: Not a directory"),
]


class BadInput(consortium.TestCase):
    def sandbox(self, c, name):
        """A copy of everything, without the service's socket and lock."""
        path = c.path("case-" + name)
        os.mkdir(path)
        for part in ("coordinator", "a"):
            shutil.copytree(c.path(part), os.path.join(path, part), ignore=shutil.ignore_patterns("*.sock", "lock"))
        for part in ("a.csv", "x.invitation", "pictures.idx", "labels.idx"):
            shutil.copy(c.path(part), path)
        put("plan.yaml", plan_text())(path)
        return path

    def snapshot(self, path):
        """Every file but locks and what SQLite keeps beside a database."""
        found = {}
        for folder_, folders, names in os.walk(path):
            for name in folders:
                found[os.path.relpath(os.path.join(folder_, name), path)] = "folder"
            for name in names:
                if name == "lock" or name.startswith("state.db"):
                    continue
                with open(os.path.join(folder_, name), "rb") as file:
                    found[os.path.relpath(os.path.join(folder_, name), path)] = hashlib.sha256(file.read()).hexdigest()
        return found

    def test_cases(self):
        c = self.consortium()
        c.write("a.csv", ROWS)
        c.enrol("a")
        for name, content in (("pictures.idx", PICTURES), ("labels.idx", LABELS)):
            with open(c.path(name), "wb") as file:
                file.write(content)
        c.configure("a", "toy", [{"path": "../a.csv"}])
        edit("a/node.yaml", "data: {", 'data: {"pictures": {"files": [{"path": "../pictures.idx", "labels": "../labels.idx"}]}, ')(c.dir)
        runs = [c.submit(plan_text(), "--token", "t"), c.submit(IDX_PLAN)]
        c.accept(runs[0])
        c.invite("x")
        self.assertGreater(len(CASES), 60)
        for number, (name, change, args, code, words) in enumerate(CASES):
            with self.subTest(name, number=number):
                path = self.sandbox(c, str(number))
                change(path)
                before = self.snapshot(path)
                args = [runs[0] if arg == "RUN" else arg.replace("{}", path) for arg in args]
                result = consortium.run(*args, code=None, timeout=20, env=SANITIZED)
                self.check(result, code, words)
                self.assertEqual(self.changes(before, self.snapshot(path)), {})
                shutil.rmtree(path)

    def changes(self, before, after):
        """What is new or different; an interrupted enrolment may keep its keys, for the next try."""
        different = {name: (before.get(name), after.get(name)) for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        return {name: change for name, change in different.items() if name not in ("x", "x/tls.key", "x/sign.key")}

    def check(self, result, code, words):
        self.assertEqual(result.code, code, result)
        errors = [line for line in result.err.splitlines() if line.startswith(("hanse-node: ", "hanse-coordinator: "))]
        self.assertEqual(len(errors), 1, result)
        self.assertRegex(errors[0], words)
        self.assertEqual(result.err.splitlines()[-1], errors[0])
        self.assertTrue(all(ord(char) >= 32 or char == "\n" for char in result.err), result)
        for line in result.err.splitlines()[:-1]:  # besides it, log lines alone
            self.assertRegex(line, r"^(\d{4}-\d\d-\d\dT[\d:.]+Z (debug|info|warn|error) |next round|going on)")
        self.assertNotRegex(result.err, r"Sanitizer|runtime error|Assertion|Traceback|core dumped")


if __name__ == "__main__":
    unittest.main()
