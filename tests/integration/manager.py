# SPDX-License-Identifier: Apache-2.0
"""A service manager with an fd store, as small as it can be: runs gmemd --store fdstore for tests.

What gmemd gives it (FDSTORE=1) it gives to the next gmemd, with the listening sockets. It starts one
only when it is told to, so that a test can look at what is left between two.
"""
import array
import ctypes
import os
import shutil
import signal
import socket
import tempfile
import threading
import time

import harness
from harness import gmem

FDS = 253
PR_SET_CHILD_SUBREAPER = 36


class Manager:
    def __init__(self, tenants=("acme",), args=(), env=None, sandbox="enforce", program="gmemd"):
        self.program = program
        self.tenants = tenants
        self.args = list(args)
        self.env = env or {}
        self.sandbox = "off" if harness.SANITIZED else sandbox
        self.pid = 0
        self.store = []  # (name, fd), in the order of coming
        self.messages = []
        self._seen = threading.Condition()

    def __enter__(self):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.folder = tempfile.mkdtemp(prefix="gmemd-it-")
        os.chmod(self.folder, 0o755)
        self.log_file = open(self.path("log"), "w+b")
        self.listening = {name: self._listen(name) for name in (*self.tenants, "admin")}
        for name in self.tenants:
            with open(self.path(name + ".policy"), "w", encoding="utf-8") as file:
                file.write("[X-Gmemd]\n")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path("notify"))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        if self.pid:
            self.kill()
        self._tell_self("X_END=1")
        self._thread.join()
        self._socket.close()
        for end in self.listening.values():
            end.close()
        for _, fd in self.store:
            os.close(fd)
        if kind is not None:
            print(f"--- log of gmemd\n{self.log()}---")
        self.log_file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def socket(self, tenant):
        return self.path(tenant + ".sock")

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def _listen(self, name):
        end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        end.bind(self.socket(name))
        end.listen(64)
        return end

    # What gmemd says.

    def _read(self):
        while True:
            text, control, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(4 * FDS),
                                                       socket.MSG_CMSG_CLOEXEC)
            fds = array.array("i")
            for level, kind, data in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
            message = text.decode()
            with self._seen:
                self._take(dict(line.split("=", 1) for line in message.splitlines()), list(fds))
                self.messages.append(message)
                self._seen.notify_all()
            if message == "X_END=1":
                return

    def _take(self, fields, fds):
        if fields.get("FDSTORE") == "1":
            self.store += [(fields["FDNAME"], fd) for fd in fds]
            fds = []
        if fields.get("FDSTOREREMOVE") == "1":
            for name, fd in self.store:
                if name == fields["FDNAME"]:
                    os.close(fd)
            self.store = [entry for entry in self.store if entry[0] != fields["FDNAME"]]
        for fd in fds:
            os.close(fd)

    def _tell_self(self, message):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(message.encode(), self.path("notify"))

    def wait_message(self, line, since=0, timeout=10.0):
        def there():
            return any(line in message.split("\n") for message in self.messages[since:])
        with self._seen:
            if not self._seen.wait_for(lambda: there() or self._has_ended(), timeout) or not there():
                raise AssertionError(f"gmemd does not say {line}\n{self.log()}")

    def _has_ended(self):
        return harness.process_stat(self.pid) is None

    def stored(self, prefix=""):
        """Names in the store, once everything that was sent has been read."""
        self._drain()
        return sorted(name for name, _ in self.store if name.startswith(prefix))

    def _drain(self):
        mark = f"X_MARK={time.monotonic_ns()}"
        self._tell_self(mark)
        with self._seen:
            assert self._seen.wait_for(lambda: mark in self.messages, 10.0)

    # Lives of gmemd.

    def start(self, wait=True):
        self._drain()
        since = len(self.messages)
        # Units, if any, are those that a test puts there, and never the host's.
        command = [harness.program(self.program), "--store", "fdstore", "--unit-root", self.folder,
                   *self.args,
                   "--sandbox", self.sandbox]
        for name in self.tenants:
            command += ["--policy", f"{name}={self.path(name + '.policy')}"]
        inherited = [(name, end.fileno()) for name, end in self.listening.items()] + self.store
        self.pid = os.fork()
        if self.pid == 0:
            self._become(command, inherited)
        if wait:
            self.wait_message("READY=1", since)
        return self.pid

    def _become(self, command, inherited):
        try:
            os.setpgid(0, 0)
            null, log = os.open("/dev/null", os.O_RDONLY), self.log_file.fileno()
            first = 3 + len(inherited)
            copies = [os.dup(fd) for _, fd in inherited]
            # Out of the way of the numbers that they are going to have.
            while copies and min(copies) < first:
                copies = [os.dup(fd) for fd in copies]
            for number, fd in ((0, os.dup(null)), (1, os.dup(log)), (2, os.dup(log))):
                os.dup2(fd, number)
            for number, fd in enumerate(copies, start=3):
                os.dup2(fd, number)
            os.closerange(first, 4096)
            names = ":".join(name for name, _ in inherited)
            env = dict(os.environ, NOTIFY_SOCKET=self.path("notify"), LISTEN_PID=str(os.getpid()),
                       LISTEN_FDS=str(len(inherited)), LISTEN_FDNAMES=names, **self.env)
            os.execve(command[0], command, env)
        finally:
            os._exit(127)

    def kill(self, signo=signal.SIGKILL):
        """Ends gmemd and its workers; its exit status, negative for a signal."""
        os.kill(self.pid, signo)
        return self.reap()

    def reap(self):
        """Waits for gmemd to end, and, as a service manager does, for all that it has left."""
        _, status = os.waitpid(self.pid, 0)
        try:
            while True:
                os.killpg(self.pid, signal.SIGKILL)
                os.waitpid(-self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def restart(self, signo=signal.SIGKILL):
        status = self.kill(signo)
        self.start()
        return status

    def client(self, tenant="acme", **options):
        return gmem.Client(self.socket(tenant), **options)
