"""What `cmake --install` puts down runs from there."""
import os
import shutil
import tempfile
import unittest

import consortium
from consortium import run


@unittest.skipUnless(shutil.which("cmake") and os.path.exists(os.path.join(consortium.HANSE_BIN, "cmake_install.cmake")), "no build tree")
class Install(unittest.TestCase):
    def test_install(self):
        with tempfile.TemporaryDirectory(prefix="hanse-e2e-") as prefix:
            run("cmake", "--install", consortium.HANSE_BIN, "--prefix", prefix)
            for name in ("hanse-node", "hanse-coordinator"):
                program = os.path.join(prefix, "bin", name)
                self.assertRegex(run(program, "--version").out, r"^%s \d+\.\d+\.\d+\n$" % name)
                overview = run(program, "--help").out
                commands = [line.split("  ")[1] for line in overview.split("commands:\n")[1].split("\n\n")[0].splitlines()]
                self.assertGreater(len(commands), 5)
                for command in commands:
                    text = run(program, *command.split(), "--help").out
                    self.assertTrue(text.startswith("usage: %s %s" % (name, command)), text)
                    self.assertIn("--dir DIR", text)


if __name__ == "__main__":
    unittest.main()
