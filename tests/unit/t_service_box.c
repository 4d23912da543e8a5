/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boxes as a client sees them: the one way of an fd to the daemon, for one fd, of one session, for
 * one domain, and not for long. Whatever happens, who waits is answered once and nothing stays.
 */
#include <signal.h>
#include <sys/socket.h>

#include "exec_box.h"
#include "step_rig.h"

static struct rig rig;
static struct peer peer, other;
static struct made_domain domain;
static struct step_region region;
static int half;

static void start(void)
{
	rig_private = true;
	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&other, &rig, rig.acme);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	region = step_region(&peer, domain.id, 0);
	half = gm_fake_make_half(STEP_SIZE);
}

static void stop(void)
{
	gm_fd_close(half);
	step_region_close(&region);
	if (peer.link != NULL)
		peer_close(&peer);
	peer_close(&other);
	rig_stop(&rig);
	rig_private = false;
}

static uint32_t ask_box(struct peer *who, uint64_t of)
{
	Gmem__FdBoxRequest request = GMEM__FD_BOX_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = of;
	return peer_send(who, GM_MSG_FD_BOX, &request.base);
}

static struct gm_crew_job *worker(void)
{
	struct gm_crew_job *job = fake_crew_last(rig.hub);

	assert_non_null(job);
	assert_int_equal(fake_crew_order(job)->verb, GM_JOB_RECEIVE);
	return job;
}

static uint32_t ask_memory(uint64_t box)
{
	return step_send_memory(&peer, region.id, region.step, box);
}

static struct answer memory(uint64_t box)
{
	uint32_t serial = ask_memory(box);
	struct answer answer = peer_take(&peer);

	assert_int_equal(answer.frame.serial, serial);
	return answer;
}

static void expect_refused(struct answer answer, enum gm_verdict verdict, enum gm_rule rule)
{
	expect_refusal(&answer, verdict, rule);
}

static void later(uint64_t ms)
{
	rig.now_ms += ms;
	gm_service_expire(rig.service);
}

static void nothing_is_left(void)
{
	assert_int_equal(fake_crew_count(rig.hub), 0);
	assert_true(TAILQ_EMPTY(&rig.exec.boxes));
}

static void a_box_is_given_once_a_worker_has_its_other_end(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	serial = ask_box(&peer, domain.id);
	assert_int_equal(peer.n_packets, 0);
	/* A drain waits for no client. */
	assert_int_equal(gm_service_jobs(rig.service), 0);
	fake_crew_ready(worker());
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	assert_int_equal(((const Gmem__FdBoxReply *)expect_reply(&answer))->patience_ms, 10000);
	/* Only the client has this end now, and only the worker the other one. */
	assert_int_equal(send(answer.fds[0], "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	answer_close(&answer);
	stop();
}

static void what_came_before_it_is_asked_for_is_taken_at_once(void **state)
{
	uint64_t box;

	(void)state;
	start();
	box = step_box(&peer, domain.id, half);
	step_expect_good(memory(box));
	nothing_is_left();
	stop();
}

static void what_is_asked_for_before_it_comes_is_answered_when_it_comes(void **state)
{
	struct answer answer;
	uint32_t serial;
	uint64_t box;

	(void)state;
	start();
	box = step_empty_box(&peer, domain.id);
	serial = ask_memory(box);
	step_expect_good(ask_ping(&peer));
	fake_crew_give(worker(), gm_fd_dup(half));
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	step_expect_good(answer);
	nothing_is_left();
	stop();
}

static void a_box_is_good_once_for_its_session_and_its_domain(void **state)
{
	struct made_domain second;
	struct step_region in_second;
	uint64_t box;

	(void)state;
	start();
	second = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm2");
	in_second = step_region(&peer, second.id, 0);
	box = step_box(&peer, domain.id, half);
	expect_refused(memory(box + 1), GM_NO_SUCH_OBJECT, GM_RULE_BOX);
	(void)step_send_memory(&peer, in_second.id, in_second.step, box);
	expect_refused(peer_take(&peer), GM_NO_SUCH_OBJECT, GM_RULE_BOX);
	step_expect_good(memory(box));
	(void)step_send_memory(&peer, in_second.id, in_second.step, box);
	expect_refused(peer_take(&peer), GM_NO_SUCH_OBJECT, GM_RULE_BOX);
	step_region_close(&in_second);
	stop();
}

static void a_box_of_another_session_of_the_tenant_is_not_there(void **state)
{
	struct made_domain theirs;
	uint64_t box;

	(void)state;
	start();
	theirs = make_domain(&other, GMEM__LIFETIME__LIFETIME_BOUND, "vm2");
	box = step_box(&other, theirs.id, half);
	expect_refused(memory(box), GM_NO_SUCH_OBJECT, GM_RULE_BOX);
	(void)ask_box(&peer, theirs.id);
	expect_refused(peer_take(&peer), GM_BUSY, GM_RULE_ATTACHED);
	stop();
}

static void two_requests_do_not_wait_for_one_box(void **state)
{
	uint64_t box;

	(void)state;
	start();
	box = step_empty_box(&peer, domain.id);
	(void)ask_memory(box);
	(void)ask_memory(box);
	expect_refused(peer_take(&peer), GM_BUSY, GM_RULE_BOX);
	fake_crew_give(worker(), gm_fd_dup(half));
	step_expect_good(peer_take(&peer));
	stop();
}

static void what_a_worker_lets_not_pass_is_refused_and_the_step_goes_on(void **state)
{
	static const struct {
		int error;
		const char *text;
	} faults[] = {
		{ EBADF, "neither a memfd nor a guest_memfd" },
		{ EBADMSG, "exactly one file descriptor" },
		{ EPIPE, "closed by its sender" },
	};
	struct answer answer;

	(void)state;
	start();
	for (size_t i = 0; i < GM_ARRAY_SIZE(faults); i++) {
		uint64_t box = step_empty_box(&peer, domain.id);

		fake_crew_end(worker(), GM_JOB_ERROR, faults[i].error);
		answer = memory(box);
		expect_refusal(&answer, GM_INVALID, GM_RULE_FD);
		expect_text(&answer, faults[i].text);
	}
	nothing_is_left();
	step_expect_good(memory(step_box(&peer, domain.id, half)));
	stop();
}

static void a_worker_that_dies_is_told_of(void **state)
{
	uint64_t box;

	(void)state;
	start();
	(void)ask_box(&peer, domain.id);
	fake_crew_end(worker(), GM_JOB_WORKER_LOST, -EAGAIN);
	expect_refused(peer_take(&peer), GM_WORKER_LOST, GM_RULE_WORKER);
	box = step_empty_box(&peer, domain.id);
	(void)ask_memory(box);
	fake_crew_end(worker(), GM_JOB_WORKER_LOST, SIGKILL);
	expect_refused(peer_take(&peer), GM_WORKER_LOST, GM_RULE_WORKER);
	(void)ask_box(&peer, domain.id);
	fake_crew_end(worker(), GM_JOB_DISPLACED, -EACCES);
	expect_refused(peer_take(&peer), GM_NO_RESOURCE, GM_RULE_MEMORY_CGROUP);
	nothing_is_left();
	stop();
}

static void nothing_waits_for_ever(void **state)
{
	uint64_t box;

	(void)state;
	start();
	/* What came and is not asked for. */
	box = step_box(&peer, domain.id, half);
	later(9999);
	assert_false(TAILQ_EMPTY(&rig.exec.boxes));
	later(1);
	nothing_is_left();
	assert_int_equal(fake_crew_disposed(rig.hub), 1);
	expect_refused(memory(box), GM_NO_SUCH_OBJECT, GM_RULE_BOX);
	/* What is asked for and does not come. */
	box = step_empty_box(&peer, domain.id);
	(void)ask_memory(box);
	later(10000);
	assert_true(fake_crew_is_cancelled(worker()));
	fake_crew_finish(worker());
	expect_refused(peer_take(&peer), GM_CANCELLED, GM_RULE_BOX);
	/* Neither. */
	(void)step_empty_box(&peer, domain.id);
	later(10000);
	fake_crew_finish(worker());
	nothing_is_left();
	stop();
}

static void a_session_has_so_many_at_one_time(void **state)
{
	struct answer answer;

	(void)state;
	start();
	for (unsigned i = 0; i < GM_EXEC_BOXES_MAX; i++)
		(void)step_empty_box(&peer, domain.id);
	(void)ask_box(&peer, domain.id);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_OVER_LIMIT, GM_RULE_BOX);
	expect_numbers(&answer, GM_EXEC_BOXES_MAX, GM_EXEC_BOXES_MAX, 1);
	stop();
}

static void a_client_that_goes_leaves_nothing(void **state)
{
	uint64_t box;

	(void)state;
	start();
	(void)step_box(&peer, domain.id, half);
	(void)step_empty_box(&peer, domain.id);
	box = step_empty_box(&peer, domain.id);
	(void)ask_memory(box);
	(void)ask_box(&peer, domain.id);
	peer_close(&peer);
	peer.link = NULL;
	while (fake_crew_count(rig.hub) > 0) {
		assert_true(fake_crew_is_cancelled(fake_crew_first(rig.hub)));
		fake_crew_finish(fake_crew_first(rig.hub));
	}
	nothing_is_left();
	assert_int_equal(gm_service_jobs(rig.service), 0);
	/* And the shared half of the region. */
	assert_int_equal(fake_crew_disposed(rig.hub), 2);
	stop();
}

static void the_boxes_of_a_domain_end_with_it(void **state)
{
	unsigned n_disposed;
	uint64_t box;

	(void)state;
	start();
	box = step_empty_box(&peer, domain.id);
	(void)ask_memory(box);
	step_expect_good(ask_domain_destroy(&peer, domain.id, NULL));
	n_disposed = fake_crew_disposed(rig.hub);
	/* A worker that had it just passed on. */
	fake_crew_give(worker(), gm_fd_dup(half));
	expect_refused(peer_take(&peer), GM_CANCELLED, GM_RULE_BOX);
	assert_int_equal(fake_crew_disposed(rig.hub), n_disposed + 1);
	nothing_is_left();
	stop();
}

static void what_comes_for_a_region_that_has_gone_is_closed_elsewhere(void **state)
{
	struct answer answer;
	unsigned n_disposed;
	uint32_t serial;
	uint64_t box;

	(void)state;
	start();
	box = step_empty_box(&peer, domain.id);
	serial = ask_memory(box);
	(void)step_report(&peer, region.id, region.step, ECANCELED, 0, NULL, 0);
	step_expect_good(peer_take(&peer));
	step_expect_good(ask_region_destroy(&peer, region.id));
	n_disposed = fake_crew_disposed(rig.hub);
	fake_crew_give(worker(), gm_fd_dup(half));
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	assert_int_equal(fake_crew_disposed(rig.hub), n_disposed + 1);
	stop();
}

static void there_is_none_for_memory_that_the_daemon_makes(void **state)
{
	(void)state;
	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&other, &rig, rig.acme);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	region = (struct step_region){ .shared = -1, .half = -1 };
	half = -1;
	(void)ask_box(&peer, domain.id);
	expect_refused(peer_take(&peer), GM_UNSUPPORTED, GM_RULE_KIND);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_box_is_given_once_a_worker_has_its_other_end),
		gm_test(what_came_before_it_is_asked_for_is_taken_at_once),
		gm_test(what_is_asked_for_before_it_comes_is_answered_when_it_comes),
		gm_test(a_box_is_good_once_for_its_session_and_its_domain),
		gm_test(a_box_of_another_session_of_the_tenant_is_not_there),
		gm_test(two_requests_do_not_wait_for_one_box),
		gm_test(what_a_worker_lets_not_pass_is_refused_and_the_step_goes_on),
		gm_test(a_worker_that_dies_is_told_of),
		gm_test(nothing_waits_for_ever),
		gm_test(a_session_has_so_many_at_one_time),
		gm_test(a_client_that_goes_leaves_nothing),
		gm_test(the_boxes_of_a_domain_end_with_it),
		gm_test(what_comes_for_a_region_that_has_gone_is_closed_elsewhere),
		gm_test(there_is_none_for_memory_that_the_daemon_makes),
	};

	return gm_test_run("service box", tests, GM_ARRAY_SIZE(tests));
}
