#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Digests that public tools and hardware gave, from the folder GMEMD_VECTORS; 77 without it."""
import glob
import json
import os
import subprocess
import sys
import unittest

GMEMCTL = os.path.join(os.environ["GMEMD_BUILD"], "bin", "gmemctl")
VECTORS = os.environ.get("GMEMD_VECTORS", "")
KINDS = ("snp", "tdx", "sev")


def kind_of(path):
    return os.path.basename(path).split("_")[0]


class Vectors(unittest.TestCase):
    def measure(self, path, thing):
        return subprocess.run([GMEMCTL, "measure", kind_of(path), "--pages", "-"], text=True, check=False,
                              input=json.dumps(thing), capture_output=True, cwd=VECTORS, timeout=300)

    def check(self, path, thing):
        done = self.measure(path, thing)
        if thing.get("expect_error") or thing["name"].startswith("neg_"):
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, f"^gmemctl: measure: {thing['name']}: .+: .+\n$")
        else:
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(done.stdout, thing["expected"] + "\n")

    def test_every_vector_of_the_folder(self):
        n = 0
        for path in sorted(glob.glob(os.path.join(VECTORS, "*.json"))):
            self.assertIn(kind_of(path), KINDS, path)
            with open(path, encoding="utf-8") as file:
                things = json.load(file)
            for thing in things:
                with self.subTest(file=os.path.basename(path), name=thing["name"]):
                    self.check(path, thing)
                n += 1
            listed = subprocess.run([GMEMCTL, "measure", kind_of(path), "--pages", path], text=True,
                                    capture_output=True, check=False, timeout=300)
            self.assertEqual(listed.stdout.split(), [thing["expected"] or "-" for thing in things])
        self.assertGreater(n, 0, f"no vectors in {VECTORS}")
        print(n, "vectors in", VECTORS)


if __name__ == "__main__":
    if not os.path.isdir(VECTORS):
        print("skipped: GMEMD_VECTORS names no folder of launch-measurement vectors; "
              "the project's own are in t_launch_digest, t_vmsa, t_measure_mac and test_measure.py")
        sys.exit(77)
    unittest.main(verbosity=2)
