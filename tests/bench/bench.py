"""What heart, mnist, rounds and load share: where things are, and tables in the documentation."""
import os
import re
import resource
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
