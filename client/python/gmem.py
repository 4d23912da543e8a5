#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client of gmemd in Python: the protocol of proto/PROTOCOL.md and proto/gmem.proto, nothing else.

    with gmem.Client("/run/gmemd/acme.sock") as client:
        domain = client.domain_create("memfd")
        region = client.region_create(domain, size=256 << 20)
        ram = mmap.mmap(region.memory.fileno(), region.size)

One thread at a time may use a Client. Names and texts in replies are bytes, as in the protocol.
"""
import collections
import dataclasses
import errno
import os
import select
import socket
import struct
import subprocess
import sys
import time


def _load_messages():
    """The module that protoc makes of gmem.proto: from sys.path, or made in $GMEM_PROTO_CACHE."""
    try:
        import gmem_pb2
        return gmem_pb2
    except ModuleNotFoundError as error:
        cache = os.environ.get("GMEM_PROTO_CACHE")
        if error.name != "gmem_pb2" or not cache:
            raise
    proto = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto")
    os.makedirs(cache, exist_ok=True)
    subprocess.run(["protoc", "-I", proto, "--python_out", cache, "gmem.proto"], check=True)
    sys.path.insert(0, cache)
    import gmem_pb2
    return gmem_pb2


pb = _load_messages()

MAGIC = 0x6d67
VERSION = 1
HEADER = struct.Struct("<HBBHHII")
BODY_MAX = 65536
FDS_MAX = 8

ANSWER = 1
REFUSED = 2
EVENT = 4

HELLO, PING = 1, 2
DOMAIN_CREATE, DOMAIN_ATTACH, DOMAIN_GET, DOMAIN_DESTROY = 3, 4, 5, 6
REGION_CREATE, REGION_GET, REGION_DESTROY, REGION_MAP = 7, 8, 9, 10
ALLOCATE, DISCARD, CANCEL = 11, 12, 13
LIST, STATS, HOST, EVICT, WATCH, POLICY = 14, 15, 16, 17, 18, 19
MEMLOCK = 20
STEP_MEMORY, REGION_BIND, CONVERT, STEP_DONE = 21, 22, 23, 24
LAUNCH_START, SOURCE, POPULATE, LAUNCH_FINISH, LAUNCH_ABORT = 25, 26, 27, 28, 29
CONVERTED = 30
FD_BOX = 31
PROGRESS, DOMAIN_GONE, SHUTDOWN, NEWS = 64, 65, 66, 67

VERBS = {
    HELLO: (pb.HelloRequest, pb.HelloReply),
    PING: (pb.PingRequest, pb.PingReply),
    DOMAIN_CREATE: (pb.DomainCreateRequest, pb.DomainCreateReply),
    DOMAIN_ATTACH: (pb.DomainAttachRequest, pb.DomainAttachReply),
    DOMAIN_GET: (pb.DomainGetRequest, pb.DomainGetReply),
    DOMAIN_DESTROY: (pb.DomainDestroyRequest, pb.DomainDestroyReply),
    REGION_CREATE: (pb.RegionCreateRequest, pb.RegionCreateReply),
    REGION_GET: (pb.RegionGetRequest, pb.RegionGetReply),
    REGION_DESTROY: (pb.RegionDestroyRequest, pb.RegionDestroyReply),
    REGION_MAP: (pb.RegionMapRequest, pb.RegionMapReply),
    ALLOCATE: (pb.AllocateRequest, pb.AllocateReply),
    DISCARD: (pb.DiscardRequest, pb.DiscardReply),
    CANCEL: (pb.CancelRequest, pb.CancelReply),
    LIST: (pb.ListRequest, pb.ListReply),
    STATS: (pb.StatsRequest, pb.StatsReply),
    HOST: (pb.HostRequest, pb.HostReply),
    EVICT: (pb.EvictRequest, pb.EvictReply),
    WATCH: (pb.WatchRequest, pb.WatchReply),
    POLICY: (pb.PolicyRequest, pb.PolicyReply),
    MEMLOCK: (pb.MemlockRequest, pb.MemlockReply),
    STEP_MEMORY: (pb.StepMemoryRequest, pb.StepMemoryReply),
    REGION_BIND: (pb.RegionBindRequest, pb.RegionBindReply),
    CONVERT: (pb.ConvertRequest, pb.ConvertReply),
    STEP_DONE: (pb.StepDoneRequest, pb.StepDoneReply),
    LAUNCH_START: (pb.LaunchStartRequest, pb.LaunchStartReply),
    SOURCE: (pb.SourceRequest, pb.SourceReply),
    POPULATE: (pb.PopulateRequest, pb.PopulateReply),
    LAUNCH_FINISH: (pb.LaunchFinishRequest, pb.LaunchFinishReply),
    LAUNCH_ABORT: (pb.LaunchAbortRequest, pb.LaunchAbortReply),
    CONVERTED: (pb.ConvertedRequest, pb.ConvertedReply),
    FD_BOX: (pb.FdBoxRequest, pb.FdBoxReply),
}
EVENTS = {PROGRESS: pb.ProgressEvent, DOMAIN_GONE: pb.DomainGoneEvent, SHUTDOWN: pb.ShutdownEvent,
          NEWS: pb.NewsEvent}
TYPES = {request: type for type, (request, _) in VERBS.items()}


class Disconnected(Exception):
    """The connection has ended; requests that had no answer have none."""


class ProtocolError(Exception):
    """The daemon broke the protocol; the connection has been closed."""


class Refused(Exception):
    """A request was refused. Its attributes are the fields of Status; code and rule are names."""

    def __init__(self, status):
        self.status = status
        # An unknown code is absent to protobuf and is treated like FAILED.
        self.code = pb.Code.Name(status.code or pb.CODE_FAILED).removeprefix("CODE_")
        self.rule = pb.Rule.Name(status.rule).removeprefix("RULE_")
        self.object = _text(status.object)
        self.offset = status.offset
        self.limit = status.limit
        self.used = status.used
        self.asked = status.asked
        self.sys_errno = status.sys_errno
        self.firmware_error = status.firmware_error
        self.text = _text(status.text)
        super().__init__(f"{self.code}/{self.rule} {self.object}: {self.text} (limit {self.limit}, "
                         f"used {self.used}, asked {self.asked}, errno {self.sys_errno})")


class Fd:
    """Owns one file descriptor: closed by close(), with `with`, or when it is forgotten."""

    def __init__(self, number):
        self._number = number

    def fileno(self):
        if self._number < 0:
            raise ValueError("closed fd")
        return self._number

    def detach(self):
        number, self._number = self.fileno(), -1
        return number

    def close(self):
        if self._number >= 0:
            os.close(self.detach())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()


def _close_all(fds):
    for fd in fds:
        fd.close()


@dataclasses.dataclass
class Frame:
    type: int
    flags: int
    serial: int
    body: bytes
    fds: list


@dataclasses.dataclass
class Answer:
    """The reply to one request; `fds` maps the names of the protocol to Fd objects."""
    reply: object
    fds: dict


@dataclasses.dataclass
class Event:
    type: int
    body: object


@dataclasses.dataclass
class Domain:
    id: int
    token: bytes = dataclasses.field(repr=False)
    fds: dict
    info: object = None
    regions: tuple = ()


@dataclasses.dataclass
class Region:
    id: int
    size: int
    memory: Fd = None
    info: object = None


def format_id(number):
    return f"{number:016x}"


def pack_frame(type, serial, body=b"", flags=0, magic=MAGIC, version=VERSION, n_fds=0, length=None):
    """One packet. The last arguments are for those who want to send a wrong one."""
    length = len(body) if length is None else length
    return HEADER.pack(magic, version, n_fds, type, flags, serial, length) + body


def send_fd(end, fd):
    """Puts one fd into a box, of which `end` is the client's."""
    with socket.socket(fileno=os.dup(end.fileno())) as way:
        socket.send_fds(way, [b"x"], [fd if isinstance(fd, int) else fd.fileno()])


class Connection:
    """A socket that speaks in packets, and knows nothing of sessions. For tests that misbehave."""

    def __init__(self, path, timeout=30.0):
        self.path = path
        self.timeout = timeout
        self.connect()

    def connect(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            self.socket.settimeout(self.timeout)
            self.socket.connect(self.path)
            self.socket.setblocking(False)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def fileno(self):
        return self.socket.fileno()

    def close(self):
        self.socket.close()

    def _wait(self, events, deadline):
        if self.socket.fileno() < 0:
            raise Disconnected("the connection is closed")
        poll = select.poll()
        poll.register(self.socket, events)
        left = None if deadline is None else max(0, deadline - time.monotonic())
        ready = poll.poll(None if left is None else left * 1000)
        if not ready:
            raise TimeoutError("gmemd did not answer in time")
        return ready[0][1]

    def _deadline(self, timeout):
        timeout = self.timeout if timeout is None else timeout
        return time.monotonic() + timeout

    def send_packet(self, packet, fds=()):
        """Sends one packet as it is, or raises BlockingIOError when the socket is full."""
        control = []
        if fds:
            numbers = [fd if isinstance(fd, int) else fd.fileno() for fd in fds]
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *numbers))]
        try:
            self.socket.sendmsg([packet], control, socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Disconnected(os.strerror(error.errno)) from error
        except OSError as error:
            if error.errno == errno.ENOTCONN or self.socket.fileno() < 0:
                raise Disconnected("the connection is closed") from error
            raise

    def send_frame(self, type, serial, body=b"", fds=(), timeout=None, **wrong):
        """Sends one frame. `wrong` overrides flags, magic, version, n_fds or length of the header."""
        wrong.setdefault("n_fds", len(fds))
        packet = pack_frame(type, serial, body, **wrong)
        deadline = self._deadline(timeout)
        while True:
            try:
                return self.send_packet(packet, fds)
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)

    def receive_frame(self, timeout=None):
        """The next frame, or None when the daemon has closed the connection."""
        deadline = self._deadline(timeout)
        while True:
            try:
                return self._receive_now()
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)

    def _receive_now(self):
        room = socket.CMSG_SPACE(FDS_MAX * struct.calcsize("i"))
        try:
            packet, control, flags, _ = self.socket.recvmsg(HEADER.size + BODY_MAX, room,
                                                            socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return None
        except OSError as error:
            if self.socket.fileno() < 0:
                raise Disconnected("the connection is closed") from error
            raise
        fds = []
        for level, kind, data in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                count = len(data) // struct.calcsize("i")
                fds += map(Fd, struct.unpack(f"{count}i", data[:count * struct.calcsize("i")]))
        if not packet:
            _close_all(fds)
            return None
        try:
            return self._parse(packet, fds, flags)
        except ProtocolError:
            _close_all(fds)
            self.close()
            raise

    @staticmethod
    def _parse(packet, fds, flags):
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ProtocolError("a packet or its control data was cut off")
        if len(packet) < HEADER.size:
            raise ProtocolError(f"a packet of {len(packet)} bytes")
        magic, version, n_fds, type, flags, serial, length = HEADER.unpack_from(packet)
        if (magic, version) != (MAGIC, VERSION):
            raise ProtocolError(f"magic {magic:#x}, version {version}")
        if flags not in (ANSWER, ANSWER | REFUSED, EVENT):
            raise ProtocolError(f"flags {flags:#x}")
        if (flags == EVENT) != (serial == 0) and not (flags & REFUSED and type == HELLO):
            raise ProtocolError(f"flags {flags:#x} with serial {serial}")
        if length != len(packet) - HEADER.size:
            raise ProtocolError(f"a body of {length} bytes in a packet of {len(packet)}")
        if n_fds != len(fds):
            raise ProtocolError(f"{len(fds)} fds where the header says {n_fds}")
        return Frame(type, flags, serial, packet[HEADER.size:], fds)


class Client(Connection):
    """A session. Each verb is a method; start() and wait() send many requests before the answers.

    With a session_key (16 random bytes) it survives a restart of the daemon: after Disconnected,
    reconnect() resumes it and repeats what had no answer; then wait() for that, as before.
    """

    def __init__(self, path, name="python/1", timeout=30.0, hello=True, session_key=None):
        super().__init__(path, timeout)
        self.name = name
        self.session_key = session_key
        self.resumed = False
        self._packets = {}
        self.events = collections.deque(maxlen=4096)
        self.limits = None
        self._serial = 0
        self._pending = {}
        self._answers = {}
        self._progress = {}
        if hello:
            try:
                self.hello(name)
            except BaseException:
                self.close()
                raise

    def reconnect(self, patience=10.0):
        """Whether the session was resumed. If not, it is a new one: nothing is under way."""
        self.socket.close()
        pending = [serial for serial, type in self._pending.items() if type != HELLO]
        self._pending.clear()
        deadline = time.monotonic() + patience
        while True:
            try:
                self.connect()
                self.hello(self.name)
                if self.resumed:
                    self._repeat(pending)
                else:
                    self._packets.clear()
                return self.resumed
            except (OSError, Disconnected, Refused) as error:
                self._pending.clear()
                self.socket.close()
                # Some may have been answered before the connection was lost again.
                pending = [serial for serial in pending if serial in self._packets]
                hopeless = isinstance(error, Refused) and error.code not in ("BUSY", "SHUTTING_DOWN")
                if hopeless or time.monotonic() > deadline:
                    raise
                time.sleep(0.002)

    def _repeat(self, serials):
        for serial in serials:
            self._pending[serial] = HEADER.unpack_from(self._packets[serial])[3]
        deadline = self._deadline(None)
        for serial in serials:
            self._send(self._packets[serial], deadline)

    def close(self):
        super().close()
        for answer in self._answers.values():
            if isinstance(answer, Answer):
                _close_all(answer.fds.values())
        self._answers.clear()
        self._pending.clear()

    # Requests and answers.

    def start(self, request, progress=None, timeout=None):
        """Sends a request without waiting and returns its serial, which wait() takes.

        Answers are taken in while the socket is full, so that it never waits for itself.
        `progress` is called with (done, total) while the answer is waited for.
        """
        type = TYPES[request.__class__]
        self._serial = self._serial % 0xffffffff + 1
        while self._serial in self._pending or self._serial in self._answers:
            self._serial = self._serial % 0xffffffff + 1
        serial = self._serial
        packet = pack_frame(type, serial, request.SerializeToString())
        self._pending[serial] = type
        if self.session_key:
            self._packets[serial] = packet
        if progress:
            self._progress[serial] = progress
        try:
            self._send(packet, self._deadline(timeout))
        except Disconnected:
            # With a key it will be sent again.
            if not self.session_key or type == HELLO:
                del self._pending[serial]
                raise
        except BaseException:
            del self._pending[serial]
            raise
        return serial

    def _send(self, packet, deadline):
        while True:
            try:
                return self.send_packet(packet)
            except BlockingIOError:
                if self._wait(select.POLLIN | select.POLLOUT, deadline) & select.POLLIN:
                    self._take(timeout=0)

    def wait(self, serial, timeout=None):
        """The Answer to a request that start() sent. Raises Refused, Disconnected, TimeoutError."""
        deadline = self._deadline(timeout)
        while serial not in self._answers:
            if serial not in self._pending:
                raise KeyError(f"no request with serial {serial} is under way")
            self._take(max(0, deadline - time.monotonic()))
        answer = self._answers.pop(serial)
        if isinstance(answer, Refused):
            raise answer
        return answer

    def collect(self, serials, timeout=None):
        """Waits for many requests; a refusal is in the list in place of the Answer."""
        answers = []
        for serial in serials:
            try:
                answers.append(self.wait(serial, timeout))
            except Refused as refused:
                answers.append(refused)
        return answers

    def call(self, request, progress=None, timeout=None):
        return self.wait(self.start(request, progress, timeout), timeout)

    def wait_event(self, type, timeout=None):
        """The body of the next event of this type; events of others stay in `events`."""
        deadline = self._deadline(timeout)
        while True:
            for event in self.events:
                if event.type == type:
                    self.events.remove(event)
                    return event.body
            self._take(max(0, deadline - time.monotonic()))

    def poll(self):
        """Takes in what has arrived, without waiting."""
        try:
            while True:
                self._take(timeout=0)
        except TimeoutError:
            pass

    def _take(self, timeout):
        frame = self.receive_frame(timeout)
        if frame is None:
            # With a key the requests stay: reconnect() repeats them.
            super().close() if self.session_key else self.close()
            raise Disconnected("gmemd closed the connection")
        try:
            if frame.flags == EVENT:
                self._take_event(frame)
            else:
                self._take_answer(frame)
        except ProtocolError:
            _close_all(frame.fds)
            self.close()
            raise

    def _take_event(self, frame):
        if frame.fds or frame.type not in EVENTS:
            _close_all(frame.fds)
            return
        body = _decode(EVENTS[frame.type], frame.body)
        if frame.type == PROGRESS and body.serial in self._progress:
            self._progress[body.serial](body.done, body.total)
        else:
            self.events.append(Event(frame.type, body))

    def _take_answer(self, frame):
        if frame.serial == 0:
            # The daemon turns the session away before it has read the HELLO, and closes.
            self.close()
            raise Refused(_decode(pb.Status, frame.body))
        if self._pending.get(frame.serial) != frame.type:
            raise ProtocolError(f"an answer of type {frame.type} to serial {frame.serial}")
        if frame.flags & REFUSED:
            if frame.fds:
                raise ProtocolError("a refusal with fds")
            answer = Refused(_decode(pb.Status, frame.body))
        else:
            answer = self._named(_decode(VERBS[frame.type][1], frame.body), frame.fds)
        self._answers[frame.serial] = answer
        del self._pending[frame.serial]
        self._packets.pop(frame.serial, None)
        self._progress.pop(frame.serial, None)

    @staticmethod
    def _named(reply, fds):
        names = [_text(name) for name in getattr(reply, "fd_names", ())]
        if len(names) != len(fds) or len(set(names)) != len(names):
            raise ProtocolError(f"{len(fds)} fds with the names {names}")
        return Answer(reply, dict(zip(names, fds)))

    # The session.

    def hello(self, name="python/1", min_version=VERSION, max_version=VERSION, features=0):
        request = pb.HelloRequest(min_version=min_version, max_version=max_version,
                                  features=features)
        if name:
            request.client = _bytes(name)
        if self.session_key:
            request.session_key = self.session_key
        try:
            self.limits = self.call(request).reply
            self.resumed = self.limits.resumed
        except Disconnected:
            self._read_farewell()
            raise
        return self.limits

    def _read_farewell(self):
        """A HELLO that met a closed socket: the reason may be waiting to be read."""
        try:
            self._take(timeout=0)
        except (TimeoutError, Disconnected):
            pass

    def ping(self, payload=b""):
        return self.call(pb.PingRequest(payload=payload)).reply.payload

    # Domains.

    def domain_create(self, kind="memfd", name=None, persistent=False, devices=()):
        request = pb.DomainCreateRequest(
            kind=_bytes(kind), devices=devices,
            lifetime=pb.LIFETIME_PERSISTENT if persistent else pb.LIFETIME_BOUND)
        if name is not None:
            request.name = _bytes(name)
        answer = self.call(request)
        return Domain(answer.reply.domain, answer.reply.token, answer.fds)

    def domain_attach(self, domain, token, take_over=False, devices=()):
        answer = self.call(pb.DomainAttachRequest(domain=_id(domain), token=token,
                                                  take_over=take_over, devices=devices))
        return Domain(_id(domain), token, answer.fds, answer.reply.info,
                      tuple(answer.reply.regions))

    def domain_get(self, domain):
        return self.call(pb.DomainGetRequest(domain=_id(domain))).reply.info

    def domain_destroy(self, domain, token=None):
        request = pb.DomainDestroyRequest(domain=_id(domain))
        if token is not None:
            request.token = token
        self.call(request)

    # Regions.

    def region_create(self, domain, size, gpa=0, page_size=0, name=None, numa_nodes=()):
        request = pb.RegionCreateRequest(domain=_id(domain), gpa=gpa, size=size,
                                         page_size=page_size, numa_nodes=numa_nodes)
        if name is not None:
            request.name = _bytes(name)
        answer = self.call(request)
        return Region(answer.reply.region, size, answer.fds.get("memory"))

    def region_get(self, region, with_fd=False):
        answer = self.call(pb.RegionGetRequest(region=_id(region), with_fd=with_fd))
        info = answer.reply.info
        return Region(info.region, info.size, answer.fds.get("memory"), info)

    def region_destroy(self, region):
        self.call(pb.RegionDestroyRequest(region=_id(region)))

    def fd_box(self, domain):
        """(id, Fd) of a box, into which send_fd() puts one fd for the domain."""
        answer = self.call(pb.FdBoxRequest(domain=_id(domain)))
        return answer.reply.box, answer.fds["box"]

    def call_with_fd(self, domain, request, fd, timeout=None):
        """STEP_MEMORY or SOURCE with this fd, which goes by way of a box for the domain."""
        request.box = self.put_fd(domain, fd)
        return self.call(request, timeout=timeout)

    def put_fd(self, domain, fd):
        """Sends an fd by way of a new box; returns the box's id for STEP_MEMORY or SOURCE."""
        box, end = self.fd_box(domain)
        with end:
            send_fd(end, fd)
        return box

    def region_map_page(self, region, offset=0, runs_max=0):
        """One answer of the page map: (offset, length, state) runs, and where to go on."""
        reply = self.call(pb.RegionMapRequest(region=_id(region), offset=offset,
                                              runs_max=runs_max)).reply
        runs = [(run.offset, run.length, pb.PageState.Name(run.state).removeprefix("PAGE_"))
                for run in reply.runs]
        return runs, reply.next_offset

    def region_map(self, region, runs_max=0):
        """The whole page map, neighbours of equal state joined: ABSENT, SHARED, PRIVATE, ..."""
        size = self.region_get(region).size
        runs, offset = [], 0
        while offset < size:
            page, offset = self.region_map_page(region, offset, runs_max)
            for start, length, state in page:
                if runs and runs[-1][2] == state:
                    runs[-1] = (runs[-1][0], runs[-1][1] + length, state)
                else:
                    runs.append((start, length, state))
        return runs

    # Jobs.

    def start_allocate(self, region, ranges, progress=None):
        return self.start(pb.AllocateRequest(region=_id(region), ranges=_ranges(ranges)), progress)

    def start_discard(self, region, ranges, progress=None):
        return self.start(pb.DiscardRequest(region=_id(region), ranges=_ranges(ranges)), progress)

    def allocate(self, region, ranges, progress=None, timeout=None):
        """Allocates (offset, length) ranges; returns the bytes that are now present in them."""
        return self.wait(self.start_allocate(region, ranges, progress), timeout).reply.bytes

    def discard(self, region, ranges, progress=None, timeout=None):
        return self.wait(self.start_discard(region, ranges, progress), timeout).reply.bytes

    def cancel(self, serial):
        """Whether a job with this serial was under way. Its own answer comes in any case."""
        return self.call(pb.CancelRequest(serial=serial)).reply.found

    # Looking.

    def list_page(self, what, cursor=0, domain=0, tenant=None):
        request = pb.ListRequest(what=what, cursor=cursor, domain=domain)
        if tenant is not None:
            request.tenant = _bytes(tenant)
        return self.call(request).reply

    def _list(self, what, field, **only):
        cursor, found = 0, []
        while True:
            reply = self.list_page(what, cursor, **only)
            found += getattr(reply, field)
            cursor = reply.cursor
            if cursor == 0:
                return found

    def list_domains(self, tenant=None):
        return self._list(pb.LIST_DOMAINS, "domains", tenant=tenant)

    def list_regions(self, domain=0, tenant=None):
        return self._list(pb.LIST_REGIONS, "regions", domain=_id(domain), tenant=tenant)

    def list_sessions(self, tenant=None):
        return self._list(pb.LIST_SESSIONS, "sessions", tenant=tenant)

    def list_tenants(self):
        return self._list(pb.LIST_TENANTS, "tenants")

    def stats(self, tenant=None):
        request = pb.StatsRequest()
        if tenant is not None:
            request.tenant = _bytes(tenant)
        return self.call(request).reply

    def host(self):
        return self.call(pb.HostRequest()).reply

    def policy(self, tenant=None):
        """The policy in force, own or tenant's: {key: (value, source)}. Admin without one: host's."""
        request = pb.PolicyRequest()
        if tenant is not None:
            request.tenant = _bytes(tenant)
        return {_text(row.key): (_text(row.value), _text(row.source))
                for row in self.call(request).reply.rows}

    def policy_check(self, tenant=None):
        """Would a reload succeed? None, or the fault. Admin socket only."""
        request = pb.PolicyRequest(check=True)
        if tenant is not None:
            request.tenant = _bytes(tenant)
        reply = self.call(request).reply
        return None if reply.good else _text(reply.fault)

    def evict(self, domain):
        """Ends any tenant's domain: (bytes given back, jobs cancelled). Admin socket only."""
        reply = self.call(pb.EvictRequest(domain=_id(domain))).reply
        return reply.bytes, reply.jobs_cancelled


def usage(account):
    """The use of one account of STATS, by resource: {"memory": 4096, ...}."""
    return {_text(use.resource): use.used for use in account.usage}


def _id(thing):
    return thing if isinstance(thing, int) else thing.id


def _bytes(text):
    return text.encode() if isinstance(text, str) else text


def _text(data):
    return data.decode(errors="replace")


def _ranges(ranges):
    return [pb.Range(offset=offset, length=length) for offset, length in ranges]


def _decode(message_class, body):
    message = message_class()
    try:
        message.ParseFromString(body)
    except Exception as error:
        raise ProtocolError(f"a body that is no {message_class.DESCRIPTOR.name}") from error
    return message
