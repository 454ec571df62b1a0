"""What heart, mnist, accuracy, rounds and load share: where things are, and tables in the documentation."""
import os
import re
import resource
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ.setdefault("HANSE_BIN", os.path.join(ROOT, "build", "release"))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
sys.dont_write_bytecode = True
SPARE = 200  # descriptors of a process beside its connections


def data_dir(name):
    """$HANSE_DATA_DIR/name; without it there is nothing to measure."""
    path = os.path.join(os.environ.get("HANSE_DATA_DIR", ""), name)
    if not os.environ.get("HANSE_DATA_DIR") or not os.path.isdir(path):
        sys.exit("%s: no such directory; HANSE_DATA_DIR must name the data sets (docs/datasets.md)" % path)
    return path


HOSPITALS = ["cleveland", "hungarian", "switzerland", "va"]


def enrol_hospitals(c):
    """The four sites of the heart disease plans, with their files."""
    data = data_dir("heart-disease")
    for site in HOSPITALS:
        c.enrol(site)
        c.configure(site, "heart-disease", [{"path": os.path.join(data, "processed.%s.data" % site), "part": "split"}],
                    split=os.path.join(data, "split.csv"), missing=["?", ""])


def enrol_digits(c, sites, how, value, seed):
    """Sites with MNIST's training pictures parted among them (`partition`), and its test pictures evenly."""
    data = data_dir("mnist")
    tool = os.path.join(os.environ["HANSE_BIN"], "tests", "partition")
    for part, kind, parameter in (("train", how, value), ("t10k", "iid", "0")):
        subprocess.run([tool, kind, parameter, str(sites), str(seed), os.path.join(data, part + "-images-idx3-ubyte.gz"),
                        os.path.join(data, part + "-labels-idx1-ubyte.gz"), c.path(part)], check=True, stdout=subprocess.DEVNULL)
    for i in range(sites):
        site = "site%d" % i
        c.enrol(site)
        c.configure(site, "mnist", [{"path": c.path("%s-%d-images.idx" % (file, i)), "labels": c.path("%s-%d-labels.idx" % (file, i)), "part": part}
                                    for file, part in (("train", "train"), ("t10k", "test"))])


def plan_text(name, **changes):
    """A plan of configs/plans with the values of some keys replaced; the key must stand in it just once."""
    with open(os.path.join(ROOT, "configs", "plans", name), encoding="utf-8") as file:
        text = file.read()
    for key, value in changes.items():
        text, found = re.subn(r"(?<=[ {])%s: [^,}\n#]+" % key, "%s: %s" % (key, value), text)
        if found != 1:
            sys.exit("%s: the key %s must be there once" % (name, key))
    return text


def raise_files_limit(want):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < want:
        sys.exit("this needs %d open files, the hard limit is %d: raise it (ulimit -Hn) or take fewer sites" % (want, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, want), hard))


def set_limits(c, **limits):
    path = os.path.join(c.home, "coordinator.yaml")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for key, value in limits.items():
        text, found = re.subn(r"(?m)^  %s: \S+" % key, "  %s: %d" % (key, value), text)
        if found != 1:
            sys.exit("coordinator.yaml: %s must be there once" % key)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def write_table(marker, lines, files):
    """Put the lines between <!-- marker --> and <!-- /marker --> of every file that has both."""
    begin, end = "<!-- %s -->\n" % marker, "<!-- /%s -->" % marker
    for name in files:
        path = os.path.join(ROOT, name)
        with open(path, encoding="utf-8") as file:
            head, found, tail = file.read().partition(begin)
        if not found or end not in tail:
            continue
        with open(path, "w", encoding="utf-8") as file:
            file.write(head + begin + "\n".join(lines) + "\n" + tail[tail.index(end):])
        print("written into " + name)


def decimals(value, digits=3):
    """0.7953 -> .795"""
    return ("%.*f" % (digits, value)).replace("0.", ".", 1)
