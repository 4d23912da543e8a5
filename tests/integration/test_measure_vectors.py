#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Digests that public tools and hardware gave, from the folder GMEMD_VECTORS; 77 without it.

And more that the same tools publish for an image that is in the folder: of VMMs that it has no vectors of.
"""
import glob
import hashlib
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


# The image of virtee/sev-snp-measure, with /dev/null as kernel and initrd and an empty command line.
IMAGE = os.path.join(VECTORS, "fixtures", "ovmf_AmdSev_suffix.bin")
IMAGE_SHA256 = "8f765dfabc127fc0a938a0744a3103ec15864d7d794eb4c398aa976b6d6ab16c"
# (VMM, vCPUs, guest features, RDX): its tests, those of virtee/sev, and ports of both. The two do not agree on what
# RDX is on EC2: 0 of old, 0x600 since a report of hardware had that.
PUBLISHED = {
    ("ec2", 1, 0x1, 0):
        "7d3756157c805bf6adf617064c8552e8c1688fa1c8756f11cbf56ba5d25c9270fb69c0505c1cbe1c5c66c0e34c6ed3be",
    ("ec2", 1, 0x21, 0):
        "6ae80856486b1396af8c82a40351d6ed76a20c785e9c7fa4ffa27c22d5d6313b4b3b458cd3c9968e6f89fb5d8450d7a6",
    ("ec2", 1, 0x1, 0x600):
        "0883bd0eeb716e65b7b977a321c278d1e51b33b5c655fab985443bbcc65c086b9c15e8a0bd8811050dec7e24964e5056",
    ("ec2", 1, 0x21, 0x600):
        "0ce9ccc06bab55eebe8abc234f3df6514883977a68a591b71052498ab52b2f1aa415db338033946ef93aa8278c0d67fb",
    ("gce", 1, 0x1, 0x600):
        "5da7106cf14cf46b1725ebab123eb9e53bd46a1e9f400cd0c08e7827b04b688ea8b4e403c8404efed4397ea5d5d0722e",
    ("gce", 4, 0x1, 0x600):
        "5c5debf100fc339f90276e761ee1f1658d08922c3b20e2a2e6c7a6c3370b2452a15a00eae11886a93d6fd1e7ab81e29d",
}


class Published(unittest.TestCase):
    def test_guests_of_other_vmms(self):
        try:
            with open(IMAGE, "rb") as file:
                found = hashlib.sha256(file.read()).hexdigest()
        except OSError as error:
            self.skipTest(str(error))
        if found != IMAGE_SHA256:
            self.skipTest(f"{IMAGE} is another image")
        for (vmm, vcpus, features, rdx), digest in PUBLISHED.items():
            with self.subTest(vmm=vmm, vcpus=vcpus, features=features, rdx=rdx):
                done = subprocess.run([GMEMCTL, "measure", "snp", "--ovmf", IMAGE, "--vmm", vmm, "--vcpus", str(vcpus),
                                       "--rdx", hex(rdx), "--guest-features", hex(features), "--kernel", "/dev/null",
                                       "--initrd", "/dev/null", "--append", ""], text=True, check=False,
                                      capture_output=True, timeout=60)
                self.assertEqual((done.returncode, done.stdout.strip()), (0, digest), done.stderr)


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
