#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who breaks the protocol is cut off at once, with one line in the log; nobody else notices."""
import os
import time

import harness
from harness import gmem, pb

UNKNOWN_FIELD = b"\x9a\x06\x01x"  # field 99, one byte
HELLO = pb.HelloRequest(min_version=1, max_version=1, client=b"violator").SerializeToString()


def frame(type=gmem.PING, serial=77, body=b"", fds=0, **wrong):
    """Sends one frame with so many fds of /dev/null, or one that lies about them."""
    def send(connection):
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        try:
            connection.send_frame(type, serial, body, fds=[null] * fds, **wrong)
        except PermissionError:  # the kernel lets no fd through: what is left is to promise some
            connection.send_frame(type, serial, body, n_fds=fds)
        finally:
            os.close(null)
    return send


def packet(data):
    return lambda connection: connection.send_packet(data)


def two_jobs_of_one_serial(connection):
    """Sets up a region, then sends two jobs with one serial before the first can be answered."""
    ask(connection, pb.DomainCreateRequest(kind=b"memfd"), 2)
    domain = answer(connection, pb.DomainCreateReply).domain
    ask(connection, pb.RegionCreateRequest(domain=domain, size=harness.GIB), 3)
    region = answer(connection, pb.RegionCreateReply).region
    job = pb.AllocateRequest(region=region, ranges=[pb.Range(offset=0, length=harness.GIB)])
    ask(connection, job, 4)
    ask(connection, job, 4)


def ask(connection, request, serial):
    connection.send_frame(gmem.TYPES[type(request)], serial, request.SerializeToString())


def answer(connection, reply_class):
    got = connection.receive_frame()
    assert got.flags == gmem.ANSWER, got
    return reply_class.FromString(got.body)


def many(field_bytes, count, rest=b""):
    return rest + field_bytes * count


EMPTY_RANGE = b"\x12\x00"  # AllocateRequest.ranges
NODE_ZERO = b"\x30\x00"  # RegionCreateRequest.numa_nodes
PACKED_NODES = b"\x32\x80\x02" + bytes(256)
DEVICE_KVM = b"\x20\x01"  # DomainCreateRequest.devices

# Sent as the first packet of a connection.
BEFORE_HELLO = {
    "a_request_before_hello": frame(gmem.PING),
    "an_event_before_hello": frame(gmem.PROGRESS),
    "a_hello_with_an_fd": frame(gmem.HELLO, body=HELLO, fds=1),
    "a_hello_with_an_fd_that_the_header_denies": frame(gmem.HELLO, body=HELLO, fds=1, n_fds=0),
    "a_hello_longer_than_4096": frame(gmem.HELLO, body=HELLO + b"\x1a\x80\x20" + b"a" * 4096),
    "a_hello_with_an_unknown_field": frame(gmem.HELLO, body=HELLO + UNKNOWN_FIELD),
    "a_hello_with_serial_0": frame(gmem.HELLO, 0, HELLO),
    "a_hello_of_version_2": frame(gmem.HELLO, body=HELLO, version=2),
}

# Sent after a good HELLO.
AFTER_HELLO = {
    "a_second_hello": frame(gmem.HELLO, body=HELLO),
    "an_unknown_type": frame(99),
    "type_0": frame(0),
    "an_event_from_a_client": frame(gmem.PROGRESS),
    "a_wrong_magic": frame(magic=0x676d),
    "version_0": frame(version=0),
    "version_2": frame(version=2),
    "the_flag_of_an_answer": frame(flags=gmem.ANSWER),
    "the_flag_of_a_refusal": frame(flags=gmem.ANSWER | gmem.REFUSED),
    "the_flag_of_an_event": frame(flags=gmem.EVENT),
    "an_unknown_flag": frame(flags=0x8000),
    "serial_0": frame(serial=0),
    "the_serial_of_an_unanswered_job": two_jobs_of_one_serial,
    "fds_that_no_verb_takes": frame(fds=1),
    "fds_that_the_header_denies": frame(fds=2, n_fds=0),
    "fewer_fds_than_the_header_says": frame(n_fds=1),
    "more_fds_than_the_header_says": frame(fds=3, n_fds=1),
    "as_many_fds_as_a_packet_may_have": frame(fds=8),
    "control_data_that_is_cut_off": frame(fds=9),
    "control_data_of_253_fds": frame(fds=253, n_fds=253),
    "a_packet_shorter_than_a_header": packet(b"gm\x01"),
    "a_packet_of_15_bytes": packet(gmem.pack_frame(gmem.PING, 1)[:15]),
    "a_length_over_the_packet": frame(length=1),
    "a_length_under_the_packet": frame(body=b"\x0a\x01x", length=0),
    "a_length_over_65536": frame(length=65537),
    "a_length_of_4_gib": frame(length=0xffffffff),
    "a_body_over_65536": frame(gmem.ALLOCATE, body=bytes(65537)),
    "a_packet_of_128_kib": frame(gmem.ALLOCATE, body=bytes(128 * 1024)),
    "a_ping_longer_than_256": frame(body=b"\x0a\x81\x02" + bytes(257)),
    "a_get_longer_than_128": frame(gmem.DOMAIN_GET, body=b"\x09" * 129),
    "a_body_that_is_cut_off": frame(body=b"\x0a\x05abc"),
    "a_body_of_noise": frame(gmem.LIST, body=bytes(range(200, 255))),
    "a_varint_of_11_bytes": frame(gmem.LIST, body=b"\x08" + b"\xff" * 10 + b"\x01"),
    "a_wrong_wire_type": frame(gmem.DOMAIN_GET, body=b"\x08\x01"),
    "field_number_0": frame(body=b"\x02\x00"),
    "a_group": frame(body=b"\x9b\x06\x9c\x06"),
    "an_unknown_field": frame(body=UNKNOWN_FIELD),
    "an_unknown_field_in_a_range": frame(gmem.ALLOCATE, body=b"\x12\x04" + UNKNOWN_FIELD),
    "ranges_over_1024": frame(gmem.ALLOCATE, body=many(EMPTY_RANGE, 1025)),
    "ranges_as_many_as_fit": frame(gmem.ALLOCATE, body=many(EMPTY_RANGE, 32768)),
    "nodes_over_64": frame(gmem.REGION_CREATE, body=many(NODE_ZERO, 65)),
    "nodes_packed_over_64": frame(gmem.REGION_CREATE, body=PACKED_NODES),
    "devices_over_4": frame(gmem.DOMAIN_CREATE, body=many(DEVICE_KVM, 5)),
}
RULES = {**{name: (send, False) for name, send in BEFORE_HELLO.items()},
         **{name: (send, True) for name, send in AFTER_HELLO.items()}}


class Violations(harness.DaemonCase):
    # A tenant of its own for each rule: lines of the log are rationed by tenant.
    TENANTS = {name: "" for name in RULES} | {"neighbour": "", "many": "", "silent": "", "empty": ""}

    def cut_off(self, tenant, send, greet):
        neighbour = self.client("neighbour")
        domain, region = self.domain_and_region(neighbour)
        connection = self.connection(tenant)
        if greet:
            connection.send_frame(gmem.HELLO, 1, HELLO)
            self.assertEqual(connection.receive_frame().flags, gmem.ANSWER)
        send(connection)
        self.assertIsNone(connection.receive_frame(), "answered instead of cut off")
        lines = self.daemon.log_lines(f"TENANT={tenant} ", "broke the protocol")
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(f"PEER_PID={os.getpid()} PEER_UID=0", lines[0])
        # Who it said it was, where it has said so.
        self.assertEqual("CLIENT=violator" in lines[0], greet, lines[0])
        self.assertEqual(self.daemon.account(tenant).violations, 1)
        connection.close()

        self.assertEqual(neighbour.ping(b"still here"), b"still here")
        self.assertEqual(neighbour.region_get(region).info.domain, domain.id)

    def test_ten_lines_of_log_in_ten_seconds_for_a_tenant_are_enough(self):
        for _ in range(30):
            connection = self.connection("many")
            connection.send_frame(99, 1)
            self.assertIsNone(connection.receive_frame())
        self.assertEqual(self.daemon.account("many").violations, 30)
        self.assertEqual(len(self.daemon.log_lines("TENANT=many ")), 10)

    def test_an_empty_packet_is_an_end_and_no_violation(self):
        connection = self.connection("empty")
        connection.send_frame(gmem.HELLO, 1, HELLO)
        connection.receive_frame()
        connection.send_packet(b"")
        self.assertIsNone(connection.receive_frame())
        self.assertEqual(self.daemon.log_lines("TENANT=empty "), [])
        self.assertEqual(self.daemon.account("empty").violations, 0)

    def test_silence_for_5_seconds_before_hello(self):
        connection = self.connection("silent")
        start = time.monotonic()
        self.assertIsNone(connection.receive_frame(timeout=8))
        self.assertGreater(time.monotonic() - start, 4.5)
        self.assertEqual(len(self.daemon.log_lines("TENANT=silent ")), 1)

    def test_a_refused_hello_may_be_repeated(self):
        connection = self.connection("neighbour")
        ask(connection, pb.HelloRequest(min_version=2, max_version=9), 1)
        refusal = connection.receive_frame()
        self.assertEqual(refusal.flags, gmem.ANSWER | gmem.REFUSED)
        self.assertEqual(pb.Status.FromString(refusal.body).code, pb.CODE_UNSUPPORTED)
        ask(connection, pb.HelloRequest(min_version=1, max_version=9), 1)
        self.assertEqual(answer(connection, pb.HelloReply).version, 1)


def add_rule(name, send, greet):
    def test(self):
        self.cut_off(name, send, greet)
    setattr(Violations, f"test_{name}", test)


for rule_name, (rule_send, rule_greet) in RULES.items():
    add_rule(rule_name, rule_send, rule_greet)

if __name__ == "__main__":
    harness.main()
