#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Rules of the kernel for launches, each broken by t_launch_rules on every version of the model's kernel: the client
is told the same on all of them. The rows, with the kernel's functions, are in launch_rules/."""
import os
import subprocess

import harness
from test_launch import SLOTS, VERSIONS, Launch, versions_of

PROGRAM = os.path.join(harness.BUILD, "tests", "t_launch_rules")


OWN = ("sev", "sev-es")


class Rules(Launch):
    def daemon(self, policy=""):
        """As a worker that launches makes files of the model, the filter can only log."""
        if not policy:
            return super().daemon()
        return harness.Daemon({"acme": SLOTS + policy}, env=self.env,
                              args=["--cgroup-root", self.machine + ".d", "--sandbox", "log"])

    def answers(self, version, kind):
        """{rule: what the client is told}; a gmemd and a machine that nothing is left on."""
        # VMs end a moment after their domains: more ids than any policy gives out.
        self.new_machine(version, "sev-asids=60", "sev-es-asids=60", "tdx-keys=60")
        with self.daemon("SevSlots=8\nMemlockMax=1M\n" if kind in OWN else "") as daemon:
            self.need(daemon, kind)
            done = subprocess.run([PROGRAM, daemon.socket("acme"), kind], text=True, capture_output=True, check=False,
                                  env={**os.environ, "GM_PLATFORM": self.machine}, timeout=60)
            wrong = [line for line in done.stdout.splitlines() if line.endswith(" wanted)") or " (not explained)" in line
                     or line.endswith("firmware's)")]
            self.assertEqual((done.returncode, wrong, done.stderr), (0, [], ""))
            self.assert_nothing_is_left(daemon)
        lines = [line.split(": ", 3) for line in done.stdout.splitlines()]
        return {name: told for _, name, told, _ in lines}

    def test_a_broken_rule_is_the_same_answer_on_every_kernel(self):
        for kind in ("snp", "tdx", *OWN):
            first = None
            for version in versions_of(kind):
                with self.subTest(kind=kind, version=version):
                    answers = self.answers(version, kind)
                    first = first or answers
                    self.assertEqual(answers, first)
            print(f"{kind}: {len(first)} rules, {len(versions_of(kind))} of {len(VERSIONS)} versions")


if __name__ == "__main__":
    harness.main()
