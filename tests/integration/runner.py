# SPDX-License-Identifier: Apache-2.0
"""gmemctl run in tests: its command, what both say, and an end to both."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

import harness
from harness import gmem

NOBODY = 65534


def as_user(uid):
    """The words before a command that make another user of it, without any rights."""
    return ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups",
            "--bounding-set=-all", "--inh-caps=-all"]


def skip_unless_it_can_run(user):
    """A build folder of root's own is closed to others."""
    done = subprocess.run([*user, harness.program("gmemctl"), "--version"], capture_output=True)
    if done.returncode != 0:
        raise unittest.SkipTest(f"another user cannot run gmemctl here: {done.stderr.decode()}")


class Run:
    """One `gmemctl run`. Its command's output and its own complaints are in files.

    @wrapper: words before gmemctl; @before: options before "run".
    """

    def __init__(self, folder, words, address, wrapper=(), before=(), stdin=subprocess.DEVNULL,
                 stderr=None):
        self.out_path = tempfile.mktemp(prefix="out-", dir=folder)
        self.err_path = tempfile.mktemp(prefix="err-", dir=folder)
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(
                [*wrapper, harness.program("gmemctl"), "--address", address, *before, "run",
                 *map(str, words)], stdin=stdin, stdout=out, stderr=stderr or err)
        self.pid = self.process.pid

    @staticmethod
    def _read(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def out(self):
        return self._read(self.out_path)

    def err(self):
        return self._read(self.err_path)

    def wait(self, timeout=harness.PATIENCE):
        """The exit status."""
        return self.process.wait(timeout)

    def wait_out(self, pattern, timeout=harness.PATIENCE):
        """The first match of the pattern in what the command says."""
        def found():
            return re.search(pattern, self.out(), re.MULTILINE)
        if harness.wait_until(lambda: found() or self.process.poll() is not None, timeout) is None \
                or not found():
            raise AssertionError(f"no {pattern!r} in {self.out()!r}, {self.err()!r}")
        return found()

    def wait_command(self):
        """The pid of the command, once it runs."""
        harness.wait_until(lambda: "runs on domain" in self.err() or self.process.poll() is not None)
        match = re.search(r"pid (\d+) runs on domain", self.err())
        if not match:
            raise AssertionError(f"no command: {self.err()!r}")
        return int(match.group(1))

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class RunCase(harness.DaemonCase):
    """Each test has a folder for tokens, and what it keeps there is ended with it."""

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="gmemctl-run-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.tokens = os.path.join(self.folder, "tokens")
        self.addCleanup(self.destroy_all)

    def start(self, *words, **more):
        """`gmemctl run` with --token-dir and the words."""
        more.setdefault("address", self.daemon.socket("acme"))
        run = Run(self.folder, ["--token-dir", self.tokens, *words], **more)
        self.addCleanup(run.kill)
        return run

    def keep(self, *command, name="vm1", size="16M", options=(), **more):
        return self.start("--keep-domain", name, "--size", size, *options, "--", *command, **more)

    def attach(self, *command, name="vm1", options=(), **more):
        return self.start("--attach", name, *options, "--", *command, **more)

    def token_path(self, name="vm1"):
        return os.path.join(self.tokens, name + ".token")

    def token(self, name="vm1"):
        """(id, token) as they were kept."""
        with open(self.token_path(name), encoding="ascii") as file:
            number, token = file.read().split()
        return int(number, 16), bytes.fromhex(token)

    def domains(self):
        """The tenant's domains by name."""
        return {d.name.decode(): d for d in self.daemon.admin.list_domains("acme")}

    def destroy_all(self):
        for name, domain in self.domains().items():
            try:
                self.daemon.admin.evict(domain.domain)
            except gmem.Refused as refused:
                raise AssertionError(f"{name} stays") from refused


def is_alive(pid):
    return harness.process_stat(pid) is not None


def end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def last_json(text):
    return json.loads(text.strip().splitlines()[-1])
