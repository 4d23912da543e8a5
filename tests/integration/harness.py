# SPDX-License-Identifier: Apache-2.0
"""Runs the real gmemd for tests and sees to it that nothing is left of it.

$GMEMD_BUILD is the build folder, $GMEMD_SANITIZE says which sanitizers it was built with.
Every test of a DaemonCase must leave the books at zero and the daemon's fds as they were.
"""
import atexit
import contextlib
import fcntl
import functools
import gc
import os
import pickle
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest

BUILD = os.environ["GMEMD_BUILD"]
SANITIZED = bool(os.environ.get("GMEMD_SANITIZE"))
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path[:0] = [os.path.join(SOURCE, "client", "python"), os.path.join(BUILD, "python")]

import gmem  # noqa: E402  (needs the path above)

pb = gmem.pb
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
# A region that takes long to allocate, on any host that can run this.
BIG = min(4 * GIB, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 // MIB * MIB)
# A domain that has ended gives everything back within this; sanitizers and the test machine are slower.
AT_ONCE = 1.0 if SANITIZED or "GMEMD_VM" in os.environ else 0.1
PATIENCE = 10.0
BAD_WORDS = re.compile(r"not zero|Sanitizer|runtime error|assert", re.IGNORECASE)


# What tests run, or have read, as a user without rights; gmemctl looks for gmemd beside itself.
LENT = ("bin/gmemctl", "bin/gmemd", "bin/tinyvmm", "lib/libgmem.so.0", "tests/qemu_guest.bin")


@functools.cache
def lent_build():
    """The build folder, or a copy of what others need of it if it is closed to them, as one below
    /root is. The programs look for libgmem in ../lib, so the copy has the same shape."""
    folder = os.path.realpath(BUILD)
    while os.stat(folder).st_mode & 1 and folder != "/":
        folder = os.path.dirname(folder)
    if folder == "/":
        return BUILD
    copy = tempfile.mkdtemp(prefix="gmemd-it-")
    atexit.register(shutil.rmtree, copy)
    present = [name for name in LENT if os.path.exists(os.path.join(BUILD, name))]
    for name in present:
        subprocess.run(["install", "-D", "-m", "755", os.path.join(BUILD, name),
                        os.path.join(copy, name)], check=True)
    os.chmod(copy, 0o755)
    return copy


def program(name):
    return os.path.join(BUILD if name == "gmemd" else lent_build(), "bin", name)


def wait_until(condition, timeout=PATIENCE, step=0.005):
    """Seconds until condition() is true, or None when it is not within the timeout."""
    start = time.monotonic()
    while True:
        if condition():
            return time.monotonic() - start
        if time.monotonic() - start > timeout:
            return None
        time.sleep(step)


def shared_memory():
    """Bytes of memfds and tmpfs on the whole host."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(re.search(r"Shmem:\s+(\d+) kB", file.read()).group(1)) * KIB


def process_stat(pid):
    """(name, parent, start time) of a process, or None when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            name, rest = file.read().split("(", 1)[1].rsplit(") ", 1)
    except OSError:
        return None
    fields = rest.split()
    return None if fields[0] in "ZX" else (name, int(fields[1]), int(fields[19]))


def descendants(pid):
    """{pid: (name, parent, start time)} of all processes below one."""
    table = {int(p): process_stat(p) for p in os.listdir("/proc") if p.isdigit()}
    found, front = {}, {pid}
    while front:
        front = {p for p, stat in table.items() if stat and stat[1] in front and p not in found}
        found |= {p: table[p] for p in front}
    return found


class NotifySocket:
    """The service manager's end of NOTIFY_SOCKET: collects what the daemon says."""

    def __init__(self, path):
        self.messages = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while True:
            message = self._socket.recv(4096)
            if not message:
                return
            self.messages.append(message.decode())

    def seen(self, line):
        return any(line in message.split("\n") for message in self.messages)

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


def holdings(account):
    """What is somebody's. A worker is the daemon's own, and its process ends a moment later."""
    return {name: n for name, n in gmem.usage(account).items() if name != "workers"}


def plain_kinds(client):
    """Kinds that can be used here and whose memory is all there when a region is granted."""
    return [backend.kind.decode() for backend in client.host().backends
            if backend.usable and b"private" not in backend.capabilities]


class Daemon:
    """A gmemd of its own, in a folder of its own. Leaving the `with` block stops and checks it."""

    def __init__(self, tenants=None, args=(), env=None, listen=True, wrapper=(), pass_fds=(),
                 exit_status=0):
        self.tenants = {"acme": ""} if tenants is None else tenants
        self.args = list(args)
        self.env = env or {}
        self.listen = listen
        self.wrapper = list(wrapper)
        self.pass_fds = pass_fds
        self.exit_status = exit_status
        self.process = None
        self.admin = None

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="gmemd-it-")
        os.chmod(self.folder, 0o755)
        self.notify = NotifySocket(self.path("notify"))
        self.log_file = open(self.path("log"), "w+b")
        try:
            self._start()
        except BaseException:
            sys.stderr.write(self.log())
            self._kill()
            self._forget()
            raise
        return self

    def _start(self):
        command = [*self.wrapper, program("gmemd"), "--admin", self.path("admin")]
        for name, policy in self.tenants.items():
            self.write_policy(name, policy)
            if self.listen:
                command += ["--listen", f"{name}={self.socket(name)}"]
            command += ["--policy", f"{name}={self.path(name + '.policy')}"]
        if "--sandbox" not in self.args:
            command += ["--sandbox", "off" if SANITIZED else "enforce"]
        env = dict(os.environ, NOTIFY_SOCKET=self.path("notify"), **self.env)
        self.process = subprocess.Popen(command + self.args, stdin=subprocess.DEVNULL,
                                        stdout=self.log_file, stderr=self.log_file, env=env,
                                        pass_fds=self.pass_fds)
        self.pid = self.process.pid
        if wait_until(lambda: self.notify.seen("READY=1") or self.process.poll() is not None) is None:
            raise AssertionError("gmemd is not ready")
        if self.process.poll() is not None:
            raise AssertionError(f"gmemd ended with {self.process.returncode}")
        self.admin = gmem.Client(self.path("admin"), name="harness")
        # The first STATS opens a file of /proc that the daemon keeps.
        self.admin.stats()

    def __exit__(self, kind, *_):
        good = False
        try:
            self.stop()
            self._check_end()
            good = kind is None
        finally:
            if not good:
                sys.stderr.write(f"--- log of gmemd\n{self.log()}---\n")
            self._kill()
            self._forget()

    def stop(self):
        """SIGTERM, and wait for the end."""
        if self.admin:
            self.admin.close()
        self.children = descendants(self.pid)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)

    def crash(self):
        """SIGKILL, and another gmemd at the same sockets."""
        self.admin.close()
        self.process.kill()
        self.process.wait()
        self.notify.messages.clear()
        self._start()

    def _check_end(self):
        log = self.log()
        bad = BAD_WORDS.search(log)
        assert not bad, f"the log says {bad.group()!r}"
        assert self.process.returncode == self.exit_status, \
            f"gmemd ended with {self.process.returncode}"
        left = [p for p in ([self.socket(t) for t in self.tenants] + [self.path("admin")])
                if self.listen and os.path.exists(p)]
        assert not left, f"gmemd left {left}"
        assert wait_until(lambda: not self._living_children(), 2.0) is not None, \
            f"gmemd left {self._living_children()}"

    def _living_children(self):
        return {p: stat for p, stat in self.children.items()
                if (process_stat(p) or (None,) * 3)[2] == stat[2]}

    def _kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _forget(self):
        if self.admin:
            self.admin.close()
        self.notify.close()
        self.log_file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def socket(self, tenant):
        return self.path(tenant + ".sock")

    def write_policy(self, tenant, text):
        with open(self.path(tenant + ".policy"), "w", encoding="utf-8") as file:
            file.write("[X-Gmemd]\n" + text)

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def log_lines(self, *words):
        return [line for line in self.log().splitlines() if all(word in line for word in words)]

    def wait_log(self, *words, timeout=PATIENCE):
        if wait_until(lambda: self.log_lines(*words), timeout) is None:
            raise AssertionError(f"no line of the log has {words}")
        return self.log_lines(*words)

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def rss(self):
        """Bytes of VmRSS."""
        with open(f"/proc/{self.pid}/status", encoding="utf-8") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * KIB

    def workers(self):
        return [pid for pid, stat in descendants(self.pid).items() if stat[0] == "gmemd-worker"]

    def account(self, tenant):
        """What STATS says of one account, a tenant's or "host"."""
        return self.admin.stats(None if tenant == "host" else tenant).accounts[0]

    def used(self, tenant):
        """Use of one account without what is zero: {} when its books are empty."""
        return {name: n for name, n in holdings(self.account(tenant)).items() if n}

    def books_are_empty(self):
        return not any(n for account in self.admin.stats().accounts
                       for n in holdings(account).values())


class DaemonCase(unittest.TestCase):
    """Tests on one daemon, each of which must leave the books and fds as it found them."""
    TENANTS = {"acme": "", "rival": ""}
    ARGS = ()
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(cls.TENANTS, cls.ARGS)
        cls.daemon.__enter__()
        cls.janitors = cls._hire_janitor()
        cls.fds_at_rest = cls.daemon.fds()

    @classmethod
    def _hire_janitor(cls):
        """The process that closes big regions: it comes with the first of them, and stays."""
        with gmem.Client(cls.daemon.socket(next(iter(cls.TENANTS)))) as client:
            domain = client.domain_create()
            client.region_create(domain, 16 * MIB).memory.close()
            client.domain_destroy(domain)
        wait_until(lambda: cls.daemon.workers() and cls.daemon.books_are_empty(), 2.0)
        return cls.daemon.workers()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__(None, None, None)

    def setUp(self):
        self.addCleanup(self.check_balance)

    def check_balance(self):
        empty = wait_until(self.daemon.books_are_empty, 2.0)
        self.assertIsNotNone(empty, f"the books: {self.daemon.admin.stats()}")
        closed = wait_until(lambda: self.daemon.fds() == self.fds_at_rest, 2.0)
        self.assertIsNotNone(closed, f"{self.daemon.fds()} fds open, {self.fds_at_rest} at rest")

    def client(self, tenant="acme", **options):
        client = gmem.Client(self.daemon.socket(tenant), **options)
        self.addCleanup(client.close)
        return client

    def connection(self, tenant="acme"):
        connection = gmem.Connection(self.daemon.socket(tenant), timeout=PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def workers(self):
        """The processes that have been forked for jobs of domains."""
        return [pid for pid in self.daemon.workers() if pid not in self.janitors]

    def peer(self, function, *arguments):
        peer = Peer(function, *arguments)
        self.addCleanup(peer.kill)
        return peer

    def domain_and_region(self, client, size=16 * MIB, kind="memfd", **options):
        domain = client.domain_create(kind, **options)
        return domain, client.region_create(domain, size)

    @contextlib.contextmanager
    def refused(self, code, rule=None, **fields):
        """The block must be refused like this, with these fields of the status."""
        with self.assertRaises(gmem.Refused) as caught:
            yield caught
        got = caught.exception
        if rule is None:
            self.assertEqual(got.code, code, got)
        else:
            self.assertEqual((got.code, got.rule), (code, rule), got)
        self.assertEqual({name: getattr(got, name) for name in fields}, fields, got)


class Peer:
    """A client process. function(report, *arguments) runs in it; then it waits to be killed.

    What the function returns lives on meanwhile. The process has no fd of its parent but the three
    standard ones.
    """

    def __init__(self, function, *arguments):
        read_end, write_end = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(write_end, function, arguments)
        os.close(write_end)
        self._pipe = os.fdopen(read_end, "rb")

    @staticmethod
    def _run(write_end, function, arguments):
        try:
            os.closerange(3, write_end)
            os.closerange(write_end + 1, 4096)
            # Objects of the parent must not be collected: their fds' numbers mean others here.
            gc.freeze()
            pipe = os.fdopen(write_end, "wb", buffering=0)
            kept = [function(lambda thing: pipe.write(pickle.dumps(thing)), *arguments)]
            while kept:
                signal.pause()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(1)

    def report(self, timeout=PATIENCE):
        """What the process reports next."""
        if not select.select([self._pipe], [], [], timeout)[0]:
            raise AssertionError("the peer does not report")
        return pickle.load(self._pipe)

    def kill(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            self._pipe.close()


@contextlib.contextmanager
def hugepages(pages):
    """A pool of at least so many free 2M pages; skips the test where there can be none."""
    knob = "/proc/sys/vm/nr_hugepages"
    try:
        file = open(knob, "r+", encoding="ascii")
    except OSError as error:
        raise unittest.SkipTest(f"no hugepages: {error}") from error
    def locked():
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    with file:
        if wait_until(locked, 30.0, step=0.05) is None:
            raise unittest.SkipTest("somebody else has had the pool of hugepages for 30 seconds")
        before = int(file.read())
        try:
            with open(knob, "w", encoding="ascii") as out:
                out.write(str(before + pages))
            with open(knob, encoding="ascii") as now:
                if int(now.read()) < before + pages:
                    raise unittest.SkipTest("the host has no memory for hugepages")
            yield
        finally:
            with open(knob, "w", encoding="ascii") as out:
                out.write(str(before))


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def ping_times(client, count):
    """Seconds that each of `count` pings took."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        client.ping()
        times.append(time.perf_counter() - start)
    return times


def main():
    """Runs the tests of the calling module; exit status 77 when all were skipped."""
    if os.getuid() != 0:
        print("gmemd's processes and fds can only be watched as root")
        sys.exit(77)
    result = unittest.main(module="__main__", verbosity=2, exit=False).result
    for test, why in result.skipped:
        print(f"skipped {test}: {why}")
    if result.wasSuccessful() and result.testsRun and len(result.skipped) == result.testsRun:
        sys.exit(77)
    sys.exit(0 if result.wasSuccessful() else 1)
