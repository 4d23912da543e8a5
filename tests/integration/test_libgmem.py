#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The C library against the real daemon: runs t_libgmem beside one."""
import os
import subprocess

import harness


class LibGmem(harness.DaemonCase):
    TENANTS = {"acme": "MemoryMax=8G\nRegionMax=1G\n"}

    def test_libgmem_does_on_the_real_daemon_what_its_header_says(self):
        env = dict(os.environ, GMEM_TEST_ACME=self.daemon.socket("acme"),
                   GMEM_TEST_ADMIN=self.daemon.path("admin"))
        done = subprocess.run([os.path.join(harness.BUILD, "tests", "t_libgmem")], env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    harness.main()
