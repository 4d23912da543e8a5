/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client has from a daemon that was killed and started again: each of its requests done
 * exactly once.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "call.h"
#include "resume_case.h"

static uint64_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

/* ---- answers ---- */

/* Sends the request again under the serial of the last one; the packet that comes. */
static struct rig_packet repeat(enum gm_msg_type type, const ProtobufCMessage *message)
{
	assert_int_equal(peer.n_packets, 0);
	peer.serial--;
	(void)peer_send(&peer, type, message);
	assert_int_equal(peer.n_packets, 1);
	return peer.packets[0];
}

static void expect_same(const struct rig_packet *a, const struct gm_frame *frame,
			const uint8_t *body)
{
	assert_int_equal(a->frame.type, frame->type);
	assert_int_equal(a->frame.flags, frame->flags);
	assert_int_equal(a->frame.serial, frame->serial);
	assert_int_equal(a->frame.n_fds, frame->n_fds);
	assert_int_equal(a->frame.body_length, frame->body_length);
	assert_memory_equal(a->body, body, frame->body_length);
}

/* The HELLO of the new connection has had a serial, too: the request goes on from before it. */
static void restart_in_front_of(uint32_t serial)
{
	peer.serial = 1000000;
	restart_and_resume();
	peer.serial = serial;
}

static void a_domain_create_that_comes_again_is_answered_alike_and_done_once(void **state)
{
	Gmem__DomainCreateRequest request = GMEM__DOMAIN_CREATE_REQUEST__INIT;
	Gmem__Device kvm = GMEM__DEVICE__DEVICE_KVM;
	struct gm_frame frame;
	struct rig_packet packet;
	uint8_t body[128];
	uint32_t serial;

	(void)state;
	start();
	request.has_kind = 1;
	request.kind = bytes_of("fake");
	if (rig.rig.exec.kvm_fd >= 0) {
		request.n_devices = 1;
		request.devices = &kvm;
	}
	serial = peer_send(&peer, GM_MSG_DOMAIN_CREATE, &request.base);
	frame = peer.packets[0].frame;
	memcpy(body, peer.packets[0].body, frame.body_length);
	restart_in_front_of(serial);
	packet = repeat(GM_MSG_DOMAIN_CREATE, &request.base);
	expect_same(&packet, &frame, body);
	assert_int_equal(used(GM_RES_DOMAINS), 1);
	stop();
}

static Gmem__RegionCreateRequest region_request(uint64_t domain)
{
	Gmem__RegionCreateRequest request = GMEM__REGION_CREATE_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = domain;
	request.has_size = 1;
	request.size = GM_MIB;
	return request;
}

static void a_region_create_that_comes_again_brings_the_same_memory(void **state)
{
	Gmem__RegionCreateRequest request;
	struct gm_frame frame;
	struct rig_packet packet;
	uint64_t file;
	uint8_t body[128];
	uint32_t serial;

	(void)state;
	start();
	request = region_request(make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id);
	serial = peer_send(&peer, GM_MSG_REGION_CREATE, &request.base);
	frame = peer.packets[0].frame;
	memcpy(body, peer.packets[0].body, frame.body_length);
	file = inode(peer.packets[0].fds[0]);
	restart_in_front_of(serial);
	packet = repeat(GM_MSG_REGION_CREATE, &request.base);
	expect_same(&packet, &frame, body);
	assert_int_equal(inode(packet.fds[0]), file);
	assert_int_equal(used(GM_RES_REGIONS), 1);
	stop();
}

static void an_answer_is_kept_over_any_number_of_restarts(void **state)
{
	Gmem__RegionCreateRequest request;
	struct rig_packet packet;
	uint32_t serial;

	(void)state;
	start();
	request = region_request(make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id);
	serial = peer_send(&peer, GM_MSG_REGION_CREATE, &request.base);
	for (unsigned i = 0; i < 3; i++) {
		restart_in_front_of(serial);
		packet = repeat(GM_MSG_REGION_CREATE, &request.base);
		assert_int_equal(packet.frame.flags, GM_FRAME_ANSWER);
	}
	assert_int_equal(used(GM_RES_REGIONS), 1);
	stop();
}

static void the_answer_of_a_region_that_has_gone_since_is_refused(void **state)
{
	Gmem__RegionCreateRequest request;
	Gmem__RegionDestroyRequest destroy = GMEM__REGION_DESTROY_REQUEST__INIT;
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	request = region_request(make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id);
	serial = peer_send(&peer, GM_MSG_REGION_CREATE, &request.base);
	answer = peer_take(&peer);
	destroy.has_region = 1;
	destroy.region = ((const Gmem__RegionCreateReply *)expect_reply(&answer))->region;
	answer_close(&answer);
	answer = peer_ask(&peer, GM_MSG_REGION_DESTROY, &destroy.base);
	expect_reply(&answer);
	restart_in_front_of(serial);
	(void)repeat(GM_MSG_REGION_CREATE, &request.base);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	/* And its end, which comes again next, was an end. */
	answer = peer_ask(&peer, GM_MSG_REGION_DESTROY, &destroy.base);
	expect_reply(&answer);
	assert_int_equal(used(GM_RES_REGIONS), 0);
	stop();
}

static void a_destroy_that_comes_again_is_done_once(void **state)
{
	Gmem__DomainDestroyRequest request = GMEM__DOMAIN_DESTROY_REQUEST__INIT;
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	request.has_domain = 1;
	request.domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	serial = peer_send(&peer, GM_MSG_DOMAIN_DESTROY, &request.base);
	restart_in_front_of(serial);
	(void)repeat(GM_MSG_DOMAIN_DESTROY, &request.base);
	answer = peer_take(&peer);
	expect_reply(&answer);
	/* A new request of the same kind is a new request. */
	answer = peer_ask(&peer, GM_MSG_DOMAIN_DESTROY, &request.base);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	stop();
}

static void an_attach_that_comes_again_is_no_error(void **state)
{
	struct made_domain domain;
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	peer_connect(&other, &rig.rig, rig.rig.acme);
	domain = make_domain(&other, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	peer_close(&other);
	answer = ask_attach(&peer, domain.id, domain.token, false);
	expect_reply(&answer);
	serial = peer.serial;
	restart_in_front_of(serial - 1);
	answer = ask_attach(&peer, domain.id, domain.token, false);
	expect_reply(&answer);
	stop();
}

static void a_refusal_is_not_kept(void **state)
{
	Gmem__DomainCreateRequest request = GMEM__DOMAIN_CREATE_REQUEST__INIT;
	struct made_domain domain;
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	request.has_kind = 1;
	request.kind = bytes_of("fake");
	request.has_name = 1;
	request.name = bytes_of("vm1");
	serial = peer_send(&peer, GM_MSG_DOMAIN_CREATE, &request.base);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_EXISTS, GM_RULE_NAME_TAKEN);
	answer = ask_domain_destroy(&peer, domain.id, NULL);
	expect_reply(&answer);
	restart_in_front_of(serial);
	(void)repeat(GM_MSG_DOMAIN_CREATE, &request.base);
	answer = peer_take(&peer);
	expect_reply(&answer);
	stop();
}

static void a_serial_that_another_request_has_had_is_a_violation(void **state)
{
	struct gm_frame frame = { .version = 1, .type = GM_MSG_CANCEL };

	(void)state;
	start();
	(void)make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	frame.serial = peer.serial;
	restart_in_front_of(frame.serial);
	assert_int_equal(peer_raw(&peer, &frame, "", NULL), -EPROTO);
	stop();
}

static void a_request_that_only_looks_is_carried_out_again(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	answer = ask_domain_get(&peer, domain.id);
	expect_reply(&answer);
	restart_in_front_of(peer.serial - 1);
	answer = ask_domain_get(&peer, domain.id);
	expect_reply(&answer);
	stop();
}

static void after_256_answers_the_old_ones_are_not_looked_for(void **state)
{
	Gmem__CancelRequest cancel = GMEM__CANCEL_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start();
	restart_in_front_of(5000);
	assert_int_equal(peer.link->n_kept, GM_KEPT_ANSWERS);
	cancel.has_serial = 1;
	cancel.serial = 1;
	for (unsigned i = 0; i < GM_KEPT_ANSWERS; i++) {
		assert_int_not_equal(peer.link->n_kept, 0);
		answer = peer_ask(&peer, GM_MSG_CANCEL, &cancel.base);
		expect_reply(&answer);
	}
	assert_int_equal(peer.link->n_kept, 0);
	stop();
}

/* ---- order ---- */

static unsigned n_seen;

static void look_when_sending(void *channel, const struct gm_frame *frame, const void *body,
			      const int *fds)
{
	struct gm_kept_answer kept;

	(void)channel;
	(void)fds;
	if (frame->type != GM_MSG_REGION_CREATE)
		return;
	n_seen++;
	assert_true(gm_marks_are_clear(&rig.rig.book.marks));
	assert_true(gm_record_recorder_ops.find_answer(&rig.record, gm_link_session(peer.link),
						       frame->serial, &kept));
	assert_memory_equal(kept.body, body, frame->body_length);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 1);
}

static void an_answer_is_recorded_and_its_fd_stored_before_it_is_sent(void **state)
{
	static const struct gm_channel_ops ops = { .send = look_when_sending };
	Gmem__RegionCreateRequest request;

	(void)state;
	start();
	request = region_request(make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id);
	peer.link->ops = &ops;
	n_seen = 0;
	(void)peer_send(&peer, GM_MSG_REGION_CREATE, &request.base);
	assert_int_equal(n_seen, 1);
	stop();
}

static void what_cannot_be_stored_is_not_granted(void **state)
{
	Gmem__RegionCreateRequest request;
	struct answer answer;

	(void)state;
	start();
	request = region_request(make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id);
	rig.push_result = -EAGAIN;
	answer = peer_ask(&peer, GM_MSG_REGION_CREATE, &request.base);
	expect_refusal(&answer, GM_NO_RESOURCE, GM_RULE_FDS_MAX);
	assert_int_equal(used(GM_RES_MEMORY), 0);
	rig.push_result = 0;
	answer = peer_ask(&peer, GM_MSG_REGION_CREATE, &request.base);
	expect_reply(&answer);
	answer_close(&answer);
	restart_and_resume();
	assert_int_equal(used(GM_RES_REGIONS), 1);
	stop();
}

static void a_region_that_goes_leaves_the_fd_store(void **state)
{
	struct made_domain domain;
	struct answer answer;
	uint64_t region;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	region = make_region(&peer, domain.id, 0, GM_MIB);
	(void)make_region(&peer, domain.id, GM_MIB, GM_MIB);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 2);
	answer = ask_region_destroy(&peer, region);
	expect_reply(&answer);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 1);
	peer_close(&peer);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 0);
	stop();
}

static void a_removal_that_the_keeper_was_too_busy_for_is_done_later(void **state)
{
	struct made_domain domain;
	struct answer answer;
	uint64_t region;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	region = make_region(&peer, domain.id, 0, GM_MIB);
	rig.remove_result = -EAGAIN;
	answer = ask_region_destroy(&peer, region);
	expect_reply(&answer);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 1);
	resume_fire_timer(&rig);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 1);
	rig.remove_result = 0;
	resume_fire_timer(&rig);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 0);
	stop();
}

/* The next region has the same number, and so the same name in the fd store. */
static void nothing_is_stored_before_what_has_to_be_removed(void **state)
{
	Gmem__RegionCreateRequest request;
	struct made_domain domain;
	struct answer answer;
	uint64_t region;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	region = make_region(&peer, domain.id, 0, GM_MIB);
	rig.remove_result = -EAGAIN;
	answer = ask_region_destroy(&peer, region);
	expect_reply(&answer);
	request = region_request(domain.id);
	answer = peer_ask(&peer, GM_MSG_REGION_CREATE, &request.base);
	expect_refusal(&answer, GM_NO_RESOURCE, GM_RULE_FDS_MAX);
	rig.remove_result = 0;
	region = make_region(&peer, domain.id, 0, GM_MIB);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 1);
	restart_and_resume();
	answer = ask_region_get(&peer, region, true);
	assert_int_equal(answer.frame.n_fds, 1);
	answer_close(&answer);
	stop();
}

static void a_daemon_that_stops_leaves_everything_to_the_next(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	(void)make_region(&peer, domain.id, 0, GM_MIB);
	gm_service_drain(rig.rig.service, 1000);
	(void)peer_take(&peer);
	gm_service_stop_recording(rig.rig.service);
	gm_service_end_all(rig.rig.service);
	assert_int_equal(rig.rig.book.n_domains, 0);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 1);
	restart_and_resume();
	answer = ask_domain_get(&peer, domain.id);
	assert_int_equal(((const Gmem__DomainGetReply *)expect_reply(&answer))->info->regions, 1);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_domain_create_that_comes_again_is_answered_alike_and_done_once),
		gm_test(a_region_create_that_comes_again_brings_the_same_memory),
		gm_test(an_answer_is_kept_over_any_number_of_restarts),
		gm_test(the_answer_of_a_region_that_has_gone_since_is_refused),
		gm_test(a_destroy_that_comes_again_is_done_once),
		gm_test(an_attach_that_comes_again_is_no_error),
		gm_test(a_refusal_is_not_kept),
		gm_test(a_serial_that_another_request_has_had_is_a_violation),
		gm_test(a_request_that_only_looks_is_carried_out_again),
		gm_test(after_256_answers_the_old_ones_are_not_looked_for),
		gm_test(an_answer_is_recorded_and_its_fd_stored_before_it_is_sent),
		gm_test(what_cannot_be_stored_is_not_granted),
		gm_test(a_region_that_goes_leaves_the_fd_store),
		gm_test(a_removal_that_the_keeper_was_too_busy_for_is_done_later),
		gm_test(nothing_is_stored_before_what_has_to_be_removed),
		gm_test(a_daemon_that_stops_leaves_everything_to_the_next),
	};

	return gm_test_run("service again", tests, GM_ARRAY_SIZE(tests));
}
